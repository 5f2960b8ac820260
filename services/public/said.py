"""Writes down what candidates say, and gives it back to a database that has forgotten it (C56, S29)."""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from services.public.given_back import Given, give_back, somebody_known
from services.public.said_file import Said, SaidFile
from shared.clock import Clock
from shared.db.engine import Database
from shared.db.holds import begin_hold
from shared.db.said_journals import known_up_to, note_known
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, write_orders
from shared.errors import KontaktpflegeError
from shared.logs import get_logger
from shared.settings import Settings

_A, _O = applications.c, write_orders.c
#: Seconds between two looks whether the database still knows what was said.
LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose link it is, asked before the wish: afterwards the database may be away."""

    order_id: int
    made_at: datetime
    application: str


class SaidJournal:
    """What was said here, by all processes of this machine.

    The database notes how far it knows it. When it suddenly knows less, it was restored from a backup, or a replica
    took over without the last commits: then what is missing is said again, in its order and with its time.

    A disk that takes nothing is tried again at each look and each wish; candidates are answered all the same.
    """

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database, self._clock, self._folder = database, clock, settings.kp_state_dir
        self._keep = timedelta(days=settings.kp_said_days)
        self._file: SaidFile | None = None
        #: How far the database knew it when it was asked last; None: not asked yet.
        self._known: int | None = None
        self._is_broken = False
        self._turn = asyncio.Lock()

    async def speaker(self, order_id: int) -> Speaker | None:
        """None: there is no such order."""
        statement = (
            select(_O.created_at, _A.external_id)
            .join(applications, _A.id == _O.application_id)
            .where(_O.id == order_id)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(statement)).first()
            return Speaker(order_id, found[0], found[1]) if found else None

    async def note(self, speaker: Speaker, what: str, at: datetime, *, changed: bool) -> None:
        """On the disk when it returns. A disk that takes nothing is logged: the database has the wish.

        `changed`: whether it was anything new to the database.
        """
        said = Said(speaker.order_id, speaker.made_at, speaker.application, what, at)
        try:
            file = await self._opened()
            await asyncio.to_thread(file.add, said, changed=changed)
        except (KontaktpflegeError, OSError, sqlite3.Error) as exc:
            self._file = None
            self._tell(exc, order=said.order_id)
            return
        try:
            await self.look()
        except KontaktpflegeError as exc:
            # It is looked at again every few seconds.
            get_logger("public").warning("public_waits", action="public_waits", reason=str(exc))

    async def look(self) -> Given | None:
        """Whether the database knows all; None: it does, or the disk does not answer, which is logged once.

        What it does not know is given back. Raises Conflict and Unavailable; then it is to be looked at again.
        """
        async with self._turn:
            try:
                given = await self._look()
            except (OSError, sqlite3.Error) as exc:
                self._file = None
                if not self._is_broken:
                    self._tell(exc)
                self._is_broken = True
                return None
            self._is_broken = False
            return given

    async def _look(self) -> Given | None:
        file, now = await self._opened(), self._clock.now()
        last = await asyncio.to_thread(file.last_number, now)
        waiting = await asyncio.to_thread(file.waiting)
        async with self._database.read() as connection:
            found = await known_up_to(connection, file.name)
        is_older = self._known is None or found < self._known
        lost = await asyncio.to_thread(file.after, found) if is_older and found < last else []
        # Whoever was nobody may have been imported since.
        again = [one for one in await somebody_known(self._database, waiting) if one.number <= found or not lost]
        given = await self._give_back(file, [*again, *lost], now) if again or lost else None
        if found < last:
            async with self._database.begin() as connection:
                await note_known(connection, file.name, last, now)
        self._known = max(found, last)
        return given

    async def _give_back(self, file: SaidFile, said: Sequence[Said], now: datetime) -> Given:
        async def hold() -> None:
            async with self._database.begin() as connection:
                await begin_hold(connection, max(one.at for one in said), now)

        # What was on its way when this process was killed is in the database: only what it forgot begins a hold.
        given = await give_back(self._database, said, hold)
        await asyncio.to_thread(file.let_wait, said, given.nobody)
        if given.is_any:
            get_logger("public").warning("said_given_back", action="said_given_back", **given.counts())
        return given

    async def _opened(self) -> SaidFile:
        """Raises OSError or sqlite3.Error where it cannot be written."""
        if self._file is None:
            async with self._database.read() as connection:
                instance_id = (await load_system_settings(connection)).instance_id
            opened = await asyncio.to_thread(SaidFile, self._folder, instance_id, self._keep)
            # It may be another one than before: all of it is compared.
            self._file, self._known = opened, None
        return self._file

    def _tell(self, exc: Exception, **fields: object) -> None:
        reason = f"{self._folder} (KP_STATE_DIR): {exc}"
        get_logger("public").error("said_not_kept", action="said_not_kept", reason=reason, **fields)


async def open_journal(database: Database, clock: Clock, settings: Settings, log: Any) -> SaidJournal:
    """The journal, looked at once; what fails is logged and tried again with each look."""
    journal = SaidJournal(database, clock, settings)
    try:
        await journal.look()
    except KontaktpflegeError as exc:
        log.warning("public_waits", action="public_waits", reason=str(exc))
    return journal
