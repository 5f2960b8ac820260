"""What is due: records the runs of every job and rings for those to be synchronised (D10-D12, D15, D16)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import time_ns
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import traces
from shared.bus.interface import Bus
from shared.bus.messages import JobDue
from shared.clock import Clock
from shared.db.engine import Database
from shared.db.job_rows import schedule_of
from shared.db.runs import NewRun, record_run, ring_failed, runs_to_ring, wake_runs_with_leftovers
from shared.db.tables import contact_jobs, lineages
from shared.metrics import TICK

#: A synchronisation that nobody answered is rung for again after this.
UNANSWERED = timedelta(seconds=30)
#: Occasions that one tick records per job at most; a longer absence is caught up tick by tick.
MOST_PER_TICK = 100


async def tick(database: Database, bus: Bus, clock: Clock, log: Any) -> None:
    """One pass: record what has come into sight, choose what wants synchronising, commit, ring."""
    began, now = time_ns(), clock.now()
    async with database.begin() as connection:
        await _record_runs(connection, now)
    recorded = time_ns()
    TICK.set_to_current_time()
    # Apart: jobs' rows are not to be held while runs' rows are waited for.
    async with database.begin() as connection:
        await wake_runs_with_leftovers(connection, now)
        run_ids = await runs_to_ring(connection, now, UNANSWERED) if bus.ready else []
    if not run_ids:
        return
    with _traced(run_ids, began, recorded) as traceparents:
        taken = await bus.publish([JobDue(run_id) for run_id in run_ids], traceparents)
    log.info("job_due", action="job_due", runs=run_ids)
    lost = [run_id for run_id, ok in zip(run_ids, taken, strict=True) if not ok]
    if lost:
        async with database.begin() as connection:
            await ring_failed(connection, lost)


@contextmanager
def _traced(run_ids: Sequence[int], began: int, recorded: int) -> Iterator[Sequence[str]]:
    """A trace for each dispatch that is rung for: this tick from its beginning on, and the doorbell."""
    ticks = [traces.begin("tick", start=began, run=run_id) for run_id in run_ids] if traces.on() else []
    for tick_of_run in ticks:
        tick_of_run.begin("record runs", start=began).end(recorded)
    bells = [tick_of_run.begin("job due", kind="producer") for tick_of_run in ticks]
    try:
        yield [bell.traceparent for bell in bells]
    finally:
        for ended in (*bells, *ticks):
            ended.end()


async def _record_runs(connection: AsyncConnection, now: datetime) -> None:
    # A plan exists for 60 days ahead at most (D1), shifted by the working-day rule.
    horizon = (now + timedelta(days=75)).date()
    j = contact_jobs.c
    statement = select(contact_jobs).where(
        j.status == "on", or_(j.next_occasion_day.is_(None), j.next_occasion_day <= horizon)
    )
    # With their lineages, as everyone who records runs, and never waiting: the job of a plan under way has time until
    # the next tick.
    locked = statement.join(lineages, lineages.c.id == j.lineage_id).with_for_update(
        key_share=True, skip_locked=True, of=[contact_jobs, lineages]
    )
    jobs = (await connection.execute(locked)).mappings().all()
    for job in jobs:
        await _record_runs_of(connection, job, now)


async def _record_runs_of(connection: AsyncConnection, job: Mapping[Any, Any], now: datetime) -> None:
    schedule = schedule_of(job)
    reached = job["next_occasion_day"] or schedule.first_upcoming(now)
    for number, day in enumerate(schedule.occasion_days(reached)):
        if number == MOST_PER_TICK or (plan_from := schedule.plan_from(day)) > now:
            break
        await record_run(connection, NewRun(job, day, plan_from, schedule.send_moment(day)), now)
    if day != job["next_occasion_day"]:
        await connection.execute(
            update(contact_jobs).where(contact_jobs.c.id == job["id"]).values(next_occasion_day=day)
        )
