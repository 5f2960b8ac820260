"""The console at a million applications and orders: how long its lists and its monitor take on the server."""

import re
import time
from collections.abc import Callable, Iterator
from statistics import median

import httpx

from bench.applicants import TODAY, tidy, write_applicants
from bench.figures import PAGE_MS, Results
from bench.site import Site
from services.console.pages import PAGES
from tests.servers.processes import free_port

#: Requests of each page; their median counts.
REQUESTS = 5
_PASSWORD = "ein langes Passwort"
_DAYS = 400

_RUNS = """
INSERT INTO dispatch_runs (job_id, lineage_id, job_name, occasion_day, plan_from, send_at, state, released_at,
  recipients, released_orders, synced_at)
SELECT j.id, j.lineage_id, j.name, %(today)s::date - d, now(), now() - make_interval(days => d), 'dispatched',
  now() - make_interval(days => d), %(each)s, %(each)s, now()
FROM contact_jobs j, generate_series(0, %(days)s - 1) d WHERE j.name = 'Gruß'
"""

#: Most are sent; one in a hundred waits, failed, is unclear or has no address.
_ORDERS = """
INSERT INTO write_orders (type, run_id, job_id, job_name, lineage_id, person_id, application_id, letter_id,
  occasion_day, state, reason, time_zone, planned_for, created_at, queued_at, not_before, expires_at, email, sent_at,
  subject, attempts)
SELECT 'contact_job', r.id, j.id, j.name, j.lineage_id, a.person_id, a.id, j.letter_id, r.occasion_day, s.state,
  CASE WHEN s.state = 'failed' THEN '550 unknown' END, 'Europe/Berlin', r.send_at, r.send_at, r.send_at, r.send_at,
  now() + interval '30 days', a.usable_email,
  CASE WHEN s.state = 'sent' THEN r.send_at + make_interval(secs => a.id %% 3600) END, 'Gruß', 1
FROM (SELECT *, row_number() OVER (ORDER BY occasion_day DESC) - 1 AS nr FROM dispatch_runs) r
JOIN contact_jobs j ON j.id = r.job_id
JOIN applications a ON a.id %% %(days)s = r.nr AND a.id <= %(orders)s,
LATERAL (SELECT CASE WHEN a.id %% 100 > 3 THEN 'sent'
  ELSE (ARRAY['planned', 'failed', 'unclear', 'no_address'])[1 + a.id %% 100] END AS state) s
ON CONFLICT DO NOTHING
"""
_EVENTS = """
INSERT INTO events (at, author, action, noun, record_id, record_name, field, old, new)
SELECT now() - make_interval(secs => n), 'bench', 'block', 'order', n, 'Gruß', 'state', 'planned', 'blocked'
FROM generate_series(1, %(orders)s::bigint) n
"""
Tell = Callable[[str], None]


def measure_console(results: Results, site: Site, rows: int, tell: Tell) -> None:
    """Every GET page, with the first id of its record: lists, files of a record, the monitor."""
    tell(f"console: writing {rows:,} applications, orders and events")
    write_applicants(site.database_url, rows)
    with site.connect() as connection:
        given = {"today": TODAY, "days": _DAYS, "each": rows // _DAYS, "orders": rows}
        for statement in (_RUNS, _ORDERS, _EVENTS):
            connection.execute(statement, given)
        tidy(connection)
    port = free_port()
    site.command("user", "create", "bench", "--display-name", "Bench", "--role", "admin")
    site.command("user", "password", "bench", "--stdin", given=_PASSWORD)
    with site.service("console", KP_CONSOLE_PORT=str(port)):
        for path, times in _measured(f"http://127.0.0.1:{port}", tell):
            results.console_ms[path] = median(times)


def pages() -> list[str]:
    """The addresses of pages that show something; files and what only a click of htmx asks for are left out."""
    found = [page.path for page in PAGES if "GET" in page.methods and page.right != "nobody"]
    return [re.sub(r"\{\w+:int\}", "1", path) for path in found if not path.endswith((".xlsx", ".csv", ".json"))]


def _measured(url: str, tell: Tell) -> Iterator[tuple[str, list[float]]]:
    with httpx.Client(base_url=url, timeout=120, follow_redirects=True) as client:
        _sign_in(client)
        for path in pages():
            answers = [client.get(path) for _ in range(REQUESTS)]
            if answers[-1].status_code != 200:
                tell(f"console: {path}: {answers[-1].status_code}, not measured")
                continue
            times = [float(answer.headers["server-timing"].partition("dur=")[2]) for answer in answers]
            tell(f"console: {path}: {median(times):.0f} ms{'' if median(times) < PAGE_MS else '  TOO SLOW'}")
            yield path, times


def _sign_in(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.post("/sign-in", data={"name": "bench", "password": _PASSWORD}).raise_for_status()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return
