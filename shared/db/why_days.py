"""On which days a query would choose an application (D22): many days in one statement, on today's data."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, CompoundSelect, Select, bindparam, literal, not_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.job_rows import schedule_of
from shared.db.queries import QueryDay, StoredQuery
from shared.db.recipients import JobRules, ListScope, PlanScope, Scope, recipients
from shared.db.tables import applications, dispatch_runs, write_orders
from shared.db.write_orders.planning import returns_to
from shared.domain.schedule import Schedule

#: How far ahead is looked, in days: a birthday on 29 February and every cycle of a year come into sight.
HORIZON_DAYS = 400
#: Days in one statement: each adds a SELECT of its own to it.
_DAYS_AT_ONCE = 40
_A = applications.c
#: About whom a statement is asked.
_PERSON, _APPLICATION = bindparam("whose", type_=BigInteger), bindparam("which", type_=BigInteger)


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
    calendar: "JobCalendar",
) -> date | None:
    """The first occasion of a job from `on` on which its letter goes to this application, all rules applied."""
    last = on.day + timedelta(days=HORIZON_DAYS)
    days = [
        (day, PlanScope(rules, calendar.run_id(day)))
        for day in _until(calendar.schedule.occasion_days(on.day), last)
        if day not in calendar.ended and calendar.over(day) is None
    ]
    return await _first(connection, query, on, facts, days)


async def is_chosen(connection: AsyncConnection, query: StoredQuery, on: QueryDay, facts: Mapping[str, Any]) -> bool:
    """Whether the query chooses this application for its person on the very day."""
    return await _first(connection, query, on, facts, [(on.day, ListScope())]) is not None


@dataclass(frozen=True, slots=True)
class JobCalendar:
    """The days of a job as a person meets them: its occasions, what was dispatched, and of which there are orders."""

    schedule: Schedule
    #: By occasion day: id, state and reason of the run.
    runs: Mapping[date, Any]
    #: Before this day every occasion has its run, or never had one (D4): the schedule adds none.
    reached: date | None
    #: Days of which the person has an order that is planned or on its way, and one that has ended.
    waiting: Set[date]
    ended: Set[date]

    def run_id(self, day: date) -> int:
        """The run of a day, 0 if there is none: an order of another run is another one (D13)."""
        return int(self.runs[day].id) if day in self.runs else 0

    def over(self, day: date) -> str | None:
        """Why nobody is added any more to the dispatch of a day; None if one can be, or an order still waits there."""
        run = self.runs.get(day)
        if day in self.waiting or (run is not None and run.state == "open"):
            return None
        if run is not None:
            return f"the dispatch of {day} is over: {run.state}" + (f", {run.reason}" if run.reason else "")
        return f"the schedule has passed {day}" if self.reached is not None and day < self.reached else None


async def load_calendar(
    connection: AsyncConnection, job: Mapping[Any, Any], facts: Mapping[str, Any], first: date
) -> JobCalendar:
    """The calendar of a job from `first` on, as the person of an application meets it."""
    r = dispatch_runs.c
    statement = select(r.occasion_day, r.id, r.state, r.reason).where(r.job_id == job["id"], r.occasion_day >= first)
    runs = {row.occasion_day: row for row in await connection.execute(statement)}
    waiting, ended = await _order_days(connection, job, facts)
    return JobCalendar(schedule_of(job), runs, job["next_occasion_day"], waiting, ended)


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
    whose = {_PERSON.key: facts["person_id"], _APPLICATION.key: facts["id"]}
    for start in range(0, len(days), _DAYS_AT_ONCE):
        asked = tuple(days[start : start + _DAYS_AT_ONCE])
        found: set[int] = set((await connection.execute(_chosen_on(query, on, asked), whose)).scalars())
        if found:
            return asked[min(found)][0]
    return None


@lru_cache(maxsize=16)
def _chosen_on(query: StoredQuery, on: QueryDay, days: tuple[tuple[date, Scope], ...]) -> CompoundSelect[Any]:
    """Numbers of the days on which somebody is chosen. Made once for everybody: that takes longer than asking it."""
    return union_all(*(_chosen(number, query, replace(on, day=day), scope) for number, (day, scope) in enumerate(days)))


def _chosen(number: int, query: StoredQuery, on: QueryDay, scope: Scope) -> Select[Any]:
    # Ranked among the applications of this person only: nobody else's count for it.
    ranked = recipients(query, on, scope).where(_A.person_id == _PERSON).subquery()
    return select(literal(number)).where(ranked.c.rank == 1, ranked.c.application_id == _APPLICATION)


async def _order_days(
    connection: AsyncConnection, job: Mapping[Any, Any], facts: Mapping[str, Any]
) -> tuple[set[date], set[date]]:
    """The days of which the person has an order that is planned or on its way, and one that has ended."""
    o = write_orders.c
    theirs = select(_A.id).where(_A.person_id == facts["person_id"])
    statement = select(o.occasion_day, o.state).where(
        o.lineage_id == job["lineage_id"], o.application_id.in_(theirs), not_(returns_to(job["id"]))
    )
    waiting: set[date] = set()
    ended: set[date] = set()
    for row in await connection.execute(statement):
        (waiting if row.state in ("planned", "queued", "sending") else ended).add(row.occasion_day)
    return waiting, ended
