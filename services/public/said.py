"""Writes down what candidates say, and gives it back to a database that has forgotten it (C56, S29)."""

import asyncio
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from services.public.given_back import Given, give_back
from services.public.said_file import Said, SaidFile
from shared.clock import Clock
from shared.db.engine import Database
from shared.db.holds import begin_hold
from shared.db.said_journals import known_up_to, note_known
from shared.db.suppression_keys import load_keys
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, persons, write_orders
from shared.errors import Conflict, KontaktpflegeError, Unavailable
from shared.logs import get_logger
from shared.settings import Settings

_A, _P, _O = applications.c, persons.c, write_orders.c
#: Seconds between two looks whether the database still knows what was said.
LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose link it is, asked before the wish: afterwards the database may be away."""

    order_id: int
    made_at: datetime
    who: str


class SaidJournal:
    """What was said here, by all processes of this machine.

    The database notes how far it knows it. When it suddenly knows less, it was restored from a backup, or a replica
    took over without the last commits: then what is missing is said again, in its order and with its time.
    """

    def __init__(self, database: Database, clock: Clock, file: SaidFile) -> None:
        self._database, self._clock, self._file = database, clock, file
        #: How far the database knew it when it was asked last; None: not asked yet.
        self._known: int | None = None
        self._turn = asyncio.Lock()

    async def speaker(self, order_id: int) -> Speaker | None:
        """None: there is no such order."""
        statement = (
            select(_O.created_at, _P.identity)
            .join(applications, _A.id == _O.application_id)
            .join(persons, _P.id == _A.person_id)
            .where(_O.id == order_id)
        )
        async with self._database.begin() as connection:
            found = (await connection.execute(statement)).first()
            return Speaker(order_id, found[0], (await load_keys(connection)).of_identity(found[1])) if found else None

    async def note(self, speaker: Speaker, what: str, at: datetime) -> None:
        """On the disk when it returns. A disk that takes nothing is logged: the database has the wish."""
        said = Said(speaker.order_id, speaker.made_at, speaker.who, what, at)
        try:
            await asyncio.to_thread(self._file.add, said)
        except (OSError, sqlite3.Error) as exc:
            get_logger("public").error("said_not_kept", action="said_not_kept", order=said.order_id, reason=str(exc))
            return
        try:
            await self.look()
        except (Conflict, Unavailable, OSError, sqlite3.Error) as exc:
            # It is looked at again every few seconds.
            get_logger("public").warning("public_waits", action="public_waits", reason=str(exc))

    async def look(self) -> Given | None:
        """Whether the database knows all; None: it does. What it does not know is given back."""
        async with self._turn:
            now = self._clock.now()
            last = await asyncio.to_thread(self._file.last_number, now)
            async with self._database.read() as connection:
                found = await known_up_to(connection, self._file.name)
            is_older = self._known is None or found < self._known
            lost = await asyncio.to_thread(self._file.after, found) if is_older and found < last else []
            given = await self._give_back(lost, now) if lost else None
            if found < last:
                async with self._database.begin() as connection:
                    await note_known(connection, self._file.name, last, now)
            self._known = max(found, last)
            return given

    async def _give_back(self, lost: list[Said], now: datetime) -> Given:
        # The last one alone may have been on its way when this process was killed: then the database has it.
        is_certain = len(lost) > 1
        if is_certain:
            await self._hold(lost, now)
        given = await give_back(self._database, lost)
        if not is_certain and given.is_any:
            await self._hold(lost, now)
        if is_certain or given.is_any:
            get_logger("public").warning("said_given_back", action="said_given_back", **given.counts())
        return given

    async def _hold(self, lost: list[Said], now: datetime) -> None:
        async with self._database.begin() as connection:
            await begin_hold(connection, max(one.at for one in lost), now)


async def open_journal(database: Database, clock: Clock, settings: Settings, log: Any) -> SaidJournal | None:
    """None where the disk takes nothing, which the log says: candidates are answered all the same."""
    async with database.read() as connection:
        instance_id = (await load_system_settings(connection)).instance_id
    keep = timedelta(days=settings.kp_said_days)
    try:
        file = await asyncio.to_thread(SaidFile, settings.kp_state_dir, instance_id, keep)
    except (OSError, sqlite3.Error) as exc:
        reason = f"{settings.kp_state_dir} (KP_STATE_DIR): {exc}"
        log.error("said_not_kept", action="said_not_kept", reason=reason)
        return None
    journal = SaidJournal(database, clock, file)
    try:
        await journal.look()
    except (KontaktpflegeError, sqlite3.Error) as exc:
        log.warning("public_waits", action="public_waits", reason=str(exc))
    return journal
