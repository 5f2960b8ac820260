"""What the console answers when a page breaks, is not there or cannot be opened like that."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.console.app import HEADERS, build_console
from services.console.reached import session_cookie
from services.console.surroundings import Surroundings
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.settings import Settings


@asynccontextmanager
async def visitor() -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a session's cookie, before a console whose database breaks in a way that nobody foresaw."""
    database = Database("sqlite://")
    console: Any = build_console(Surroundings(database, Settings(), SystemClock()))
    transport = httpx.ASGITransport(console, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://console", cookies={session_cookie(False): "x"}
    ) as one:
        yield one
    await database.close()


async def test_s26_s35_a_page_that_breaks_says_so_without_details_and_with_every_safety_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(*_: object) -> None:
        raise ArithmeticError("secret detail")

    monkeypatch.setattr(Database, "read", breaks)
    async with visitor() as one:
        answer = await one.get("/jobs", headers={"Accept-Language": "de"})
    assert answer.status_code == 500
    assert "Protokoll" in answer.text and "secret" not in answer.text and "Traceback" not in answer.text
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [("GET", "/nowhere", 404, "gibt es nicht"), ("DELETE", "/jobs", 405, "über das Menü")],
)
async def test_an_address_that_is_none_is_answered_in_the_persons_language(
    method: str, path: str, status: int, words: str
) -> None:
    async with visitor() as one:
        answer = await one.request(method, path, headers={"Accept-Language": "de"})
    assert answer.status_code == status and words in answer.text
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
