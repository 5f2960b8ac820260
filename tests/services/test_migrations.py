"""The migrations make exactly the tables of the code, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, text, update

from shared.db.engine import Database
from shared.db.migrate import SchemaOutdated, SchemaTooNew, _config, migrate, require_schema
from shared.db.service_tables import person_changes
from shared.db.tables import applications, dispatch_runs, metadata


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    sqlite = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    database = Database(sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    yield database
    await database.close()


async def test_migrations_and_tables_agree(empty: Database) -> None:
    def difference(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    await migrate(empty)
    async with empty.begin() as connection:
        assert await connection.run_sync(difference) == []


async def test_a_second_migration_changes_nothing(empty: Database) -> None:
    before, after = await migrate(empty)
    assert before is None
    assert await migrate(empty) == (after, after)
    await require_schema(empty)


async def test_an_older_database_is_brought_up_with_what_is_in_it(empty: Database) -> None:
    """Schema 0004 with a person, an application and a run, then this release's, whose log of people works at once."""

    def to_0004(connection: Connection) -> None:
        command.upgrade(_config(connection), "0004")

    async with empty.begin() as connection:
        await connection.run_sync(to_0004)
        for statement in (
            "INSERT INTO persons (id, identity) VALUES (1, 'one:A1')",
            "INSERT INTO applications (id, external_id, person_id, kind) VALUES (1, 'A1', 1, 'application')",
            "INSERT INTO lineages (id, created_at) VALUES (1, {now})",
            "INSERT INTO dispatch_runs (id, lineage_id, job_name, occasion_day, plan_from, send_at, state)"
            " VALUES (1, 1, 'J', '2026-11-23', {now}, {now}, 'open')",
        ):
            await connection.execute(text(statement.format(now="0" if empty.dialect == "sqlite" else "now()")))
    assert (await migrate(empty))[0] == "0004"
    async with empty.begin() as connection:
        # Nothing is known of the plan that stands: it is looked at as a whole.
        assert (await connection.execute(select(dispatch_runs.c.basis))).scalar_one() is None
        await connection.execute(update(applications).values(kind="pool"))
        assert set((await connection.execute(select(person_changes.c.people))).scalar_one()) == {1}


async def test_a_database_without_schema_is_told_what_to_do(empty: Database) -> None:
    with pytest.raises(SchemaOutdated, match="kontaktpflege migrate"):
        await require_schema(empty)


async def test_c55_a_newer_schema_is_refused(empty: Database) -> None:
    await migrate(empty)
    async with empty.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refuses in (require_schema, migrate):
        with pytest.raises(SchemaTooNew, match=r"schema 9999.*newer release"):
            await refuses(empty)
    # Nor is it touched.
    async with empty.read() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == "9999"
