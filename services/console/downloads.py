"""A whole list as a workbook: written to disk row by row, a few lists at a time, then sent and removed."""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from services.console.sheets import Row, title_of, wording_of
from services.console.visits import Visit
from shared.exporting import LISTS, Source, Wording, export_source
from shared.lifecycle import unless_stopped

#: Seconds that a person waits for a turn before they are told to come back, and when.
WAIT_SECONDS, COME_BACK_SECONDS = 20.0, 30


class _NoTurn(Exception):
    """Others' lists are being made."""


async def download(
    visit: Visit, what: str, narrowed: Source | None = None, told: Callable[[Row], Row] = dict
) -> Response:
    """The list `what` (applications, contacts, jobs, orders, ...) with everything in it, not just a page.

    `narrowed`: instead of the whole list this one, under the same name. `told`: puts words for code names into a
    row that only its page knows.
    """
    folder = tempfile.TemporaryDirectory(prefix="kontaktpflege-")
    file = Path(folder.name) / f"{what}.xlsx"
    try:
        wording = wording_of(visit, what, told)
        if not await _made_for_somebody(visit, narrowed or LISTS[what], file, wording):
            folder.cleanup()
            return Response(status_code=204)
        name = f"{title_of(visit, what)}-{(await visit.today()).isoformat()}.xlsx"
    except _NoTurn:
        folder.cleanup()
        return _come_back(visit)
    except BaseException:
        folder.cleanup()
        raise
    return _Once(folder, file, filename=name)


async def _made_for_somebody(visit: Visit, source: Source, file: Path, wording: Wording) -> bool:
    """False: the person went away, and nothing more is done for them."""
    gone = asyncio.Event()
    watching = asyncio.create_task(_watch(visit.request, gone))
    try:
        return await unless_stopped(_made_in_turn(visit, source, file, wording), gone)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(request: Request, gone: asyncio.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def _made_in_turn(visit: Visit, source: Source, file: Path, wording: Wording) -> None:
    turns = visit.surroundings.exporting
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await turns.acquire()
    except TimeoutError:
        raise _NoTurn from None
    try:
        await export_source(visit.database, source, file, visit.now, wording=wording)
    finally:
        turns.release()


def _come_back(visit: Visit) -> Response:
    reason = visit.text("Several lists are being made for others at this moment; please try again in half a minute.")
    # As every error: without the menu, whose links nobody needs now.
    response = replace(visit, session=None).render("error.html", 503, code=503, reason=reason, value="")
    response.headers["Retry-After"] = str(COME_BACK_SECONDS)
    return response


def send_once(folder: "tempfile.TemporaryDirectory[str]", file: Path, name: str) -> Response:
    """A file in a folder of its own, which is removed once it is sent."""
    return _Once(folder, file, filename=name)


class _Once(FileResponse):
    """A file that is removed once it is sent, or whatever else became of that."""

    def __init__(self, folder: "tempfile.TemporaryDirectory[str]", file: Path, filename: str) -> None:
        super().__init__(file, filename=filename)
        self._folder = folder

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._folder.cleanup()
