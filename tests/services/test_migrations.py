"""The migrations make exactly the tables of the code, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from shared.db.engine import Database
from shared.db.migrate import SchemaOutdated, SchemaTooNew, migrate, require_schema
from shared.db.tables import metadata


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
