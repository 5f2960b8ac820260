"""What a switch or another schedule means for a job's runs and planned orders (D4, D10, D14)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.job_rows import schedule_of
from shared.db.system_settings import load_system_settings
from shared.db.tables import contact_jobs, dispatch_runs
from shared.db.write_orders import move_planned_orders, withdraw_open_orders_of_run, withdraw_passed_while_off

_J, _R = contact_jobs.c, dispatch_runs.c


async def switch(connection: AsyncConnection, job: Mapping[str, Any], *, author: str, now: datetime) -> list[str]:
    """Aus: only the job's row, so that it is instant. An: what passed meanwhile is withdrawn; the rest goes on."""
    if job["status"] == "off":
        await connection.execute(update(contact_jobs).where(_J.id == job["id"]).values(off_since=now))
        return ["Aus: nothing more of this job is sent; its orders stay visible as planned"]
    settings = await load_system_settings(connection)
    cutoff = now - timedelta(hours=settings.catch_up_hours)
    withdrawn = await withdraw_passed_while_off(
        connection, job["id"], cutoff=cutoff, off_since=job["off_since"], now=now, author=author
    )
    upcoming = schedule_of(job).first_upcoming(now)
    values = {"on_since": now, "next_occasion_day": upcoming}
    await connection.execute(update(contact_jobs).where(_J.id == job["id"]).values(**values))
    passed = [f"{withdrawn} orders whose send moment passed while Aus were withdrawn"] if withdrawn else []
    schedule = schedule_of(job)
    moment = schedule.send_moment(upcoming).astimezone(schedule.time_zone)
    return [*passed, f"An: next dispatch {moment:%Y-%m-%d %H:%M} ({job['time_zone']})"]


async def reschedule(connection: AsyncConnection, job: Mapping[str, Any], *, author: str, now: datetime) -> None:
    """Another time, zone, rhythm or lead: moves the planned orders; a day dispatched already stays dispatched (D10)."""
    schedule = schedule_of(job)
    open_runs = select(dispatch_runs).where(_R.job_id == job["id"], _R.state == "open")
    for run in (await connection.execute(open_runs)).mappings().all():
        day = run["occasion_day"]
        if not schedule.is_occasion(day):
            await withdraw_open_orders_of_run(
                connection, run["id"], withdrawn_by="schedule", reason="schedule changed", now=now, author=author
            )
            gone = {"state": "skipped", "reason": "schedule changed", "due_at": None}
            await connection.execute(update(dispatch_runs).where(_R.id == run["id"]).values(**gone))
            continue
        send_at = schedule.send_moment(day)
        moved = {"send_at": send_at, "plan_from": schedule.plan_from(day)}
        await connection.execute(update(dispatch_runs).where(_R.id == run["id"]).values(**moved))
        await move_planned_orders(connection, run["id"], send_at, send_at + timedelta(days=job["valid_days"]))
    # Days that have a run keep it: the unique key sees to that.
    upcoming = schedule.first_upcoming(now) if job["status"] == "on" else None
    await connection.execute(update(contact_jobs).where(_J.id == job["id"]).values(next_occasion_day=upcoming))


async def next_dispatch(connection: AsyncConnection, job: Mapping[Any, Any], now: datetime) -> datetime | None:
    """When the job sends next; None while it is Aus."""
    if job["status"] == "off":
        return None
    due = select(func.min(_R.send_at)).where(_R.job_id == job["id"], _R.state == "open", _R.send_at > now)
    recorded = (await connection.execute(due)).scalar_one_or_none()
    schedule = schedule_of(job)
    return recorded or schedule.send_moment(schedule.first_upcoming(now))
