"""Seals the history (S28): soon after it was written, and never in the way of who writes it."""

from shared.clock import Clock
from shared.db.engine import Database
from shared.db.history_seals import seal_history

#: Seconds between two looks: what was written since the last one is not proven yet.
SEAL_SECONDS = 5.0


async def seal(database: Database, clock: Clock) -> None:
    """One pass over what waits. Which scheduler does it, and whether it is killed meanwhile, makes no difference."""
    async for _ in seal_history(database, clock.now()):
        pass
