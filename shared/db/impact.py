"""What a change would mean for the next dispatches, before it is saved: who joins, who falls out (D22).

The change is rehearsed in a transaction and rolled back. Only what the dispatches ask is taken along, so the recipients
are counted afterwards, where no job is locked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import CompoundSelect, Select, except_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.job_rows import schedule_of
from shared.db.queries import QueryDay, StoredQuery, load_query_by_id
from shared.db.recipients import JobRules, PlanScope, recipients
from shared.db.system_settings import SystemSettings, load_system_settings
from shared.db.tables import applications, contact_jobs, dispatch_runs, form_letters, write_orders
from shared.db.write_orders.claims import rules_of
from shared.errors import InvalidInput

_A, _J, _O = applications.c, contact_jobs.c, write_orders.c
#: Applications named as examples of who joins and who falls out.
SAMPLES = 5


@dataclass(frozen=True, slots=True)
class NextDispatch:
    """What decides who gets which letter at a job's next dispatch."""

    job: str
    query: StoredQuery
    on: QueryDay
    rules: JobRules
    run_id: int
    letter_id: int
    letter_version: int


@dataclass(frozen=True, slots=True)
class Impact:
    """A job's next dispatch before and after a change, in people; with examples of applications."""

    job: str
    on: date
    before: int
    after: int
    added: int
    removed: int
    added_samples: tuple[str, ...]
    removed_samples: tuple[str, ...]
    #: Planned letters that another text would be sent for; None: the letter stays.
    letters_changed: int | None = None


async def next_dispatches(connection: AsyncConnection, now: datetime) -> dict[int, NextDispatch]:
    """By job id, for the jobs that are An; one whose query is invalid has none."""
    settings = await load_system_settings(connection)
    statement = select(contact_jobs, form_letters.c.version.label("letter_version")).join(
        form_letters, form_letters.c.id == _J.letter_id
    )
    found = {}
    for row in (await connection.execute(statement.where(_J.status == "on").order_by(_J.id))).mappings().all():
        day, run_id = await _next(connection, row, now, settings)
        try:
            query = await load_query_by_id(connection, row["query_id"])
        except InvalidInput:
            continue
        found[row["id"]] = NextDispatch(
            job=row["name"],
            query=query,
            on=QueryDay(day, ZoneInfo(row["time_zone"]), settings.leap_day_birthday),
            # A change of the schedule would take the plans of the days that it drops with it.
            rules=replace(rules_of({str(key): value for key, value in row.items()}, settings), planned_count=False),
            run_id=run_id,
            letter_id=row["letter_id"],
            letter_version=row["letter_version"],
        )
    return found


async def _next(
    connection: AsyncConnection, job: Mapping[Any, Any], now: datetime, settings: SystemSettings
) -> tuple[date, int]:
    """The day of the next dispatch and its run (0: none yet); one that is late but will be caught up comes first."""
    r = dispatch_runs.c
    not_missed = now - timedelta(hours=settings.catch_up_hours)
    waiting = select(r.occasion_day, r.id).where(r.job_id == job["id"], r.state == "open", r.send_at > not_missed)
    row = (await connection.execute(waiting.order_by(r.send_at, r.occasion_day).limit(1))).first()
    return (row.occasion_day, row.id) if row else (schedule_of(job).first_upcoming(now), 0)


async def compare(
    connection: AsyncConnection, before: Mapping[int, NextDispatch], after: Mapping[int, NextDispatch]
) -> list[Impact]:
    """The jobs that a change concerns, by name, with what it means for each."""
    found = []
    for job_id in {*before, *after}:
        old, new = before.get(job_id), after.get(job_id)
        letters = None
        if old is not None and new is not None:
            letters = None if _letter(old) == _letter(new) else await _planned_letters(connection, job_id)
            if _asks(old) == _asks(new):
                if letters is not None:
                    found.append(await _other_letter(connection, new, letters))
                continue
        if one := new or old:
            found.append(await _impact(connection, one, old, new, letters))
    return sorted(found, key=lambda impact: impact.job)


def _asks(one: NextDispatch) -> NextDispatch:
    """What decides who gets a letter: neither names nor the letter itself do."""
    query = replace(one.query, name="", version=0, id=0)
    return replace(one, job="", query=query, letter_id=0, letter_version=0)


def _letter(one: NextDispatch) -> tuple[int, int]:
    return one.letter_id, one.letter_version


async def _impact(
    connection: AsyncConnection,
    one: NextDispatch,
    old: NextDispatch | None,
    new: NextDispatch | None,
    letters_changed: int | None,
) -> Impact:
    joins, leaves = _difference(new, old), _difference(old, new)
    return Impact(
        job=one.job,
        on=one.on.day,
        before=await _count(connection, _people(old)),
        after=await _count(connection, _people(new)),
        added=await _count(connection, joins),
        removed=await _count(connection, leaves),
        added_samples=await _samples(connection, new, joins),
        removed_samples=await _samples(connection, old, leaves),
        letters_changed=letters_changed,
    )


async def _other_letter(connection: AsyncConnection, new: NextDispatch, letters_changed: int) -> Impact:
    # The recipients stay: asked once instead of eight times.
    count = await _count(connection, _people(new))
    return Impact(new.job, new.on.day, count, count, 0, 0, (), (), letters_changed)


async def _planned_letters(connection: AsyncConnection, job_id: int) -> int:
    planned = select(func.count()).select_from(write_orders).where(_O.job_id == job_id, _O.state == "planned")
    return int((await connection.execute(planned)).scalar_one())


def _chosen(one: NextDispatch | None) -> Any:
    if one is None:
        return None
    return recipients(one.query, one.on, PlanScope(one.rules, one.run_id)).subquery()


def _people(one: NextDispatch | None) -> Select[Any] | None:
    chosen = _chosen(one)
    return None if chosen is None else select(chosen.c.person_id).where(chosen.c.rank == 1)


def _difference(these: NextDispatch | None, others: NextDispatch | None) -> Select[Any] | CompoundSelect[Any] | None:
    mine, theirs = _people(these), _people(others)
    return mine if mine is None or theirs is None else except_(mine, theirs)


async def _count(connection: AsyncConnection, people: Select[Any] | CompoundSelect[Any] | None) -> int:
    if people is None:
        return 0
    counted = select(func.count()).select_from(people.subquery())
    return int((await connection.execute(counted)).scalar_one())


async def _samples(
    connection: AsyncConnection, one: NextDispatch | None, people: Select[Any] | CompoundSelect[Any] | None
) -> tuple[str, ...]:
    chosen = _chosen(one)
    if chosen is None or people is None:
        return ()
    some = people.subquery()
    statement = (
        select(_A.external_id)
        .join(chosen, chosen.c.application_id == _A.id)
        .where(chosen.c.rank == 1, chosen.c.person_id.in_(select(some.c.person_id)))
        .order_by(_A.external_id)
        .limit(SAMPLES)
    )
    return tuple((await connection.execute(statement)).scalars())
