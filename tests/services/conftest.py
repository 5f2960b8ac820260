"""An empty database with the newest schema, on both kinds; and imports into one that knows a small setup."""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.db.engine import Database
from shared.db.tables import metadata
from shared.importing import batches
from tests.servers.fresh import fresh_database
from tests.services.import_files import Files
from tests.services.setup_files import SETUP, apply
from tests.services.world import World


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


@pytest.fixture
async def files(database: Database, tmp_path: Path) -> Files:
    """Two statuses (Neu, Absage) and one user (a.weber) are known."""
    await apply(database, SETUP)
    return Files(database, tmp_path)


@pytest.fixture(params=[5000, 1], ids=["one batch", "batches of one"])
def any_batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test that takes it runs with all rows in one batch, and with a batch for each row."""
    monkeypatch.setattr(batches, "BATCH_ROWS", request.param)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """An installation whose services are called step by step."""
    return World(database, tmp_path)
