"""Why an application gets a letter, or why not (D22): asked of the statements that plans are made with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import RowMapping, false, func, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.job_rows import schedule_of
from shared.db.queries import QueryDay, StoredQuery, conditions, load_query
from shared.db.recipients import JobRules, ListScope, recipients, stops
from shared.db.system_settings import SystemSettings, load_system_settings
from shared.db.tables import applications, contact_jobs, dispatch_runs, persons, write_orders
from shared.db.why_days import first_letter, first_match, returns_by_itself
from shared.db.why_values import load_facts, value_of
from shared.db.write_orders.claims import rules_of
from shared.errors import NotFound

_A = applications.c
Facts = Mapping[str, Any]
#: Filters whose answer depends on the day; what another one refuses today, it refuses on every day.
_BY_DAY = ("birthday_in_days", "days_since_last_contact", "dwell_months")


async def explain(
    connection: AsyncConnection, name: str, application: str, on: date | None, today: date
) -> dict[str, Any]:
    """`query why`: conditions, the duplicate that stands for the person, each job's rules, the first day.

    Raises NotFound for an unknown query or application, InvalidInput for a query that has become invalid.
    """
    settings = await load_system_settings(connection)
    query = await load_query(connection, name)
    facts = await load_facts(connection, await _application_id(connection, application))
    day = QueryDay(on or today, settings.zone, settings.leap_day_birthday)
    found = {
        "query": query.name,
        "application": facts["external_id"],
        "person": facts["duplicate_set"],
        "on": day.day.isoformat(),
        "conditions": await _conditions(connection, query, day, facts),
        "never_selected": _never_selected(facts),
    }
    found["matches"] = found["never_selected"] is None and all(one["passes"] for one in found["conditions"])
    found |= await _stands_for(connection, query, day, facts)
    refused = any(not one["passes"] and one["filter"]["field"] not in _BY_DAY for one in found["conditions"])
    hopeless = refused or found["never_selected"] is not None
    first = None if hopeless else await first_match(connection, query, day, facts)
    jobs = await _jobs(connection, query)
    found["jobs"] = [await _job(connection, job, query, day, facts, settings, first) for job in jobs]
    return {**found, "reason": _reason(found), "first_match_on": first.isoformat() if first else None}


async def _application_id(connection: AsyncConnection, external_id: str) -> int:
    found = await connection.execute(select(_A.id).where(_A.external_id == external_id.strip()))
    application_id = found.scalars().first()
    if application_id is None:
        raise NotFound("application", external_id)
    return int(application_id)


async def _conditions(
    connection: AsyncConnection, query: StoredQuery, on: QueryDay, facts: Facts
) -> list[dict[str, Any]]:
    asked = [
        func.coalesce(condition, false()).label(f"c{number}")
        for number, condition in enumerate(conditions(query, on), 1)
    ]
    source = applications.join(persons, persons.c.id == _A.person_id)
    statement = select(_A.id, *asked).select_from(source).where(_A.id == facts["id"])
    row = (await connection.execute(statement)).mappings().one()
    return [
        {
            "number": number,
            "filter": one.as_json(),
            "value": value_of(one, facts, on),
            "passes": bool(row[f"c{number}"]),
        }
        for number, one in enumerate(query.filters, 1)
    ]


def _never_selected(facts: Facts) -> str | None:
    """D25."""
    if facts["reduced_at"] is not None:
        return "reduced to core data"
    return "opted out of contact care" if facts["opted_out_at"] is not None else None


async def _stands_for(
    connection: AsyncConnection, query: StoredQuery, on: QueryDay, facts: Facts
) -> dict[str, str | None]:
    """D23: which of the person's applications gets the letter; addresses play no part in that, so it is said."""
    ranked = recipients(query, on, ListScope()).where(_A.person_id == facts["person_id"]).subquery()
    chosen = select(_A.external_id, _A.usable_email).join(ranked, ranked.c.application_id == _A.id)
    row = (await connection.execute(chosen.where(ranked.c.rank == 1))).first()
    if row is None:
        return {"stands_for_person": None, "note": None}
    with_address = select(_A.external_id).where(_A.person_id == facts["person_id"], _A.usable_email.is_not(None))
    other = (await connection.execute(with_address.order_by(_A.external_id).limit(1))).scalars().first()
    note = None
    if row.usable_email is None and other is not None:
        note = f"application {other} of the same person has an e-mail address: add has_email to the query"
    return {"stands_for_person": row.external_id, "note": note}


async def _jobs(connection: AsyncConnection, query: StoredQuery) -> Sequence[RowMapping]:
    j = contact_jobs.c
    return (
        (await connection.execute(select(contact_jobs).where(j.query_id == query.id).order_by(j.name_folded)))
        .mappings()
        .all()
    )


async def _job(
    connection: AsyncConnection,
    job: RowMapping,
    query: StoredQuery,
    on: QueryDay,
    facts: Facts,
    settings: SystemSettings,
    first_match_on: date | None,
) -> dict[str, Any]:
    rules = rules_of({str(key): value for key, value in job.items()}, settings)
    local = replace(on, zone=ZoneInfo(job["time_zone"]))
    stopped = await _stopped_by(connection, job, rules, local, facts)
    first = None
    if job["status"] == "on" and first_match_on is not None:
        # Hardly earlier than the query alone matches, which was asked in the system's time zone.
        start = replace(local, day=max(on.day, first_match_on - timedelta(days=1)))
        first = await first_letter(connection, query, start, facts, rules, schedule_of(job))
    return {
        "job": job["name"],
        "status": "An" if job["status"] == "on" else "Aus",
        "stopped_by": stopped,
        "ends_as": None if facts["usable_email"] else "no_address",
        "first_letter_on": first.isoformat() if first else None,
    }


async def _stopped_by(
    connection: AsyncConnection, job: RowMapping, rules: JobRules, on: QueryDay, facts: Facts
) -> dict[str, str] | None:
    """The first rule that keeps the job's letter of the day from the person."""
    if job["status"] == "off":
        return {"rule": "off", "reason": f"job {job['name']!r} is Aus"}
    there = await _order_of_the_day(connection, rules, on, facts)
    if there:
        return there
    run = select(dispatch_runs.c.id).where(
        dispatch_runs.c.job_id == rules.job_id, dispatch_runs.c.occasion_day == on.day
    )
    run_id = (await connection.execute(run)).scalars().first() or 0
    for rule, records in stops(rules, on, run_id=run_id).items():
        row = (await connection.execute(records.where(_A.id == facts["id"]))).mappings().first()
        if row is not None:
            return {"rule": rule, "reason": _SAID[rule](row, rules)}
    if not schedule_of(job).is_occasion(on.day):
        return {"rule": "schedule", "reason": f"{on.day} is no occasion of job {job['name']!r}"}
    return None


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
        not_(returns_by_itself()),
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    rule = "block" if row.state == "blocked" else "order_exists"
    because = f": {row.reason}" if row.reason else ""
    return {"rule": rule, "reason": f"order {row.id} of this day is {row.state}{because}"}


def _block(row: RowMapping, _: JobRules) -> str:
    whose = "for all jobs" if row["scope"] == "all" else "for this job"
    until = f" until {row['until']}" if row["until"] else ""
    return f"blocked {whose}{until} by {row['author']}: {row['reason']}"


def _guard(row: RowMapping, rules: JobRules) -> str:
    return f"repeat guard of {rules.guard_days} days: letter of {row['occasion_day']} is {row['state']}"


def _cap(row: RowMapping, rules: JobRules) -> str:
    return f"cap of one letter in {rules.cap_days} days: {row['job_name']}, {row['occasion_day']}, {row['state']}"


_SAID = {"block": _block, "guard": _guard, "cap": _cap}


def _reason(found: Mapping[str, Any]) -> str:
    """The one answer: what comes first decides."""
    if found["never_selected"]:
        return str(found["never_selected"])
    failed = [one for one in found["conditions"] if not one["passes"]]
    if failed:
        return "; ".join(_failed(one) for one in failed)
    if found["stands_for_person"] != found["application"]:
        return f"application {found['stands_for_person']} stands for the person"
    return _reason_of_jobs(found["jobs"])


def _reason_of_jobs(jobs: Sequence[Mapping[str, Any]]) -> str:
    if not jobs:
        return "matches, but no job uses this query"
    if all(job["stopped_by"] for job in jobs):
        return str(jobs[0]["stopped_by"]["reason"])
    if any(job["ends_as"] for job in jobs):
        return "gets the letter, which ends as no_address: there is no usable e-mail address"
    return "gets the letter"


def _failed(one: Mapping[str, Any]) -> str:
    wanted = ", ".join(f"{key} {_shown(value)}" for key, value in one["filter"].items() if key != "field")
    value = "unknown" if one["value"] is None else one["value"]
    return f"condition {one['number']}, {one['filter']['field']} {wanted}: {value}"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
