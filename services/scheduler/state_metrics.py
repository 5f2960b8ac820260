"""What the rows say, told to Prometheus: what waits, what needs a person, who is alive (shared/metrics.py)."""

from datetime import date, datetime, time, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import Clock, local_date
from shared.db.approvals import list_waiting
from shared.db.audit_tables import unsealed_events
from shared.db.engine import Database
from shared.db.history_seals import load_head
from shared.db.holds import load_hold
from shared.db.order_list import listed_state
from shared.db.service_instances import live_services
from shared.db.system_settings import load_system_settings
from shared.db.system_state import count_for_persons, count_some, count_waiting, oldest_waiting, sent_lately
from shared.db.tables import blocks, contact_jobs, dispatch_runs
from shared.domain.schedule import local_instant
from shared.lifecycle import HEARTBEAT_SECONDS
from shared.metrics import (
    APPROVALS,
    BLOCKED,
    HELD,
    JOBS,
    LAG,
    OLDEST_AGE,
    ORDERS,
    SEALED,
    SENT_TODAY,
    SERVICES,
    UNSEALED,
)

#: Seconds between two looks: a scrape gets what was seen last, however many ask.
LOOK_SECONDS = 15.0
ROLES = ("scheduler", "evaluator", "mailer", "console", "public", "mailbox")


async def tell_state(database: Database, clock: Clock) -> None:
    """One look; counts stop at their bound (10,000 a state), as those of the console do."""
    now = clock.now()
    async with database.read() as connection:
        settings = await load_system_settings(connection)
        today = local_date(clock, settings.zone)
        midnight = local_instant(today, time(0), settings.zone)
        next_midnight = local_instant(today + timedelta(days=1), time(0), settings.zone)
        waiting = await count_waiting(connection, now, next_midnight)
        needed = await count_for_persons(connection)
        for state in ("planned", "due", "queued", "retrying", "sending"):
            ORDERS.labels(state).set(waiting[state].number)
        for state in ("unclear", "failed", "held"):
            ORDERS.labels(state).set(needed[state].number)
        ORDERS.labels("blocked").set((await count_some(connection, listed_state("blocked"))).number)
        oldest = await oldest_waiting(connection, now)
        age = (now - oldest["queued_at"]).total_seconds() if oldest and oldest["queued_at"] else 0
        OLDEST_AGE.labels("queued").set(age)
        SENT_TODAY.set((await sent_lately(connection, midnight, now)).since.number)
        HELD.set(await load_hold(connection) is not None)
        alive = await live_services(connection, 3 * HEARTBEAT_SECONDS)
        for role in ROLES:
            SERVICES.labels(role).set(alive.get(role, 0))
        await _tell_jobs(connection)
        LAG.set(await _lag(connection, now))
        SEALED.set((await load_head(connection)).number)
        UNSEALED.set((await connection.execute(select(func.count()).select_from(unsealed_events))).scalar_one())
        APPROVALS.set(len(await list_waiting(connection)))
        BLOCKED.set(await _blocks_in_force(connection, today))


async def _tell_jobs(connection: AsyncConnection) -> None:
    by_status = select(contact_jobs.c.status, func.count()).group_by(contact_jobs.c.status)
    found = {row[0]: row[1] for row in await connection.execute(by_status)}
    for status in ("on", "off"):
        JOBS.labels(status).set(found.get(status, 0))


async def _lag(connection: AsyncConnection, now: datetime) -> float:
    """Seconds since the send moment of the dispatch that should have been released first; held ones wait for people."""
    r = dispatch_runs.c
    free = or_(r.reason.is_(None), ~r.reason.startswith("held: "))
    due = select(func.min(r.send_at)).join_from(dispatch_runs, contact_jobs, contact_jobs.c.id == r.job_id)
    due = due.where(r.state == "open", r.send_at <= now, contact_jobs.c.status == "on", free)
    first: datetime | None = (await connection.execute(due)).scalar_one_or_none()
    return (now - first).total_seconds() if first else 0.0


async def _blocks_in_force(connection: AsyncConnection, today: date) -> int:
    b = blocks.c
    statement = select(func.count()).select_from(blocks)
    in_force = statement.where(b.lifted_at.is_(None), or_(b.until.is_(None), b.until >= today))
    return int((await connection.execute(in_force)).scalar_one())
