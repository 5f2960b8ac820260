"""Statements that run below SQLAlchemy, on a server that is slow or does not answer any more."""

import asyncio
from collections.abc import Mapping

import pytest
from psycopg import DataError
from sqlalchemy import Double, bindparam, func, select, text

from shared.db.engine import Database
from shared.db.prepared import Prepared, plan_once, together
from shared.errors import Unavailable
from tests.servers.fresh import fresh_database
from tests.servers.relay import Relay

SLEEP = Prepared(lambda: select(func.pg_sleep(bindparam("seconds", type_=Double))))


async def sleep(database: Database, seconds: float, *, how: str) -> None:
    async with database.begin(at_once=how == "at once") as connection:
        if how != "alone":
            async with together(connection):
                await SLEEP.execute(connection, seconds=seconds)
                await SLEEP.fetch(connection, seconds=seconds)
        else:
            await SLEEP.fetch(connection, seconds=seconds)


@pytest.mark.parametrize("how", ["alone", "in a row", "at once"])
async def test_i19_a_cancelled_statement_on_a_frozen_database_ends_as_cancelled(
    servers: Mapping[str, str], how: str
) -> None:
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        relay = Relay(url)
        database = Database(await relay.open())
        await sleep(database, 0.0, how=how)
        sleeping = asyncio.create_task(sleep(database, 60.0, how=how))
        await asyncio.sleep(0.3)
        relay.freeze()
        sleeping.cancel()
        # Not as "the database is away", which would be tried again for ever.
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(40):
                await sleeping
        relay.thaw()
        relay.cut()
        async with database.begin() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
        await database.close()
        relay.shut()


@pytest.mark.parametrize("how", ["in a row", "at once"])
async def test_c24_a_connection_that_breaks_among_statements_is_told_of_and_replaced(
    servers: Mapping[str, str], how: str
) -> None:
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        relay = Relay(url)
        database = Database(await relay.open())
        sleeping = asyncio.create_task(sleep(database, 60.0, how=how))
        await asyncio.sleep(0.5)
        relay.cut()
        with pytest.raises(Unavailable):
            await sleeping
        await sleep(database, 0.0, how=how)
        await database.close()
        relay.shut()


@pytest.mark.parametrize("how", ["in a row", "at once"])
async def test_i8_statements_that_go_together_are_committed_all_or_none(servers: Mapping[str, str], how: str) -> None:
    note = Prepared(lambda: text("INSERT INTO noted SELECT 12 / CAST(:number AS integer)"))
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        database = Database(url)
        async with database.begin() as connection:
            await connection.execute(text("CREATE TABLE noted (number integer)"))

        async def noted(*numbers: int) -> None:
            async with database.begin(at_once=how == "at once") as connection, together(connection):
                for number in numbers:
                    await note.execute(connection, number=number)

        # The second time in a transaction that nothing is left of the first one in.
        with pytest.raises(DataError):
            await noted(1, 0, 2)
        await noted(3, 4)
        async with database.read() as connection:
            found = (await connection.execute(text("SELECT number FROM noted ORDER BY number"))).scalars().all()
        await database.close()
        assert found == [3, 4]


@pytest.mark.parametrize("how", ["once", "at once"])
async def test_what_is_planned_by_indexes_is_not_compiled_for_the_lack_of_one(
    servers: Mapping[str, str], how: str
) -> None:
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        database = Database(url)
        async with database.begin(at_once=how == "at once") as connection:
            await plan_once(connection)
            rows = await connection.execute(
                text("EXPLAIN SELECT * FROM pg_catalog.pg_description d, pg_catalog.pg_class c")
            )
            plan = "\n".join(rows.scalars())
            seen = (await connection.execute(text("SELECT current_setting('jit')"))).scalar_one()
        assert "JIT" not in plan and seen == "off"
        async with database.begin() as connection:
            assert (await connection.execute(text("SELECT current_setting('plan_cache_mode')"))).scalar_one() == "auto"
        await database.close()


async def test_a_value_that_is_missing_is_named(servers: Mapping[str, str]) -> None:
    database = Database(servers["TEST_DATABASE_URL"])
    with pytest.raises(TypeError, match="no value for seconds"):
        async with database.begin() as connection:
            await SLEEP.fetch(connection)
    await database.close()
