"""Which rule of a job keeps its letter from an application, and when its first letter goes out (D22)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import RowMapping, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.queries import QueryDay, StoredQuery
from shared.db.recipients import JobRules, stops
from shared.db.system_settings import SystemSettings
from shared.db.tables import applications, contact_jobs, write_orders
from shared.db.why_days import JobCalendar, first_letter, is_chosen, load_calendar
from shared.db.write_orders.claims import rules_of
from shared.db.write_orders.planning import returns_to
from shared.db.write_orders.wishes import NO_BIRTHDAY, YEARLY

_A = applications.c
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known before the jobs of a query are asked."""

    query: StoredQuery
    #: The day in the system's time zone: a query knows no job.
    on: QueryDay
    facts: Facts
    settings: SystemSettings
    first_match_on: date | None
    #: What refuses the application does so on every day, in every time zone.
    hopeless: bool
    is_chosen: bool


async def explain_jobs(connection: AsyncConnection, asked: Asked) -> list[dict[str, Any]]:
    """Each job that uses the query: the rule that stops its letter of the day, and its first letter."""
    j = contact_jobs.c
    statement = select(contact_jobs).where(j.query_id == asked.query.id).order_by(j.name_folded)
    jobs = (await connection.execute(statement)).mappings().all()
    return [await _job(connection, asked, job) for job in jobs]


async def _job(connection: AsyncConnection, asked: Asked, job: RowMapping) -> dict[str, Any]:
    rules = rules_of({str(key): value for key, value in job.items()}, asked.settings)
    on = replace(asked.on, zone=ZoneInfo(job["time_zone"]))
    calendar = await load_calendar(connection, job, asked.facts, on.day)
    stopped = await _stopped_by(connection, asked.query, job, rules, on, asked.facts, calendar)
    if stopped is None and asked.is_chosen and on != asked.on:
        stopped = await _stopped_by_zone(connection, asked, on)
    start = _start(asked, job)
    first = None
    if start is not None:
        first = await first_letter(connection, asked.query, replace(on, day=start), asked.facts, rules, calendar)
    return {
        "job": job["name"],
        "status": "An" if job["status"] == "on" else "Aus",
        "stopped_by": stopped,
        "ends_as": None if asked.facts["usable_email"] else "no_address",
        "first_letter_on": first.isoformat() if first else None,
    }


def _start(asked: Asked, job: RowMapping) -> date | None:
    """From which day on a letter of the job is looked for; None: there will be none."""
    if job["status"] == "off" or asked.hopeless:
        return None
    # In another time zone a contact falls on another day, so the query's first day says nothing about the job's.
    return asked.first_match_on if job["time_zone"] == asked.settings.time_zone else asked.on.day


async def _stopped_by_zone(connection: AsyncConnection, asked: Asked, on: QueryDay) -> dict[str, str] | None:
    if await is_chosen(connection, asked.query, on, asked.facts):
        return None
    return {"rule": "time_zone", "reason": f"on {on.day} of the job's time zone, {on.zone}, it is not chosen"}


async def _stopped_by(
    connection: AsyncConnection,
    query: StoredQuery,
    job: RowMapping,
    rules: JobRules,
    on: QueryDay,
    facts: Facts,
    calendar: JobCalendar,
) -> dict[str, str] | None:
    """The first rule that keeps the job's letter of the day from the person."""
    if job["status"] == "off":
        return {"rule": "off", "reason": f"job {job['name']!r} is Aus"}
    there = await _order_of_the_day(connection, rules, on, facts)
    if there:
        return there
    for rule, records in stops(query, rules, on, run_id=calendar.run_id(on.day)).items():
        row = (await connection.execute(records.where(_A.id == facts["id"]))).mappings().first()
        if row is not None:
            return {"rule": rule, "reason": _SAID[rule](row, rules)}
    if not calendar.schedule.is_occasion(on.day):
        return {"rule": "schedule", "reason": f"{on.day} is no occasion of job {job['name']!r}"}
    over = calendar.over(on.day)
    return {"rule": "schedule", "reason": over} if over else None


async def _order_of_the_day(
    connection: AsyncConnection, rules: JobRules, on: QueryDay, facts: Facts
) -> dict[str, str] | None:
    """An order of this very day that has ended, or is on its way: there is one per lineage, person and day."""
    o = write_orders.c
    theirs = select(_A.id).where(_A.person_id == facts["person_id"])
    statement = select(o.id, o.state, o.reason).where(
        o.lineage_id == rules.lineage_id,
        o.occasion_day == on.day,
        o.application_id.in_(theirs),
        o.state != "planned",
        not_(returns_to(rules.job_id)),
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    rule = "block" if row.state == "blocked" else "order_exists"
    because = f": {row.reason}" if row.reason else ""
    return {"rule": rule, "reason": f"order {row.id} of this day is {row.state}{because}"}


def say_block(row: RowMapping) -> str:
    """A standing block, as people read it."""
    whose = "for all jobs" if row["scope"] == "all" else "for this job"
    until = f" until {row['until']}" if row["until"] else ""
    return f"blocked {whose}{until} by {row['author']}: {row['reason']}"


def _guard(row: RowMapping, rules: JobRules) -> str:
    return f"repeat guard of {rules.guard_days} days: letter of {row['occasion_day']} is {row['state']}"


def _cap(row: RowMapping, rules: JobRules) -> str:
    return f"cap of one letter in {rules.cap_days} days: {row['job_name']}, {row['occasion_day']}, {row['state']}"


def _yearly(row: RowMapping, _: JobRules) -> str:
    return f"{YEARLY}: {row['job_name']}, {row['occasion_day']}, {row['state']}"


_SAID = {
    "block": lambda row, _: say_block(row),
    "birthday": lambda *_: NO_BIRTHDAY,
    "guard": _guard,
    "cap": _cap,
    "yearly": _yearly,
}
