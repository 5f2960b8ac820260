"""Who gets a letter: resolved and written down as orders, beside SQL written by hand for this one case."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.applicants import TODAY, tidy
from bench.figures import Results
from bench.orders import forget_orders
from bench.site import Site
from shared.db.dispatch import synchronise
from shared.db.engine import Database
from shared.db.job_rows import load_job_row
from shared.db.queries import QueryDay, load_query
from shared.db.recipients import ListScope, counted, recipients
from shared.db.runs import NewRun, record_run
from shared.db.tables import dispatch_runs

#: The setup's jobs: one application of ten gets a letter, or every second one.
FEW, MANY = "Nicht vergessen", "Gruß"
_ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime.combine(TODAY, datetime.min.time(), _ZONE) + timedelta(hours=6)
SEND_AT = NOW + timedelta(hours=12)

Tell = Callable[[str], None]

#: What the product's general statement comes to for the bench's job: query, D20, D23, D25, D27, D13, blocks.
_BY_HAND = """
INSERT INTO write_orders (type, run_id, job_id, job_name, lineage_id, person_id, application_id, letter_id,
  occasion_day, state, time_zone, planned_for, expires_at, created_at)
SELECT 'contact_job', %(run)s, j.id, j.name, j.lineage_id, chosen.person_id, chosen.id, j.letter_id, %(day)s, 'planned',
  'Europe/Berlin', %(send_at)s, %(send_at)s + interval '30 days', %(now)s
FROM contact_jobs j, (
  SELECT DISTINCT ON (a.person_id) a.person_id, a.id
  FROM applications a
  JOIN persons p ON p.id = a.person_id
  JOIN application_statuses s ON s.id = a.status_id
  WHERE s.name = 'Pool' AND a.reduced_at IS NULL AND p.opted_out_at IS NULL
    AND greatest(a.last_contact_at, p.last_contact_at) < %(before)s
    AND NOT EXISTS (SELECT FROM blocks b WHERE b.person_id = a.person_id AND b.lifted_at IS NULL
      AND (b.scope = 'job' OR b.scope = 'all' AND (b.until IS NULL OR b.until >= %(day)s)))
    AND NOT EXISTS (SELECT FROM write_orders o WHERE o.person_id = a.person_id
      AND o.run_id IS DISTINCT FROM %(run)s
      AND o.occasion_day BETWEEN %(day)s::date - 364 AND %(day)s::date + 364
      AND o.state IN ('queued', 'sending', 'sent', 'unclear', 'no_address', 'failed', 'planned'))
  ORDER BY a.person_id, a.last_outgoing_at DESC NULLS LAST, a.received_on DESC NULLS LAST, a.external_id DESC
) chosen
WHERE j.name = %(job)s
"""


def measure_recipients(results: Results, site: Site, rounds: int, tell: Tell) -> None:
    """In turns; what both leave is compared once, row by row."""
    for number in range(1, rounds + 1):
        tell(f"recipients, round {number} of {rounds}")
        run_id = fresh_run(site)
        results.add("hand-written SQL", _by_hand(site, run_id))
        by_hand = _orders(site)
        run_id = fresh_run(site)
        results.add("orders made", synchronised(site, run_id))
        if _orders(site) != by_hand:
            raise RuntimeError("hand-written SQL and the evaluation do not agree")
        with site.connect() as connection:
            tidy(connection)
        results.add("evaluated again", synchronised(site, run_id))
        if _orders(site) != by_hand:
            raise RuntimeError("an evaluation with nothing changed changed something")
        index, scan = site.on_database(birthdays)
        results.add("birthdays", index)
        results.add("full scan", scan)
    results.notes.append(f"recipients: {len(by_hand):,} orders")


def fresh_run(site: Site, job_name: str = FEW) -> int:
    """The job is due today, and no order is there."""
    with site.connect() as connection:
        forget_orders(connection)
        tidy(connection)

    async def record(database: Database) -> int:
        async with database.begin() as connection:
            job = await load_job_row(connection, job_name)
            await record_run(connection, NewRun(job, TODAY, NOW, SEND_AT), NOW)
            return int((await connection.execute(select(dispatch_runs.c.id))).scalar_one())

    return site.on_database(record)


def _by_hand(site: Site, run_id: int) -> float:
    given = {
        "run": run_id,
        "day": TODAY,
        "send_at": SEND_AT,
        "now": NOW,
        "job": FEW,
        # More than 390 days ago, by the calendar.
        "before": datetime.combine(TODAY - timedelta(days=390), datetime.min.time(), _ZONE),
    }
    with site.connect() as connection:
        began = time.perf_counter()
        connection.execute(_BY_HAND, given)
        return time.perf_counter() - began


def synchronised(site: Site, run_id: int) -> float:
    """Seconds of one evaluation of the run."""

    async def step(database: Database) -> float:
        await database.check()  # connected
        began = time.perf_counter()
        async with database.begin() as connection:
            await synchronise(connection, run_id, NOW)
        return time.perf_counter() - began

    return site.on_database(step)


def _orders(site: Site) -> set[tuple[int, int]]:
    with site.connect() as connection:
        found = connection.execute("SELECT person_id, application_id FROM write_orders WHERE state = 'planned'")
        return set(found.fetchall())


async def birthdays(database: Database) -> tuple[float, float]:
    """Seconds of counting today's birthdays on the server: as `query count` does, and by reading both tables."""
    async with database.read() as connection:
        query = await load_query(connection, "Geburtstag")
        day = QueryDay(TODAY, _ZONE, "march_1")
        await _counted(connection, counted(query, day))
        index, count = await _counted(connection, counted(query, day))
        # The recipients themselves: what `query count` asks is made for indexes, and takes longer without.
        everybody = select(func.count()).select_from(recipients(query, day, ListScope()).subquery())
        for kind in ("indexscan", "bitmapscan", "indexonlyscan"):
            await connection.execute(text(f"SET LOCAL enable_{kind} = off"))
        await _counted(connection, everybody)
        scan, again = await _counted(connection, everybody)
    if not count or count != again:
        raise RuntimeError(f"{count} birthdays by index, {again} by scan")
    return index, scan


async def _counted(connection: AsyncConnection, statement: Select[Any]) -> tuple[float, int]:
    began = time.perf_counter()
    matched = (await connection.execute(statement)).one()[0]
    return time.perf_counter() - began, int(matched)
