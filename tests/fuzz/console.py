"""Requests of a signed-in person: every address by every method, with what its forms hold and with what they do not."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from structlog import get_logger

from services.cli.mail_catcher import CaughtMail
from services.console.app import build_console
from services.console.pages import PAGES
from services.console.pages.imports import forget
from services.console.surroundings import Surroundings
from services.mailer.trial_mail import send_trial_mail
from shared.db.console_sessions import load_session
from shared.db.letter_trials import TrialMail
from tests.fuzz.forms import Asked, Pairs, in_console
from tests.fuzz.installation import Installation, prepare, sample
from tests.fuzz.target import Stage, Target
from tests.fuzz.values import damaged, texts
from tests.services.running import settings_for
from tests.smtp_oracle import SmtpOracle

_BASE = "http://firma.example"
_METHODS = (*("GET", "POST") * 3, "HEAD", "PUT", "DELETE", "OPTIONS")
_IDS = ("1", "2", "3", "0", "40", "9223372036854775807", "9223372036854775808", "99999999999999999999", "-1", "²", "x")
_LANGUAGES = ("de", "en", "fr;q=0.9", "", "*")
#: Names that no form on a page shows by itself.
_NAMES = (
    "page",
    "part",
    "print",
    "after",
    "to",
    "q",
    "on",
    "undo",
    "who",
    "noun",
    "order",
    "step",
    "row",
    "token",
    "type",
)
_MAILS = (
    b"Subject: Hallo\r\nContent-Type: text/html\r\n\r\n<p>Hallo",
    b'\xff\x00Content-Type: multipart/mixed; boundary="\r\n\r\n',
)
#: (method, path, query, form or None, file or None, asked for by htmx, language)
Request = tuple[str, str, Pairs, Pairs | None, tuple[str, bytes] | None, bool, str]


def _requests(offered: list[Asked]) -> SearchStrategy[Any]:
    """What pages offer, changed here and there; and what nothing offers."""
    names = sorted({name for _, _, pairs in offered for name, _ in pairs} | set(_NAMES))
    values = st.one_of(texts, st.sampled_from(sorted({value for _, _, pairs in offered for _, value in pairs})))
    pairs = st.lists(st.tuples(st.sampled_from(names), values), max_size=6)
    changes = [one for one in offered if one[0] == "POST"]
    paths = sorted({page.path for page in PAGES})

    @st.composite
    def request(draw: st.DrawFn) -> Request:
        htmx, language = draw(st.booleans()), draw(st.sampled_from(_LANGUAGES))
        match draw(st.sampled_from(("offered", "offered", "offered", "page", "page", "file", "path"))):
            case "offered":
                method, path, given = draw(st.one_of(st.sampled_from(changes), st.sampled_from(offered)))
                given = draw(_changed(given, names, values))
                query, form = ([], given) if method == "POST" else (given, None)
                return method, path, query, form, None, htmx, language
            case "page":
                path = re.sub(
                    r"\{\w+:int\}", lambda _: quote(draw(st.sampled_from(_IDS))), draw(st.sampled_from(paths))
                )
                method = draw(st.sampled_from(_METHODS))
                return method, path, draw(pairs), draw(pairs) if method == "POST" else None, None, htmx, language
            case "file":
                kind = draw(st.sampled_from(("applications", "contacts", "")))
                name = draw(st.sampled_from(("a.csv", "a.jsonl", "a.CSV", "a.xlsx", "", "../a.csv", "\u202e.csv")))
                content = draw(damaged(st.just(sample(kind or "contacts", 3).encode())))
                return "POST", "/import", [], [("kind", kind)], (name, content), htmx, language
            case _:
                path = "/" + quote(draw(texts), safe=draw(st.sampled_from(("", "/"))))
                return draw(st.sampled_from(_METHODS)), path, draw(pairs), None, None, htmx, language

    return st.lists(request(), min_size=1, max_size=6)


@st.composite
def _changed(draw: st.DrawFn, given: Pairs, names: list[str], values: SearchStrategy[str]) -> Pairs:
    found = list(given)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(found)))
        match draw(st.sampled_from(("change", "change", "remove", "add"))):
            case "change" if at < len(found):
                found[at] = (found[at][0], draw(values))
            case "remove":
                del found[at : at + 1]
            case _:
                found.insert(at, (draw(st.sampled_from(names)), draw(values)))
    return found


@asynccontextmanager
async def _staged(folder: Path) -> AsyncIterator[Stage]:
    installation = await prepare(folder)
    async with SmtpOracle(folder / "ledger") as oracle:
        house = _House(installation, oracle.url)

        async def attempt(case: list[Request]) -> None:
            async with house.visited() as (browser, csrf):
                for one in case:
                    # An address that the browser itself will not ask for.
                    with suppress(httpx.InvalidURL):
                        answer = await _send(browser, csrf, one)
                        assert answer.status_code < 500, (one, answer.status_code)

        async with house.visited() as (browser, _):
            offered = await in_console(browser, range(1, 5))
        yield Stage(_requests(offered), attempt)


class _House:
    """The console, over a copy of the database for each case."""

    def __init__(self, installation: Installation, smtp_url: str) -> None:
        self._installation, self._clock = installation, installation.clock
        self._settings = settings_for(installation.folder, smtp_url)
        self._mails = [
            CaughtMail("", "a@x.example", "", "", str(number), content) for number, content in enumerate(_MAILS)
        ]
        self._console: Any = None

    async def _send_trial(self, mail: TrialMail) -> str:
        return await send_trial_mail(mail, self._settings, self._clock.now(), get_logger())

    @asynccontextmanager
    async def visited(self) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
        """An administrator's browser, and the token of the session's forms; what breaks a page is raised."""
        async with self._installation.copied() as database:
            surroundings = Surroundings(database, self._settings, self._clock, self._mails, self._send_trial)
            # Built once: its templates would be compiled again for each case.
            self._console = self._console or build_console(surroundings)
            self._console._app.state.surroundings = surroundings
            session = await load_session(database, self._installation.session.token, self._clock.now())
            assert session is not None
            # The file of the case before.
            forget(session.token_hash)
            cookies = {"kp_session": self._installation.session.token}
            transport = httpx.ASGITransport(self._console)
            async with httpx.AsyncClient(transport=transport, base_url=_BASE, cookies=cookies) as browser:
                yield browser, session.csrf


async def _send(browser: httpx.AsyncClient, csrf: str, request: Request) -> httpx.Response:
    method, path, query, form, file, htmx, language = request
    headers = {"X-CSRF-Token": csrf, "Accept-Language": language} | ({"HX-Request": "true"} if htmx else {})
    data: dict[str, list[str]] = {}
    for name, value in form or ():
        data.setdefault(name, []).append(value)
    return await browser.request(
        method,
        f"{_BASE}{path}",
        params=query or None,
        data=data if form is not None else None,
        files={"file": file} if file else None,
        headers=headers,
    )


CONSOLE = Target("console", _staged)
