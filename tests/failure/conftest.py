"""Both stacks, and a mail server that misbehaves and counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.smtp_server import ScriptedSmtpServer
from tests.stacks import Stack


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[ScriptedSmtpServer]:
    with ScriptedSmtpServer(tmp_path / "ledger.jsonl") as server:
        yield server


@pytest.fixture
def embedded_stack(tmp_path: Path, smtp: ScriptedSmtpServer) -> Iterator[Stack]:
    stack = Stack(tmp_path, f"sqlite:///{tmp_path / 'kontaktpflege.sqlite3'}", "memory://", smtp.url)
    yield stack
    stack.close()


@pytest.fixture
def distributed_stack(tmp_path: Path, smtp: ScriptedSmtpServer, postgres_url: str, amqp_url: str) -> Iterator[Stack]:
    stack = Stack(tmp_path, postgres_url, amqp_url, smtp.url)
    yield stack
    stack.close()


@pytest.fixture(params=["embedded", "distributed"])
def stack(request: pytest.FixtureRequest) -> Stack:
    found = request.getfixturevalue(f"{request.param}_stack")
    assert isinstance(found, Stack)
    return found
