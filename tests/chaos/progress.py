"""How long nothing went out although something was due: what the gates of recovery hold against a run (I18)."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, exists, or_, select

from shared.clock import Clock
from shared.db.engine import Database
from shared.db.tables import contact_jobs, dispatch_runs, write_orders
from shared.db.write_orders.interventions import RESEND_AFTER
from shared.errors import KontaktpflegeError

#: Seconds within which a letter goes out after a kill, and after broker or database came back.
AFTER_KILL, AFTER_RETURN = 30.0, 60.0
#: Seconds between two looks at what is due.
LOOK = 0.3

Window = tuple[float, float]


async def watch(database: Database, clock: Clock, idle: list[Window]) -> None:
    """Notes in `idle`, for ever, when nothing was due at two looks in a row; who cannot look takes it for due."""
    before: float | None = None
    while True:
        at = time.monotonic()
        try:
            due = await _anything_due(database, clock.now())
        except KontaktpflegeError:
            due = True
        if not due and before is not None:
            idle.append((before, at))
        before = None if due else at
        await asyncio.sleep(LOOK)


async def _anything_due(database: Database, now: datetime) -> bool:
    order, run, job = write_orders.c, dispatch_runs.c, contact_jobs.c
    long_ago = now - RESEND_AFTER
    # When a lost mailer was noticed stands there, and the wait counts from then too.
    noticed = or_(order.not_before.is_(None), order.not_before < long_ago)
    waits = or_(
        and_(order.state == "planned", order.planned_for <= now),
        and_(order.state == "queued", or_(order.not_before.is_(None), order.not_before <= now)),
        and_(order.state == "unclear", job.on_unclear == "resend", order.handed_over_at < long_ago, noticed),
    )
    on_its_way: Any = select(order.id).join(contact_jobs, job.id == order.job_id)
    looks = (
        select(order.id).where(order.state == "sending").limit(1),
        on_its_way.where(waits, job.status == "on", ~_stopped(order)).limit(1),
        select(run.id).where(
            run.state == "open", run.send_at <= now, exists().where(job.id == run.job_id, job.status == "on")
        ),
    )
    async with database.read() as connection:
        for look in looks:
            if (await connection.execute(look)).first() is not None:
                return True
    return False


def _stopped(order: Any) -> Any:
    return and_(order.reason.is_not(None), order.reason.startswith("resend stopped"))


def until_next(
    moments: Sequence[float], arrivals: Sequence[float], excused: Sequence[Window], end: float
) -> list[float]:
    """Seconds from each moment to the next letter, or to the run's `end`, without the time that is excused.

    Excused is when another fault held up everybody, or nothing was due. A wait that neither has a letter after it nor
    anything due does not count.
    """
    found, windows = [], _merged(excused)
    for moment in moments:
        later = next((at for at in arrivals if at > moment), None)
        until = end if later is None else later
        waited = until - moment - sum(max(0.0, min(b, until) - max(a, moment)) for a, b in windows)
        # One look long: the last letter's settlement, not a stall.
        if later is not None or waited > 2 * LOOK:
            found.append(max(0.0, waited))
    return found


def _merged(windows: Sequence[Window]) -> list[Window]:
    found: list[Window] = []
    for begin, end in sorted(windows):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def stalls(after_kill: Sequence[float], after_return: Sequence[float]) -> list[str]:
    """I18: waits that are longer than the gates allow."""
    kinds = (("a kill", after_kill, AFTER_KILL), ("broker or database came back", after_return, AFTER_RETURN))
    return [
        f"I18: {seconds:.1f} s without a letter after {what}, more than {gate:.0f}"
        for what, waits, gate in kinds
        for seconds in waits
        if seconds > gate
    ]
