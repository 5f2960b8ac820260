"""What is removed every night because its time is over, and what nothing else removes (docs/retention.md)."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete

from shared.db.candidate_requests import erase_words_of_done
from shared.db.candidate_tables import said_journals
from shared.db.console_sessions import ended_before
from shared.db.engine import Database
from shared.db.service_tables import console_sessions, service_instances

#: A process that was killed cannot sign off; so long after its last sign of life its row goes.
GONE_FOR = timedelta(days=7)
#: Longer than KP_SAID_DAYS may be.
SAID_KEPT = timedelta(days=401)


async def remove_outdated(database: Database, *, now: datetime, **_: Any) -> AsyncIterator[int]:
    """Ended sessions, signs of life of processes and journals long gone, words of requests long done: how many."""
    async with database.begin() as connection:
        sessions = await connection.execute(delete(console_sessions).where(ended_before(now)))
        silent = service_instances.c.seen_at < now - GONE_FOR
        instances = await connection.execute(delete(service_instances).where(silent))
        words = await erase_words_of_done(connection, now)
        # Where nothing was said for longer than anybody keeps it, nothing is left to be given back.
        journals = await connection.execute(delete(said_journals).where(said_journals.c.at < now - SAID_KEPT))
    yield sessions.rowcount + instances.rowcount + words + journals.rowcount
