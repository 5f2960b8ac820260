"""Statements that run below SQLAlchemy, on a server that is slow or does not answer any more."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import pytest
from psycopg import DataError
from psycopg.errors import FeatureNotSupported, UndefinedColumn, UniqueViolation
from sqlalchemy import Double, bindparam, func, select, text
from sqlalchemy.exc import IntegrityError

from shared.db import pipeline
from shared.db.engine import Database
from shared.db.prepared import Prepared, plan_once, together
from shared.errors import Conflict, Unavailable
from tests.servers.fresh import fresh_database
from tests.servers.relay import Relay

SLEEP = Prepared(lambda: select(func.pg_sleep(bindparam("seconds", type_=Double))))


@asynccontextmanager
async def with_table(servers: Mapping[str, str], rest: str) -> AsyncIterator[Database]:
    """One connection to a database of its own, in which there is a table `noted`."""
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        database = Database(url, pool_size=1)
        async with database.begin() as connection:
            await connection.execute(text(f"CREATE TABLE noted {rest}"))
        yield database
        await database.close()


async def sleep(database: Database, seconds: float, *, how: str) -> None:
    async with database.begin(at_once=how == "at once") as connection:
        if how != "alone":
            async with together(connection):
                await SLEEP.execute(connection, seconds=seconds)
                await SLEEP.fetch(connection, seconds=seconds)
        else:
            await SLEEP.fetch(connection, seconds=seconds)


async def test_i19_a_cancelled_statement_on_a_frozen_database_ends_as_cancelled(servers: Mapping[str, str]) -> None:
    # Side by side: the driver gives the server ten seconds each time.
    await asyncio.gather(*(cancelled_while_frozen(servers, how) for how in ("alone", "in a row", "at once")))


async def cancelled_while_frozen(servers: Mapping[str, str], how: str) -> None:
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


async def test_a_statement_outlives_what_the_driver_forgets(servers: Mapping[str, str]) -> None:
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        database = Database(url, pool_size=1)
        for _ in range(2):
            async with database.begin() as connection:
                await SLEEP.fetch(connection, seconds=0.0)
                # Often enough for the driver to prepare it, if it did; then it forgets everything with a rollback.
                for _ in range(8):
                    await connection.execute(text("SELECT 1"))
                async with connection.begin_nested() as savepoint:
                    await savepoint.rollback()
                await SLEEP.fetch(connection, seconds=0.0)
            async with database.read() as connection:
                await SLEEP.fetch(connection, seconds=0.0)
        await database.close()


@pytest.mark.parametrize("how", ["alone", "in a row"])
async def test_a_statement_that_comes_first_begins_the_transaction(servers: Mapping[str, str], how: str) -> None:
    note = Prepared(lambda: text("INSERT INTO noted VALUES (CAST(:number AS integer))"))
    async with with_table(servers, "(number integer)") as database:
        with pytest.raises(LookupError):
            async with database.begin() as connection:
                if how == "alone":
                    await note.execute(connection, number=1)
                else:
                    async with together(connection):
                        await note.execute(connection, number=1)
                raise LookupError
        async with database.read() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            level = Prepared(lambda: text("SELECT current_setting('transaction_isolation') AS level"))
            assert [row.level for row in await level.fetch(connection)] == ["repeatable read"]
            assert (await connection.execute(text("SELECT count(*) FROM noted"))).scalar_one() == 0


async def test_a_statement_that_cannot_be_prepared_is_told_of_each_time(servers: Mapping[str, str]) -> None:
    nonsense = Prepared(lambda: text("SELECT no_such_column"))
    database = Database(servers["TEST_DATABASE_URL"], pool_size=1)
    for _ in range(2):
        with pytest.raises(UndefinedColumn):
            async with database.begin() as connection, together(connection):
                await SLEEP.execute(connection, seconds=0.0)
                await nonsense.execute(connection)
                await SLEEP.fetch(connection, seconds=0.0)
    async with database.begin() as connection:
        assert len(await SLEEP.fetch(connection, seconds=0.0)) == 1
    await database.close()


async def test_values_and_answers_larger_than_any_buffer_pass_each_other(servers: Mapping[str, str]) -> None:
    echo = Prepared(lambda: text("SELECT CAST(:given AS text) AS told"))
    told = "ü'\\" * 2_000_000
    database = Database(servers["TEST_DATABASE_URL"], pool_size=1)
    async with asyncio.timeout(60), database.begin(at_once=True) as connection:
        async with together(connection):
            answers = [await echo.ask(connection, given=told) for _ in range(4)]
        assert all([row.told for row in answer()] == [told] for answer in answers)
    await database.close()


async def test_what_breaks_between_statements_leaves_nothing_open(servers: Mapping[str, str]) -> None:
    database = Database(servers["TEST_DATABASE_URL"], pool_size=1)
    for at_once in (False, True):
        with pytest.raises(LookupError):
            async with database.begin(at_once=at_once) as connection, together(connection):
                await SLEEP.execute(connection, seconds=0.0)
                raise LookupError
        async with database.begin(at_once=at_once) as connection:
            asked = text("SELECT state FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state LIKE 'idle in%'")
            assert (await connection.execute(asked)).all() == []
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await database.close()


async def test_a_statement_that_the_server_knows_otherwise_is_a_conflict_once(servers: Mapping[str, str]) -> None:
    database = Database(servers["TEST_DATABASE_URL"], pool_size=1)
    for at_once in (False, True):
        async with database.begin(at_once=at_once) as connection:
            await SLEEP.fetch(connection, seconds=0.0)
            await connection.execute(text("DEALLOCATE ALL"))
        with pytest.raises(Conflict):
            async with database.begin(at_once=at_once) as connection, together(connection):
                await SLEEP.execute(connection, seconds=0.0)
        async with database.begin(at_once=at_once) as connection:
            assert len(await SLEEP.fetch(connection, seconds=0.0)) == 1
    await database.close()


async def test_a_statement_whose_table_has_changed_is_prepared_anew(servers: Mapping[str, str]) -> None:
    everything = Prepared(lambda: text("SELECT * FROM noted"))
    async with with_table(servers, "AS SELECT 1 AS number") as database:
        async with database.begin() as connection:
            assert await everything.fetch(connection) == [(1,)]
            await connection.execute(text("ALTER TABLE noted ADD COLUMN word text"))
        with pytest.raises(Conflict):
            async with database.begin() as connection:
                await everything.fetch(connection)
        async with database.begin() as connection:
            assert await everything.fetch(connection) == [(1, None)]
        # Of the same class of errors, but no conflict: it would come again.
        with pytest.raises(FeatureNotSupported):
            async with database.begin() as connection:
                await Prepared(lambda: text("SELECT DISTINCT 1 FROM noted FOR UPDATE")).fetch(connection)


async def test_a_connection_keeps_a_bounded_number_of_statements(
    servers: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MOST_PREPARED", 5)
    known = Prepared(lambda: text("SELECT count(*) AS number FROM pg_prepared_statements"))
    database = Database(servers["TEST_DATABASE_URL"], pool_size=1)
    async with database.begin() as connection:
        for number in range(12):
            # Two of each text, as there are of the last look of every job and day.
            for _ in range(2):
                await Prepared(partial(text, f"SELECT {number}")).fetch(connection)
            assert (await known.fetch(connection))[0].number == min(number + 2, 5)
    # What was to be forgotten behind an error is not.
    with pytest.raises(UndefinedColumn):
        async with database.begin() as connection, together(connection):
            await Prepared(partial(text, "SELECT no_such_column")).execute(connection)
            for number in range(20, 24):
                await Prepared(partial(text, f"SELECT {number}")).execute(connection)
    async with database.begin() as connection:
        for number in range(30, 38):
            await Prepared(partial(text, f"SELECT {number}")).fetch(connection)
        assert (await known.fetch(connection))[0].number == 5
    await database.close()


async def test_i8_a_commit_that_fails_is_no_commit(servers: Mapping[str, str]) -> None:
    note = Prepared(lambda: text("INSERT INTO noted VALUES (CAST(:number AS integer))"))
    async with with_table(servers, "(number integer UNIQUE DEFERRABLE INITIALLY DEFERRED)") as database:
        for at_once, alone in ((True, False), (True, True), (False, False)):
            with pytest.raises((UniqueViolation, IntegrityError)):
                async with database.begin(at_once=at_once) as connection:
                    if alone:
                        # It commits by itself.
                        await Prepared(lambda: text("INSERT INTO noted VALUES (1), (1)")).execute(connection)
                    else:
                        async with together(connection):
                            await note.execute(connection, number=1)
                            await note.execute(connection, number=1)
        async with database.begin() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM noted"))).scalar_one() == 0


async def test_blocks_of_statements_do_not_nest(servers: Mapping[str, str]) -> None:
    database = Database(servers["TEST_DATABASE_URL"], pool_size=1)
    with pytest.raises(RuntimeError, match="cannot begin among others"):
        async with database.begin() as connection, together(connection):
            await SLEEP.execute(connection, seconds=0.0)
            async with together(connection):
                await SLEEP.execute(connection, seconds=0.0)
    async with database.begin() as connection:
        assert len(await SLEEP.fetch(connection, seconds=0.0)) == 1
    await database.close()
