"""What a switch or another schedule means for a job's runs and planned orders (D4, D10, D14)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.consent_jobs import count_overdue
from shared.db.job_rows import schedule_of
from shared.db.runs import NewRun, record_run
from shared.db.system_settings import load_system_settings
from shared.db.tables import contact_jobs, dispatch_runs
from shared.db.write_orders import (
    OTHER_SCHEDULE,
    move_planned_orders,
    withdraw_open_orders_of_run,
    withdraw_passed_while_off,
)
from shared.domain.schedule import Schedule

_J, _R = contact_jobs.c, dispatch_runs.c
#: The working-day rule moves a send day by less than this.
_LONGEST_SHIFT = timedelta(days=14)


async def switch_on(connection: AsyncConnection, job: Mapping[str, Any], *, author: str, now: datetime) -> list[str]:
    """An: what passed meanwhile is withdrawn and recorded as skipped, the rest goes on; says what it did (D4)."""
    settings = await load_system_settings(connection)
    cutoff = now - timedelta(hours=settings.catch_up_hours)
    withdrawn = await withdraw_passed_while_off(
        connection, job["id"], cutoff=cutoff, off_since=job["off_since"], now=now, author=author
    )
    schedule = schedule_of(job)
    await _record_passed_days(connection, job, schedule, now)
    upcoming = schedule.first_upcoming(now)
    values = {"on_since": now, "next_occasion_day": upcoming}
    await connection.execute(update(contact_jobs).where(_J.id == job["id"]).values(**values))
    passed = [f"{withdrawn} orders whose send moment passed while Aus were withdrawn"] if withdrawn else []
    if job["consent_answer_days"] and (overdue := await count_overdue(connection, job["id"], now)):
        passed.append(f"{overdue} people who have not answered in time are rejected in the coming night")
    moment = schedule.send_moment(upcoming).astimezone(schedule.time_zone)
    return [*passed, f"An: next dispatch {moment:%Y-%m-%d %H:%M} ({job['time_zone']})"]


async def _record_passed_days(
    connection: AsyncConnection, job: Mapping[str, Any], schedule: Schedule, now: datetime
) -> None:
    """Days of which no plan was made because the job was Aus: never caught up, but told in `job runs`."""
    off_since: datetime | None = job["off_since"]
    if job["on_since"] is None or off_since is None:
        return
    recorded = select(_R.occasion_day).where(_R.job_id == job["id"])
    known = set((await connection.execute(recorded)).scalars())
    last = now.astimezone(schedule.time_zone).date() + _LONGEST_SHIFT
    for day in schedule.occasion_days(off_since.astimezone(schedule.time_zone).date() - _LONGEST_SHIFT):
        if day > last:
            break
        if day not in known and off_since < (send_at := schedule.send_moment(day)) <= now:
            await record_run(connection, NewRun(job, day, schedule.plan_from(day), send_at), now)
            known.add(day)
            passed = (_R.job_id == job["id"]) & (_R.occasion_day == day)
            values = {"state": "skipped", "reason": "passed while the job was off", "due_at": None}
            await connection.execute(update(dispatch_runs).where(passed).values(**values))


async def reschedule(connection: AsyncConnection, job: Mapping[str, Any], *, author: str, now: datetime) -> None:
    """Another time, zone, rhythm or lead: moves the planned orders; a day dispatched already stays dispatched (D10)."""
    schedule = schedule_of(job)
    gone = (_R.state == "skipped") & (_R.reason == OTHER_SCHEDULE)
    runs = select(dispatch_runs).where(_R.job_id == job["id"], (_R.state == "open") | gone)
    for run in (await connection.execute(runs)).mappings().all():
        if not schedule.is_occasion(run["occasion_day"]):
            await _drop_run(connection, run["id"], author=author, now=now)
        elif run["state"] == "open" or schedule.send_moment(run["occasion_day"]) > now:
            await _move_run(connection, job, schedule, run)
    # Days that have a run keep it: the unique key sees to that.
    upcoming = schedule.first_upcoming(now) if job["status"] == "on" else None
    await connection.execute(update(contact_jobs).where(_J.id == job["id"]).values(next_occasion_day=upcoming))


async def _drop_run(connection: AsyncConnection, run_id: int, *, author: str, now: datetime) -> None:
    await withdraw_open_orders_of_run(connection, run_id, now=now, author=author)
    gone = {"state": "skipped", "reason": OTHER_SCHEDULE, "due_at": None}
    await connection.execute(update(dispatch_runs).where(_R.id == run_id).values(**gone))


async def _move_run(
    connection: AsyncConnection, job: Mapping[str, Any], schedule: Schedule, run: Mapping[Any, Any]
) -> None:
    day = run["occasion_day"]
    send_at = schedule.send_moment(day)
    moved = {"send_at": send_at, "plan_from": schedule.plan_from(day), "state": "open"}
    moved |= {"reason": None} if run["state"] == "skipped" else {}
    await connection.execute(update(dispatch_runs).where(_R.id == run["id"]).values(**moved))
    await move_planned_orders(connection, run["id"], send_at, send_at + timedelta(days=job["valid_days"]))


async def next_dispatch(connection: AsyncConnection, job: Mapping[Any, Any], now: datetime) -> datetime | None:
    """When the job sends next; None while it is Aus."""
    if job["status"] == "off":
        return None
    due = select(func.min(_R.send_at)).where(_R.job_id == job["id"], _R.state == "open", _R.send_at > now)
    recorded = (await connection.execute(due)).scalar_one_or_none()
    schedule = schedule_of(job)
    return recorded or schedule.send_moment(schedule.first_upcoming(now))
