"""An empty database with the newest schema, on both kinds; and imports into one that knows a small setup."""

import shutil
import ssl
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection
from typer.testing import CliRunner

from services.cli.app import build
from shared.db import dispatch
from shared.db.engine import Database
from shared.importing import batches
from tests.certificates import make_certificate
from tests.servers.fresh import fresh_database
from tests.servers.processes import free_port
from tests.services.command_line import CommandLine
from tests.services.import_files import Files
from tests.services.plan_looks import Looks
from tests.services.schemas import empty_again, open_with_schema
from tests.services.setup_files import SETUP, apply
from tests.services.share_roles import roles_until_the_end
from tests.services.world import World


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """The loop that services run on; tests are named as ever, since there is one."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def kept_postgres_url(servers: Mapping[str, str]) -> Iterator[str]:
    """One PostgreSQL database for many tests: making one takes longer than most of them."""
    with roles_until_the_end(server := servers["TEST_DATABASE_URL"]), fresh_database(server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def no_schema(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Of each kind one without a schema."""
    sqlite = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    database = Database(sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    yield database
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Each test that takes it runs once per kind of database."""
    if request.param == "sqlite":
        found = await open_with_schema(f"sqlite:///{tmp_path / 'test.sqlite3'}")
    else:
        found = await open_with_schema(request.getfixturevalue("kept_postgres_url"), pool_size=4)
    yield found
    if request.param == "postgresql":
        await empty_again(found)
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


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    """Nothing is there yet, no database either."""
    yield CommandLine(tmp_path, monkeypatch, capsys)
    structlog.reset_defaults()  # the log went to this test's stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database with the setup and one application."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "setup.yaml").write_text(SETUP, encoding="utf-8")
    (folder / "a.csv").write_text("external_id,city\nA1,before\n", encoding="utf-8")
    environment = {"DATABASE_URL": f"sqlite:///{folder}/test.sqlite3", "KP_STATE_DIR": str(folder)}
    try:
        for arguments in ("migrate", "apply setup.yaml", "import applications a.csv"):
            words = [str(folder / word) if "." in word else word for word in arguments.split()]
            done = CliRunner().invoke(build(), words, env=environment)
            assert done.exit_code == 0, (done.output, done.exception)
    finally:
        structlog.reset_defaults()  # the log went to the runner's stream
    yield folder / "test.sqlite3"


@pytest.fixture
def cli(empty: CommandLine, prepared: Path) -> CommandLine:
    shutil.copyfile(prepared, empty.database)
    return empty


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """How many people each look at a standing plan was about; None: everybody."""
    found: Looks = []
    asked = dispatch.whom_to_look_at

    async def noted(connection: AsyncConnection, *given: Any) -> Any:
        people = await asked(connection, *given)
        found.append(None if people is None else len(people))
        return people

    monkeypatch.setattr(dispatch, "whom_to_look_at", noted)
    return found


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    return free_port()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server context for localhost, trusted through SSL_CERT_FILE."""
    file, context = make_certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return context
