"""What this machine remembers outside the database: the last letter it handed over (C56; see shared.db.holds)."""

import json
import os
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.holds import hold_in_force
from shared.handed_over import mark_path, read_mark


class HighWater:
    """The token of the last letter handed over, for one database; a file in KP_STATE_DIR for all mailers of a machine.

    Losing the file loses this protection only. What the last seconds before a kill added is missing in it.
    """

    def __init__(self, folder: Path, instance_id: str) -> None:
        self._path = mark_path(folder, instance_id)
        #: Token and the moment of handing over, in seconds of this machine's monotonic clock: tokens have no order.
        self._last = self._written = read_mark(self._path)
        self._asked_at = 0
        #: Connections made when it was last looked without a letter.
        self._looked_at = -1

    @property
    def token(self) -> int | None:
        """The last one of this process; until there is one, that of the file when the process began."""
        return self._last[0] if self._last else None

    @token.setter
    def token(self, token: int) -> None:
        self._last = token, time.monotonic()

    async def hold_if_forgotten(self, connection: AsyncConnection, connections_made: int, now: datetime) -> bool:
        """Whether nothing may be handed over; asked before T2 where a connection is new since the last time.

        It may lead to a replica that took over without the last commits, in which older claims of this mailer stand.
        """
        if connections_made == self._asked_at:
            return False
        if await hold_in_force(connection, self.token, now):
            return True
        self._asked_at = connections_made
        return False

    async def look(self, database: Database, now: datetime) -> None:
        """Holds by a new connection to a database that has forgotten; without a letter due nobody else would."""
        made = database.connections_made
        if made != self._looked_at:
            async with database.begin() as connection:
                await hold_in_force(connection, self.token, now)
            self._looked_at = made

    def save(self) -> None:
        """Writes the token if it is a later one than the file's; a full or read-only disk loses no letter."""
        last = self._last
        if last is None or last == self._written:
            return
        kept = read_mark(self._path)
        # A moment that is yet to come was noted before this machine was started again.
        if kept is not None and last[1] < kept[1] <= time.monotonic():
            self._written = last
            return
        beside = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            beside.write_text(json.dumps({"token": last[0], "at": last[1]}), encoding="utf-8")
            beside.replace(self._path)
            self._written = last
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
