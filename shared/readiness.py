"""Whether a process takes work."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.db.engine import Database
from shared.errors import KontaktpflegeError

#: Seconds after which a database that does not answer counts as away.
PATIENCE = 2.0


@dataclass
class Readiness:
    """Why a process takes no work, if it does not. `stop`: it drains."""

    database: Database
    stop: asyncio.Event
    #: Whether the broker can be used; None: this process has none.
    broker: Callable[[], bool] | None = None
    #: Whether it has started: before it waits for database, schema and broker.
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def reasons(self) -> list[str]:
        """Nothing: it takes work."""
        found = []
        if self.stop.is_set():
            found.append("draining")
        if not self.started.is_set():
            found.append("starting")
        if self.broker is not None and not self.broker():
            found.append("no broker")
        try:
            async with asyncio.timeout(PATIENCE):
                await self.database.check()
        except (KontaktpflegeError, TimeoutError):
            found.append("no database")
        return found
