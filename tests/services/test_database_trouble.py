"""What the database does to a letter under way: no letter fails for it, none that was sent is lost (I20, C25, C28)."""

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text

from shared.db.engine import Database
from shared.errors import Conflict, Unavailable
from tests.services.test_lock_waits import postgres_world
from tests.services.world import World

__all__ = ["postgres_world"]


async def test_i20_c29_no_free_connection_is_a_database_that_is_away(database: Database) -> None:
    """In `run all` on SQLite three services share the one connection that writes."""
    pool = database._writer.sync_engine.pool
    assert pool._timeout >= (300 if database.dialect == "sqlite" else 30)  # type: ignore[attr-defined]
    pool._timeout = 0.2  # type: ignore[attr-defined]
    try:
        async with AsyncExitStack() as others:
            for _ in range(pool.size()):  # type: ignore[attr-defined]
                await others.enter_async_context(database.begin())
            with pytest.raises(Unavailable, match="every connection is in use"):
                async with database.begin():
                    pass
    finally:
        pool._timeout = 30  # type: ignore[attr-defined]


async def test_c28_a_cancelled_statement_is_tried_again(postgres_world: World) -> None:
    with pytest.raises(Conflict):
        async with postgres_world.database.begin() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 50"))
            await connection.execute(text("SELECT pg_sleep(5)"))
