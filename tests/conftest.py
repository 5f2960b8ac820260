"""Real servers for the tests that ask for them; impossible ones fail the test with the reason, they never skip it."""

import gc
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from xdist.scheduler import LoadScopeScheduling

from services.cli.running import COLLECT_AFTER
from tests import compiled_statements
from tests.mail_server import MailServer
from tests.servers.fresh import fresh_database, fresh_vhost
from tests.stacks import Stack

#: Services of many tests run side by side: those without the console, but for the tests that are about it.
os.environ.setdefault("KP_CONSOLE_PORT", "0")
compiled_statements.share()

#: Modules that have a console, a broker or a database server of their own running: started once, by one worker.
_TOGETHER = ("tests/browser/", "tests/acceptance/test_least_rights", "tests/services/test_people_log")
#: What breaks things on purpose, one after another; and modules that share servers of their own.
_GROUPS = ("tests/failure/", "tests/acceptance/test_doctor")


class Scheduling(LoadScopeScheduling):
    """Every test by itself to whichever worker is free, but for those that share what takes long to start."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_TOGETHER):
            return nodeid.partition("::")[0]
        return next((group for group in _GROUPS if nodeid.startswith(group)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Not `--dist loadgroup`: its groups get lost under pytest 9.2."""
    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """As the services do: what is there by now stays, and need not be looked through for cycles again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """A command that a test runs in this process sets up logging, to a stream that ends with the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def servers() -> Iterator[Mapping[str, str]]:
    """TEST_AMQP_URL and TEST_DATABASE_URL: those of the environment, else servers started for this session."""
    from tests.servers.__main__ import down, environment, up

    if os.environ.get("TEST_AMQP_URL") and os.environ.get("TEST_DATABASE_URL"):
        yield dict(os.environ)
        return
    up(durable=False)
    yield environment()
    down()


@pytest.fixture
def amqp_url(servers: Mapping[str, str]) -> Iterator[str]:
    """An empty vhost on a real RabbitMQ."""
    with fresh_vhost(servers) as url:
        yield url


@pytest.fixture
def postgres_url(servers: Mapping[str, str]) -> Iterator[str]:
    """An empty database on a real PostgreSQL."""
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        yield url


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[MailServer]:
    with MailServer(tmp_path / "ledger.jsonl") as server:
        yield server


@pytest.fixture
def embedded_stack(tmp_path: Path, smtp: MailServer) -> Iterator[Stack]:
    stack = Stack(
        tmp_path, f"sqlite:///{tmp_path / 'kontaktpflege.sqlite3'}", "memory://", smtp.oracle.url, copies=True
    )
    yield stack
    stack.close()


@pytest.fixture
def distributed_stack(tmp_path: Path, smtp: MailServer, postgres_url: str, amqp_url: str) -> Iterator[Stack]:
    stack = Stack(tmp_path, postgres_url, amqp_url, smtp.oracle.url, copies=True)
    yield stack
    stack.close()


@pytest.fixture(params=["embedded", "distributed"])
def stack(request: pytest.FixtureRequest) -> Stack:
    found = request.getfixturevalue(f"{request.param}_stack")
    assert isinstance(found, Stack)
    return found
