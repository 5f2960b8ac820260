"""Answers of a query on its own (D22): who matches on a day, duplicates collapsed."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.queries import QueryDay, StoredQuery, load_query
from shared.db.recipients import ListScope, counted, recipients
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, persons


async def answer_query(connection: AsyncConnection, name: str, on: date | None, today: date) -> dict[str, Any]:
    """`query list`: the document of interfaces, section 5. A query knows no job: the system's time zone."""
    settings = await load_system_settings(connection)
    query = await load_query(connection, name)
    day = QueryDay(on or today, settings.zone, settings.leap_day_birthday)
    return await answer(connection, query, day)


async def answer(connection: AsyncConnection, query: StoredQuery, on: QueryDay) -> dict[str, Any]:
    """The same for a query that is at hand."""
    ranked = recipients(query, on, ListScope()).subquery()
    a = applications.c
    statement = (
        select(a.external_id, a.email, persons.c.duplicate_set, ranked.c.person_id, ranked.c.rank)
        .add_columns(ranked.c.last_contact_at)
        .join(applications, a.id == ranked.c.application_id)
        .join(persons, persons.c.id == ranked.c.person_id)
        .order_by(a.external_id)
    )
    rows = (await connection.execute(statement)).all()
    collapsed: dict[int, list[str]] = {}
    for row in rows:
        if row.rank != 1:
            collapsed.setdefault(row.person_id, []).append(row.external_id)
    chosen = [
        {
            "application": row.external_id,
            "person": row.duplicate_set,
            "email": row.email,
            "last_contact_on": _local_date(row.last_contact_at, on.zone),
            "duplicates_collapsed": sorted(collapsed.get(row.person_id, [])),
        }
        for row in rows
        if row.rank == 1
    ]
    return {"on": on.day.isoformat(), "matched": len(rows), "recipients": chosen}


async def count_query(connection: AsyncConnection, name: str, on: date | None, today: date) -> dict[str, Any]:
    """`query count`: how many applications match, and how many letters that makes."""
    settings = await load_system_settings(connection)
    query = await load_query(connection, name)
    day = QueryDay(on or today, settings.zone, settings.leap_day_birthday)
    found = (await connection.execute(counted(query, day))).one()
    return {"on": day.day.isoformat(), "matched": found.matched, "recipients": found.recipients}


def _local_date(at: Any, zone: ZoneInfo) -> str | None:
    return at.astimezone(zone).date().isoformat() if at is not None else None
