"""A command as one transaction, tried again when it met another one."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.errors import Conflict
from shared.retry import retry_conflicts

T = TypeVar("T")


async def in_transaction(database: Database, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Commits what `work` does, all or nothing; raises what it raises, and Conflict if others are always quicker."""

    async def once() -> T:
        try:
            async with database.begin() as connection:
                return await work(connection)
        except IntegrityError as exc:
            if getattr(exc.orig, "sqlstate", None) == "23505" or "UNIQUE constraint" in str(exc.orig):
                # Somebody else has just made a record of the same name: the next try finds it.
                raise Conflict(str(exc.orig)) from exc
            raise

    return await retry_conflicts(once)
