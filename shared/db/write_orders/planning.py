"""The plan of a run as write orders (D12-D14): made, swapped, withdrawn, returned, released - set-based."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    MetaData,
    Select,
    Table,
    and_,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import traces
from shared.db.column_types import Identifier, Instant, PlainText, any_of, unindexed
from shared.db.job_locks import share_jobs
from shared.db.person_changes import note_people
from shared.db.tables import applications, contact_jobs, dispatch_runs, write_orders
from shared.db.write_orders.states import SILENT, Change, record_orders

_O, _A = write_orders.c, applications.c
# Made once: an alias copies every column of its table.
_UNDER_WAY = write_orders.alias("under_way")
_THEIR_LETTER, _THEIR_APPLICATION = write_orders.alias("their_letter"), applications.alias("their_application")
_UNTRIED = and_(_O.state == "withdrawn", _O.attempts == 0)
#: The result of the recipients statement, computed once per synchronisation.
_PLAN = Table(
    "plan_recipients",
    MetaData(),
    Column("person_id", Identifier, primary_key=True),
    Column("application_id", Identifier, nullable=False),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What planning needs to know of a run and its job."""

    run_id: int
    job_id: int
    job_name: str
    lineage_id: int
    letter_id: int
    occasion_day: Any
    time_zone: str
    planned_for: datetime
    expires_at: datetime
    #: `job run`: every withdrawn order that matches returns, not only those that synchronisation withdrew.
    return_all: bool = False
    #: Only these people's place in the plan may have changed since it was made; None: everybody's.
    among: Collection[int] | None = None


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What one synchronisation changed, in orders."""

    recipients: int
    added: int
    withdrawn: int
    swapped: int
    returned: int
    #: False: the job was switched off meanwhile and nothing was changed.
    job_is_on: bool = True


async def synchronise_plan(
    connection: AsyncConnection,
    run: PlannedRun,
    statement: Select[Any],
    now: datetime,
    author: str,
    only_leftovers: bool = False,
) -> PlanChange:
    """Makes the planned orders of a run equal to its recipients (D14). The lineage must be locked.

    `statement`: the recipients, of the people that `run.among` names if it does; the others' orders stay as they are.
    `only_leftovers`: the run is dispatched; what is still planned is looked at again, nobody is added or returned.
    """
    with traces.step("recipients") as resolving:
        count = await _recipients_besides(connection, run)
        if run.among is None or run.among:
            count += await _materialise(connection, statement)
        resolving.note(recipients=count)
    with traces.step("plan"):
        return await _made_equal(connection, run, count, now, author, only_leftovers)


async def _made_equal(
    connection: AsyncConnection, run: PlannedRun, count: int, now: datetime, author: str, only_leftovers: bool
) -> PlanChange:
    # Only now: resolving recipients may take seconds, and a switch to Aus must not wait for it.
    if not await _lock_job_if_on(connection, run.job_id):
        return PlanChange(count, 0, 0, 0, 0, job_is_on=False)
    if run.among is not None and not run.among:
        return PlanChange(count, 0, 0, 0, 0)
    withdrawn = await _withdraw(connection, run, now, author)
    swapped = await _swap(connection, run, now, author)
    if only_leftovers:
        return PlanChange(count, 0, withdrawn, swapped, 0)
    returned = await _return(connection, run, now, author)
    added = await _add(connection, run, now)
    return PlanChange(count, added, withdrawn, swapped, returned)


async def unsettled_people(connection: AsyncConnection, run: Mapping[str, Any], limit: int) -> set[int]:
    """People with an order of the run's lineage and day that is neither planned by it nor withdrawn for not matching.

    Whether these are recipients their orders do not tell. For all others they do: who is one has a planned order.
    More than `limit` are not looked for.
    """
    r = dispatch_runs.c
    same_day = select(r.id).where(r.lineage_id == run["lineage_id"], r.occasion_day == run["occasion_day"])
    # As two ranges of the index on run and state: the planned ones between them are many.
    ended = or_(_O.state < "planned", _O.state > "planned")
    not_matching = and_(_UNTRIED, _O.withdrawn_by.is_not_distinct_from("sync"))
    found = select(_O.person_id, _A.person_id.label("by_now")).join(applications, _A.id == _O.application_id)
    people: set[int] = set()
    for run_id in (await connection.execute(same_day)).scalars().all():
        which = (_O.run_id == run_id, not_(not_matching), *([ended] if run_id == run["id"] else []))
        rows = await connection.execute(found.where(*which).limit(limit))
        people.update(person for row in rows for person in (row.person_id, row.by_now))
    return people


async def _recipients_besides(connection: AsyncConnection, run: PlannedRun) -> int:
    """How many recipients the plan has whose place in it cannot have changed."""
    if run.among is None:
        return 0
    planned = select(func.count()).select_from(write_orders).where(_O.run_id == run.run_id, _O.state == "planned")
    every = (await connection.execute(planned)).scalar_one()
    if not run.among:
        return int(every)
    return int(every) - int((await connection.execute(planned.where(*_among(run)))).scalar_one())


def _among(run: PlannedRun) -> list[ColumnElement[bool]]:
    """The orders of the people that are looked at."""
    if run.among is None:
        return []
    # With the rest of the key by which an order is found.
    own_day = (_O.lineage_id == run.lineage_id, _O.occasion_day == run.occasion_day)
    return [*own_day, any_of(_O.person_id, run.among)]


async def _lock_job_if_on(connection: AsyncConnection, job_id: int) -> bool:
    """Holds the job's row until the commit, so that no switch can come between plan and release (D4)."""
    found = await share_jobs(connection, (contact_jobs.c.status,), [job_id])
    return any(job["status"] == "on" for job in found)


async def _materialise(connection: AsyncConnection, statement: Select[Any]) -> int:
    await connection.execute(text("DROP TABLE IF EXISTS plan_recipients"))
    await connection.run_sync(_PLAN.create)
    ranked = statement.subquery()
    chosen = select(ranked.c.person_id, ranked.c.application_id).where(ranked.c.rank == 1)
    await connection.execute(insert(_PLAN).from_select(["person_id", "application_id"], chosen))
    if connection.dialect.name == "postgresql":
        await connection.execute(text("ANALYZE plan_recipients"))
    return int((await connection.execute(select(func.count()).select_from(_PLAN))).scalar_one())


def _chosen_application() -> Any:
    return select(_PLAN.c.application_id).where(_PLAN.c.person_id == _O.person_id).scalar_subquery()


def _is_recipient() -> ColumnElement[bool]:
    return exists().where(_PLAN.c.person_id == _O.person_id)


async def _withdraw(connection: AsyncConnection, run: PlannedRun, now: datetime, author: str) -> int:
    which = and_(_O.run_id == run.run_id, _O.state == "planned", not_(_is_recipient()), *_among(run))
    reason = "no longer matches"
    which = await record_orders(connection, which, Change(now, author, "withdraw", "withdrawn", reason))
    values = {"state": "withdrawn", "withdrawn_by": "sync", "reason": reason, **SILENT}
    return (await connection.execute(update(write_orders).where(which).values(values))).rowcount


async def _swap(connection: AsyncConnection, run: PlannedRun, now: datetime, author: str) -> int:
    # Another duplicate stands for the person now: the same order goes to it, while no attempt exists.
    chosen = _chosen_application()
    which = and_(
        _O.run_id == run.run_id,
        _O.state == "planned",
        _O.attempts == 0,
        _is_recipient(),
        _O.application_id != chosen,
        *_among(run),
    )
    which = await record_orders(connection, which, Change(now, author, "swap", "planned", "another duplicate"))
    return (await connection.execute(update(write_orders).where(which).values(application_id=chosen))).rowcount


def returns_to(job_id: int) -> ColumnElement[bool]:
    """Withdrawn orders of a lineage and day that this job's plan makes planned again for who matches (D14).

    What synchronisation withdrew, and whatever was another job's (a deleted one's): there is one order per person and
    day. Only while no attempt exists.
    """
    by_itself = or_(_O.job_id.is_distinct_from(job_id), _O.withdrawn_by.is_not_distinct_from("sync"))
    return and_(_UNTRIED, by_itself)


async def _return(connection: AsyncConnection, run: PlannedRun, now: datetime, author: str) -> int:
    which = and_(
        _O.lineage_id == run.lineage_id,
        _O.occasion_day == run.occasion_day,
        _UNTRIED if run.return_all else returns_to(run.job_id),
        _is_recipient(),
        not_(_has_letter_by_now(run, _O.person_id)),
        *_among(run),
    )
    which = await record_orders(connection, which, Change(now, author, "return", "planned", "matches again"))
    values = {
        "state": "planned",
        "reason": None,
        "withdrawn_by": None,
        "application_id": _chosen_application(),
        "run_id": run.run_id,
        "job_id": run.job_id,
        "job_name": run.job_name,
        "letter_id": run.letter_id,
        "time_zone": run.time_zone,
        "planned_for": run.planned_for,
        "expires_at": run.expires_at,
    }
    return (await connection.execute(update(write_orders).where(which).values(values))).rowcount


async def _add(connection: AsyncConnection, run: PlannedRun, now: datetime) -> int:
    there = exists().where(
        _O.lineage_id == run.lineage_id, _O.occasion_day == run.occasion_day, _O.person_id == _PLAN.c.person_id
    )
    columns: dict[str, Any] = {
        "type": literal("contact_job"),
        "run_id": literal(run.run_id, Identifier),
        "job_id": literal(run.job_id, Identifier),
        "job_name": literal(run.job_name, PlainText),
        "lineage_id": literal(run.lineage_id, Identifier),
        "person_id": _PLAN.c.person_id,
        "application_id": _PLAN.c.application_id,
        "letter_id": literal(run.letter_id, Identifier),
        "occasion_day": literal(run.occasion_day, _O.occasion_day.type),
        "state": literal("planned"),
        "time_zone": literal(run.time_zone, PlainText),
        "planned_for": literal(run.planned_for, Instant()),
        "expires_at": literal(run.expires_at, Instant()),
        "created_at": literal(now, Instant()),
    }
    # Concurrent writers are kept out by the lineage's lock; the unique key is the fence behind it.
    free = (not_(there), not_(_has_letter_by_now(run, _PLAN.c.person_id)))
    rows = select(*columns.values()).select_from(_PLAN).where(*free).order_by(_PLAN.c.application_id)
    return (await connection.execute(insert(write_orders).from_select(list(columns), rows))).rowcount


def _has_letter_by_now(run: PlannedRun, person_id: ColumnElement[int]) -> ColumnElement[bool]:
    """An application that has become the person's since has a letter of that day (D24)."""
    letter, theirs = _THEIR_LETTER.c, _THEIR_APPLICATION.c
    return (
        exists()
        .select_from(_THEIR_LETTER.join(_THEIR_APPLICATION, theirs.id == letter.application_id))
        .where(
            # All letters of a job have its lineage; the person has few.
            unindexed(letter.lineage_id) == run.lineage_id,
            letter.occasion_day == run.occasion_day,
            letter.state != "withdrawn",
            theirs.person_id == person_id,
        )
    )


async def count_planned(connection: AsyncConnection, run_id: int) -> tuple[int, int]:
    """How many orders of the run are planned, and how many of these have no usable address (D34)."""
    join = write_orders.join(applications, applications.c.id == _O.application_id)
    without = func.count().filter(applications.c.usable_email.is_(None))
    statement = select(func.count(), without).select_from(join).where(_O.run_id == run_id, _O.state == "planned")
    row = (await connection.execute(statement)).one()
    return int(row[0]), int(row[1])


async def hold_planned(connection: AsyncConnection, run_id: int, reason: str | None) -> None:
    """Shows on the planned orders of a run why they do not go out (D36)."""
    which = and_(_O.run_id == run_id, _O.state == "planned", _O.reason.is_distinct_from(reason))
    await connection.execute(update(write_orders).where(which).values(reason=reason))


async def release(
    connection: AsyncConnection,
    run_id: int,
    lineage_id: int,
    now: datetime,
    planned_for: datetime | None,
    valid: timedelta,
) -> int:
    """planned -> queued for the whole run; who has an order of the lineage under way stays planned (D13).

    With `planned_for` the send moment becomes that instant (`job run`), and the validity counts from it.
    """
    theirs = select(_A.person_id).where(_A.id == _O.application_id).scalar_subquery()
    under_way = _people_under_way(lineage_id)
    free = and_(theirs.not_in(under_way), _O.person_id.not_in(under_way))
    values: dict[str, Any] = {"state": "queued", "queued_at": now, "not_before": now, "ring_at": now, "reason": None}
    if planned_for is not None:
        values |= {"planned_for": planned_for, "expires_at": planned_for + valid}
    statement = update(write_orders).where(_O.run_id == run_id, _O.state == "planned", free)
    released = (await connection.execute(statement.values(values))).rowcount
    people = select(_A.person_id).join_from(applications, write_orders, _O.application_id == _A.id)
    await note_people(connection, people.where(_O.run_id == run_id, _O.state == "queued"), released)
    return released


def _people_under_way(lineage_id: int) -> Select[Any]:
    """Whom a letter of the lineage is on its way to, as they were when it was made and as they are.

    One set that does not depend on the row asked about: the database hashes it once, whatever its statistics say.
    """
    other = _UNDER_WAY.c
    open_orders = (other.lineage_id == lineage_id, other.state.in_(("queued", "sending")))
    at_first = select(other.person_id).where(*open_orders)
    theirs = select(_A.person_id).join_from(applications, _UNDER_WAY, other.application_id == _A.id)
    by_now = theirs.where(*open_orders)
    people = union_all(at_first, by_now).subquery()
    return select(people.c.person_id).where(people.c.person_id.is_not(None))


async def withdraw_planned(
    connection: AsyncConnection, run_id: int, withdrawn_by: str, reason: str, now: datetime, author: str
) -> int:
    """planned -> withdrawn for the whole run (missed, D16)."""
    which = and_(_O.run_id == run_id, _O.state == "planned")
    which = await record_orders(connection, which, Change(now, author, "withdraw", "withdrawn", reason))
    values = {"state": "withdrawn", "withdrawn_by": withdrawn_by, "reason": reason}
    return (await connection.execute(update(write_orders).where(which).values(values))).rowcount
