"""An empty database with the newest schema, on both kinds."""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.db.engine import Database
from shared.db.tables import metadata
from tests.servers.fresh import fresh_database


@pytest.fixture(scope="session")
def kept_postgres_url(servers: Mapping[str, str]) -> Iterator[str]:
    """One PostgreSQL database for many tests: making one takes longer than most of them."""
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Each test that takes it runs once per kind of database."""
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'test.sqlite3'}")
    else:
        found = Database(request.getfixturevalue("kept_postgres_url"), pool_size=4)
    async with found.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield found
    if request.param == "postgresql":
        names = ", ".join(table.name for table in metadata.sorted_tables)
        async with found.begin() as connection:
            await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    await found.close()
