"""What the sweep costs every second while a million letters wait: time and rows of each of its steps."""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from statistics import median
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.applicants import tidy, write_applicants
from bench.figures import Results
from bench.orders import queue_orders
from bench.site import Site
from services.scheduler.sweep import RING_BATCH
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.db.tables import dispatch_runs
from shared.db.write_orders.interventions import RESEND_AFTER
from shared.db.write_orders.upkeep import (
    choose_to_ring,
    release_manual_orders,
    resend_unclear,
    return_expired_claims,
    ring_lost_again,
    withdraw_expired,
)

#: As the scheduler is set up.
_RING_AGAIN = timedelta(minutes=2)
#: Each step is measured so often, and the median counts; one that takes longer than this many seconds is done once.
_TIMES, _LONG = 5, 2.0
Tell = Callable[[str], None]
Step = Callable[[AsyncConnection], Awaitable[Any]]
_READ = """
SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_xact_user_tables
"""
#: Of a million letters that wait: a hundred were lost by a mailer, and a hundred are unclear and due again.
_IN_TROUBLE = """
UPDATE write_orders SET state = 'sending', phase = 'claimed', lease_token = id, lease_until = now() - interval '1 hour'
  WHERE id % 10000 = 1;
UPDATE write_orders SET state = 'unclear', handed_over_at = now() - interval '1 hour', attempts = 1
  WHERE id % 10000 = 2;
UPDATE contact_jobs SET on_unclear = 'resend'
"""


def measure_sweep(results: Results, site: Site, letters: int, tell: Tell) -> None:
    """The steps on a backlog in each of several situations, from the usual one to the worst."""
    tell(f"sweep: writing {letters:,} queued orders")
    # Nine people of ten applications, of whom one in fifty has no address.
    write_applicants(site.database_url, letters * 115 // 100, contacts=False)
    queue_orders(site, letters, anybody=True)
    for situation, change in _situations().items():
        tell(f"sweep: {situation}")
        with site.connect() as connection:
            connection.execute(change)
            tidy(connection)
        for name, (seconds, rows) in site.on_database(_measured).items():
            figures = {"situation": situation, "step": name, "ms": seconds * 1000, "rows": rows}
            results.sweep.append(figures)


def _situations() -> Mapping[str, str]:
    return {
        "all are rung for": "UPDATE write_orders SET rung_at = now(), ring_at = NULL",
        "100 lost, 100 unclear": _IN_TROUBLE,
        "all want a doorbell": "UPDATE write_orders SET ring_at = now() WHERE state = 'queued'",
        "all doorbells were lost": "UPDATE write_orders SET ring_at = NULL, rung_at = now() - interval '1 hour'",
        "all expired while Aus": "UPDATE write_orders SET rung_at = now(), expires_at = now() - interval '1 hour';"
        "UPDATE contact_jobs SET status = 'off'",
    }


async def _measured(database: Database) -> dict[str, tuple[float, int]]:
    """Median seconds, and rows read, of each step; what it does is taken back."""
    now = SystemClock().now()
    async with database.read() as connection:
        run_id = (await connection.execute(select(func.max(dispatch_runs.c.id)))).scalar_one()
    steps: dict[str, Step] = {
        "claims that ran out": lambda c: return_expired_claims(c, now),
        "expired": lambda c: withdraw_expired(c, now),
        "manual orders": lambda c: release_manual_orders(c, now),
        "resends": lambda c: resend_unclear(c, now, RESEND_AFTER),
        "lost doorbells": lambda c: ring_lost_again(c, now, _RING_AGAIN),
        f"{RING_BATCH:,} doorbells at most": lambda c: choose_to_ring(c, now, RING_BATCH),
        "the same of one run, as the evaluator does": lambda c: choose_to_ring(c, now, RING_BATCH, run_id),
    }
    return {name: await _one(database, step) for name, step in steps.items()}


async def _one(database: Database, step: Step) -> tuple[float, int]:
    times, rows = [], 0
    for _ in range(_TIMES):
        async with database.begin() as connection, connection.begin_nested() as rehearsal:
            before = await _rows_read(connection)
            began = time.monotonic()
            await step(connection)
            times.append(time.monotonic() - began)
            rows = await _rows_read(connection) - before
            await rehearsal.rollback()
        if times[-1] > _LONG:
            break
    return median(times), rows


async def _rows_read(connection: AsyncConnection) -> int:
    """What PostgreSQL counted in this transaction, over all tables, by index and without one."""
    return int((await connection.execute(text(_READ))).scalar_one())
