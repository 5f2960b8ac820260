"""Why an application gets a letter, or why not (D22): asked of the statements that plans are made with."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Subquery, false, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.queries import QueryDay, StoredQuery, conditions, load_query
from shared.db.recipients import ListScope, recipients
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, persons
from shared.db.why_days import first_match
from shared.db.why_jobs import Asked, explain_jobs
from shared.db.why_values import load_facts, value_of
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
    return await explain_query(connection, await load_query(connection, name), application, on, today)


async def explain_query(
    connection: AsyncConnection, query: StoredQuery, application: str, on: date | None, today: date
) -> dict[str, Any]:
    """The same for a query that is at hand, with the jobs of its id."""
    settings = await load_system_settings(connection)
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
    asked = Asked(query, day, facts, settings, first, hopeless, found["stands_for_person"] == facts["external_id"])
    found["jobs"] = await explain_jobs(connection, asked)
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
    note = await _other_address(connection, ranked, facts) if row.usable_email is None else None
    return {"stands_for_person": row.external_id, "note": note}


async def _other_address(connection: AsyncConnection, ranked: Subquery, facts: Facts) -> str | None:
    """D23: another application of the person has an address; the advice helps only if that one matches too."""
    matching = _A.id.in_(select(ranked.c.application_id))
    statement = (
        select(_A.external_id, matching.label("matches"))
        .where(_A.person_id == facts["person_id"], _A.usable_email.is_not(None))
        .order_by(matching.desc(), _A.external_id)
    )
    row = (await connection.execute(statement.limit(1))).first()
    if row is None:
        return None
    then = "add has_email to the query" if row.matches else "but it does not match the query"
    return f"application {row.external_id} of the same person has an e-mail address: {then}"


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
    free = [job for job in jobs if not job["stopped_by"]]
    if not free:
        several = len(jobs) > 1
        return "; ".join((f"{job['job']}: " if several else "") + job["stopped_by"]["reason"] for job in jobs)
    which = f" of {', '.join(job['job'] for job in free)}" if len(jobs) > 1 else ""
    if any(job["ends_as"] for job in free):
        return f"gets the letter{which}, which ends as no_address: there is no usable e-mail address"
    return f"gets the letter{which}"


def _failed(one: Mapping[str, Any]) -> str:
    wanted = ", ".join(f"{key} {_shown(value)}" for key, value in one["filter"].items() if key != "field")
    value = "unknown" if one["value"] is None else one["value"]
    return f"condition {one['number']}, {one['filter']['field']} {wanted}: {value}"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
