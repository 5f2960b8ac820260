"""On which days a query would choose an application (D22): many days in one statement, on today's data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, literal, not_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.queries import QueryDay, StoredQuery
from shared.db.recipients import JobRules, ListScope, PlanScope, Scope, recipients
from shared.db.tables import applications, dispatch_runs, write_orders
from shared.domain.schedule import Schedule

#: How far ahead is looked, in days: a birthday on 29 February and every cycle of a year come into sight.
HORIZON_DAYS = 400
#: Days in one statement: each adds a SELECT of its own to it.
_DAYS_AT_ONCE = 40
_A = applications.c
Days = set[date]


async def first_match(
    connection: AsyncConnection, query: StoredQuery, on: QueryDay, facts: Mapping[str, Any]
) -> date | None:
    """The first day from `on` on which the query chooses this application for its person."""
    days = [(on.day + timedelta(days=n), ListScope()) for n in range(HORIZON_DAYS + 1)]
    return await _first(connection, query, on, facts, days)


async def first_letter(
    connection: AsyncConnection,
    query: StoredQuery,
    on: QueryDay,
    facts: Mapping[str, Any],
    rules: JobRules,
    schedule: Schedule,
) -> date | None:
    """The first occasion of a job from `on` on which its letter goes to this application, all rules applied."""
    last = on.day + timedelta(days=HORIZON_DAYS)
    runs = await _runs(connection, rules.job_id, on.day)
    waiting, ended = await _order_days(connection, rules.lineage_id, facts)
    # A day that was dispatched adds nobody any more, and there is one order per lineage, person and day.
    closed = {day for day, (_, state) in runs.items() if state != "open"} - waiting | ended
    days = [
        (day, PlanScope(rules, runs[day][0] if day in runs else 0))
        for day in _until(schedule.occasion_days(on.day), last)
        if day not in closed
    ]
    return await _first(connection, query, on, facts, days)


def _until(days: Iterator[date], last: date) -> Iterator[date]:
    for day in days:
        if day > last:
            return
        yield day


async def _first(
    connection: AsyncConnection,
    query: StoredQuery,
    on: QueryDay,
    facts: Mapping[str, Any],
    days: Sequence[tuple[date, Scope]],
) -> date | None:
    for start in range(0, len(days), _DAYS_AT_ONCE):
        asked = days[start : start + _DAYS_AT_ONCE]
        numbered = [
            _chosen(number, query, replace(on, day=day), scope, facts) for number, (day, scope) in enumerate(asked)
        ]
        found: set[int] = set((await connection.execute(union_all(*numbered))).scalars())
        if found:
            return asked[min(found)][0]
    return None


def _chosen(number: int, query: StoredQuery, on: QueryDay, scope: Scope, facts: Mapping[str, Any]) -> Select[Any]:
    # Ranked among the applications of this person only: nobody else's count for it.
    ranked = recipients(query, on, scope).where(_A.person_id == facts["person_id"]).subquery()
    return select(literal(number)).where(ranked.c.rank == 1, ranked.c.application_id == facts["id"])


async def _runs(connection: AsyncConnection, job_id: int, first: date) -> dict[date, tuple[int, str]]:
    r = dispatch_runs.c
    statement = select(r.occasion_day, r.id, r.state).where(r.job_id == job_id, r.occasion_day >= first)
    return {row.occasion_day: (row.id, row.state) for row in await connection.execute(statement)}


async def _order_days(connection: AsyncConnection, lineage_id: int, facts: Mapping[str, Any]) -> tuple[Days, Days]:
    """The days of which the person has an order that is planned or on its way, and one that has ended."""
    o = write_orders.c
    theirs = select(_A.id).where(_A.person_id == facts["person_id"])
    statement = select(o.occasion_day, o.state).where(
        o.lineage_id == lineage_id, o.application_id.in_(theirs), not_(returns_by_itself())
    )
    waiting: Days = set()
    ended: Days = set()
    for row in await connection.execute(statement):
        (waiting if row.state in ("planned", "queued", "sending") else ended).add(row.occasion_day)
    return waiting, ended


def returns_by_itself() -> ColumnElement[bool]:
    """What synchronisation withdrew comes back when it matches again (D14)."""
    return and_(write_orders.c.state == "withdrawn", write_orders.c.withdrawn_by == "sync")
