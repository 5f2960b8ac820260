"""Making a long list as a workbook leaves the process to the letters: no long pause, few at a time, nothing left."""

import asyncio
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.datastructures import FormData
from starlette.requests import Request

from services.console import downloads
from services.console.downloads import download
from services.console.rendering import Renderer
from services.console.surroundings import Surroundings
from services.console.visits import Visit
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.exporting import Source, export_source
from shared.exporting.lists import ListSource, Row
from shared.exporting.workbook import ExcelWriter
from shared.exporting.writers import WRITERS
from shared.settings import Settings
from tests.services.setup_files import SETUP, apply
from tests.services.world import MORNING

ROWS, COLUMNS = 20_000, tuple(f"c{number}" for number in range(24))
#: Seconds of processor time, for others' work is no pause of ours. Packing alone takes more than a second for so many
#: cells, all of it at a stretch.
LONGEST_PAUSE = 0.4


def long_list(rows: int = ROWS) -> Source:
    async def each() -> AsyncIterator[Row]:
        for number in range(rows):
            yield {column: f"{column} of row {number}" for column in COLUMNS}

    async def source(_: AsyncConnection, __: datetime, ___: ZoneInfo) -> ListSource:
        return ListSource(COLUMNS, each())

    return source


async def longest_pause(work: "asyncio.Task[Any]") -> float:
    """How long this process worked at most, in whatever thread, without a turn for anything else in its loop."""
    longest = 0.0
    while not work.done():
        before = time.process_time()
        await asyncio.sleep(0.005)
        longest = max(longest, time.process_time() - before)
    return longest


@pytest.fixture
async def ready(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with settings; temporary files are made in `tmp_path/temporary`."""
    await apply(database, SETUP)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return database


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in (folder / "temporary").iterdir())


def visit_of(database: Database, *messages: dict[str, Any]) -> Visit:
    """A request; after `messages` its sender says nothing more."""
    coming = iter(messages)

    async def receive() -> Any:
        message = next(coming, None)
        return await asyncio.Event().wait() if message is None else message

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    around = Surroundings(database, Settings(), SystemClock())
    return Visit(Request(scope, receive), around, Renderer(), None, FormData())


async def test_a_long_list_does_not_hold_the_loop(ready: Database, tmp_path: Path) -> None:
    out = tmp_path / "long.xlsx"
    work = asyncio.create_task(export_source(ready, long_list(), out, MORNING))
    pause = await longest_pause(work)
    assert work.result() == ROWS
    assert pause < LONGEST_PAUSE
    rows = CalamineWorkbook.from_path(str(out)).get_sheet_by_name("list").to_python()
    assert len(rows) == 1 + ROWS and rows[-1][-1] == f"c23 of row {ROWS - 1}"
    assert left(tmp_path) == []


async def test_who_gives_up_while_it_is_packed_leaves_nothing_and_ends_it(ready: Database, tmp_path: Path) -> None:
    written = asyncio.Event()
    out = tmp_path / "long.xlsx"

    def progress(rows: int) -> None:
        if rows == 6000:
            written.set()

    work = asyncio.create_task(export_source(ready, long_list(6000), out, MORNING, progress))
    await written.wait()
    await asyncio.sleep(0.05)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert left(tmp_path) == []
    assert not list(tmp_path.glob("long*"))  # noqa: ASYNC240


@pytest.mark.parametrize("times", [1, 2])
async def test_who_gives_up_before_it_has_begun_leaves_nothing(
    ready: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    beginning, given_up, begun = threading.Event(), threading.Event(), threading.Event()

    class Slow(ExcelWriter):
        def __init__(self, *given: Any) -> None:
            beginning.set()
            given_up.wait(20)
            super().__init__(*given)
            begun.set()

    monkeypatch.setitem(WRITERS, ".xlsx", Slow)
    work = asyncio.create_task(export_source(ready, long_list(6000), tmp_path / "long.xlsx", MORNING))
    assert await asyncio.to_thread(beginning.wait, 20)
    for _ in range(times):
        work.cancel()
        await asyncio.sleep(0.05)
    given_up.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await asyncio.to_thread(begun.wait, 20)
    assert left(tmp_path) == []
    assert not list(tmp_path.glob("long*"))  # noqa: ASYNC240


async def test_a_list_for_somebody_who_went_away_is_made_no_further(ready: Database, tmp_path: Path) -> None:
    visit = visit_of(ready, {"type": "http.request", "body": b""}, {"type": "http.disconnect"})
    loop = asyncio.get_running_loop()
    began = loop.time()
    # It would take minutes.
    answer = await asyncio.wait_for(download(visit, "orders", narrowed=long_list(1_000_000)), 30)
    assert answer.status_code == 204 and loop.time() - began < 20
    assert left(tmp_path) == []
    assert not visit.surroundings.exporting.locked()


async def test_more_than_two_lists_at_a_time_are_told_when_to_come_back(
    ready: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.2)
    visit = visit_of(ready)
    turns = visit.surroundings.exporting
    await turns.acquire()
    assert (await download(visit, "users")).status_code == 200
    await turns.acquire()
    answer = await download(visit, "users")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "mehrere Listen" in bytes(answer.body).decode()
    turns.release()
    assert (await download(visit, "users")).status_code == 200


async def test_the_file_is_removed_whatever_becomes_of_sending_it(ready: Database, tmp_path: Path) -> None:
    visit = visit_of(ready)
    answer = await download(visit, "users")
    assert len(left(tmp_path)) == 1

    async def send(message: Any) -> None:
        if message.get("body"):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await answer(visit.request.scope, visit.request.receive, send)
    assert left(tmp_path) == []
