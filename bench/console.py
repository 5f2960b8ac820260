"""The console at a million applications and orders: how long its lists and its monitor take on the server."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from statistics import median
from typing import Any
from urllib.parse import urlencode

import httpx
from psycopg import Connection

from bench.console_rows import DAYS, FEW, RECRUITERS, write_console_rows
from bench.figures import PAGE_MS, Results
from bench.site import Site
from services.console.pages import PAGES
from services.console.pages.history import NOUNS
from services.console.paging import write_key
from shared.db.job_orders import ENDED, OPEN
from shared.db.order_list import STATES
from tests.servers.processes import free_port

#: Requests of each page; their median counts.
REQUESTS = 5
#: Ends of addresses that give files, or that a page asks for while it shows that the work takes its time.
_LEFT_OUT = (".xlsx", ".csv", ".json", "/excel", "/simulation/result")
_PASSWORD = "ein langes Passwort"
_NEXT = re.compile(r'rel="next" href="[^"]*[?&;]after=([^"&]+)"')
#: What is looked for among the applications: everybody, many, few, one, nobody; two words; parts of words.
SEARCHES = (
    *("müller", "vorname7", "müller-77", "Vorname711", "Müller-4711", "a4711@d4711", "A4711", "niemand"),
    *(
        "Vorname711 Müller",
        "Vorname711 Müller-4711",
        "vorname müller-99",
        "vorname1 niemand",
        "711",
        "d77.example",
        "m",
    ),
)
Tell = Callable[[str], None]


def measure_console(results: Results, site: Site, rows: int, tell: Tell) -> None:
    """Every GET page, with the first id of its record; every list with each of its filters, first and further pages."""
    tell(f"console: writing {rows:,} applications, orders and events")
    with site.connect() as connection:
        write_console_rows(site.database_url, connection, rows)
        lists = [*pages(), *narrowed(_days(connection))]
    port = free_port()
    site.command("user", "create", "bench", "--display-name", "Bench", "--role", "admin")
    site.command("user", "password", "bench", "--stdin", given=_PASSWORD)
    with site.service("console", KP_CONSOLE_PORT=str(port)):
        for path, times in measured(f"http://127.0.0.1:{port}", lists, tell):
            results.console_ms[path] = median(times)


def _days(connection: Connection[Any]) -> tuple[str, str, str]:
    """The day that is planned, one in the middle and the first."""
    found = connection.execute("SELECT max(occasion_day), min(occasion_day) FROM dispatch_runs").fetchone()
    latest, first = found or (date.today(), date.today())
    return latest.isoformat(), (latest - timedelta(days=DAYS // 2)).isoformat(), first.isoformat()


def pages() -> list[str]:
    """The addresses of pages that show something, each with the first record."""
    found = [page.path for page in PAGES if "GET" in page.methods and page.right != "nobody"]
    return [re.sub(r"\{\w+:int\}", "1", path) for path in found if not path.endswith(_LEFT_OUT)]


def narrowed(days: tuple[str, str, str]) -> Iterator[str]:
    """The lists with each filter that a person can choose, alone and with those that narrow it further."""
    latest, middle, first = days
    job, rare = "job-1", "job-2"
    for state in ("open", *STATES):
        yield _address("/workcenter", state=state)
        yield _address("/workcenter", state=state, type=job)
        yield _address("/workcenter", state=state, type=rare)
        yield _address("/workcenter", state=state, type="manual")
        yield _address("/workcenter", state=state, day=middle)
        yield _address("/workcenter", state=state, recruiter=RECRUITERS[0])
        yield _address("/workcenter", state=state, recruiter="a.weber")
    for kind in ("manual", "scheduled_rejection", job, rare):
        yield _address("/workcenter", type=kind)
        yield _address("/workcenter", type=kind, day=middle)
        yield _address("/workcenter", type=kind, day=first)
        yield _address("/workcenter", type=kind, recruiter=RECRUITERS[0])
    for day in days:
        yield _address("/workcenter", day=day)
        yield _address("/workcenter", day=day, recruiter=RECRUITERS[1])
    for recruiter in ("a.weber", *RECRUITERS):
        yield _address("/workcenter", recruiter=recruiter)
    yield from (_address("/applications", q=text) for text in SEARCHES)
    yield from (_address("/search", q=text) for text in SEARCHES)
    for number in (1, 2):
        for state in (*OPEN, "blocked", *ENDED):
            yield _address(f"/jobs/{number}/dispatch", state=state)
        for words in ("Müller-77", "Vorname711", "niemand", "müller"):
            yield _address(f"/jobs/{number}/dispatch", q=words)
        yield _address(f"/jobs/{number}/dispatch", q="niemand", state="sent")
        yield from (f"/jobs/{number}{tab}" for tab in ("", "/history", "/dispatch"))
    yield from (_address("/settings/history", noun=noun) for noun in NOUNS)
    yield from _last_pages(latest, first)


def _last_pages(latest: str, first: str) -> Iterator[str]:
    """The ends of the long lists: their keys are those of the rows that came first."""
    end = write_key([51])
    for path in (
        "/workcenter?",
        "/workcenter?state=sent&",
        "/workcenter?type=job-2&",
        "/workcenter?recruiter=a.weber&",
    ):
        yield f"{path}after={end}"
    yield _address("/workcenter", type="job-1", after=write_key([3 * FEW + 51]))
    yield _address("/workcenter", state="failed", after=write_key([3 * FEW + 5051]))
    for path in ("/applications?", "/applications?q=m%C3%BCller&", "/settings/history?"):
        yield f"{path}after={end}"
    yield _address("/settings/history", noun="order", after=write_key([100_200]))
    yield _address("/jobs/1/dispatch", part="ended", after=write_key([first, 3 * FEW + 51]))
    yield _address("/jobs/1/dispatch", part="open", after=write_key([latest, 1]))


def _address(path: str, **given: str) -> str:
    return f"{path}?{urlencode(given)}"


def measured(url: str, paths: Sequence[str], tell: Tell) -> Iterator[tuple[str, list[float]]]:
    """The server's times of each page, and of the page after it where there is one."""
    with httpx.Client(base_url=url, timeout=120) as client:
        _sign_in(client)
        for path in dict.fromkeys(paths):
            text, times = _asked(client, path, tell)
            if times:
                yield path, times
            if (found := _NEXT.search(text)) and "after=" not in path:
                further = f"{path}{'&' if '?' in path else '?'}after={found.group(1)}"
                yield f"{path} (second page)", _asked(client, further, tell)[1]


def _asked(client: httpx.Client, path: str, tell: Tell) -> tuple[str, list[float]]:
    answers = [client.get(path) for _ in range(REQUESTS)]
    if answers[-1].status_code >= 400:
        tell(f"console: {path}: {answers[-1].status_code}, not measured")
        return "", []
    times = [float(answer.headers["server-timing"].partition("dur=")[2]) for answer in answers]
    tell(f"console: {path}: {median(times):.0f} ms{'' if median(times) < PAGE_MS else '  TOO SLOW'}")
    return answers[-1].text, times


def _sign_in(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = client.post("/sign-in", data={"name": "bench", "password": _PASSWORD})
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            if answer.status_code >= 400:
                answer.raise_for_status()
            return
