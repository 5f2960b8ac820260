"""Write orders as people and scripts read them (D30, D31; interfaces, section 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.core_data import is_kept_address
from shared.db.table_parts import BEGINNING, beginning_of
from shared.db.tables import UNSENT, applications, attempts, contact_jobs, dispatch_runs, events, persons, write_orders
from shared.db.write_orders.states import in_state
from shared.domain.text import fold
from shared.errors import NotFound

STATES = ("planned", "queued", "sending", "sent", "no_address", "failed", "unclear", "blocked", "withdrawn")
_O, _A, _P = write_orders.c, applications.c, persons.c
_REASONED = ("no_address", "failed", "unclear", "blocked", "withdrawn", "planned")


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders; None: all. `type` is manual, scheduled_rejection or a job's name (D30)."""

    job: str | None = None
    type: str | None = None
    state: str | None = None
    on: date | None = None
    run_id: int | None = None
    order_id: int | None = None
    person_id: int | None = None
    #: First and last occasion day.
    first: date | None = None
    last: date | None = None
    #: Login name of the application's recruiter.
    recruiter: str | None = None
    limit: int | None = None
    #: Of a job that exists, by its id; of jobs that are deleted, by the name that their orders keep (D35).
    job_id: int | None = None
    deleted_job: str | None = None
    #: Of manual orders: invitation, interim_notice, rejection or contract.
    task: str | None = None
    #: Only what waits for a person: unclear, failed, held for confirmation.
    needs_person: bool = False


async def list_orders(connection: AsyncConnection, which: OrderFilter) -> list[dict[str, Any]]:
    """The orders, by occasion day and id, in the form that scripts rely on."""
    return [as_document(row) for row in (await connection.execute(await order_rows(connection, which))).mappings()]


async def order_rows(connection: AsyncConnection, which: OrderFilter) -> Select[Any]:
    """The statement of the orders' rows, each for `as_document`; raises NotFound for an unknown job."""
    source = write_orders.join(applications, _A.id == _O.application_id).join(persons, _P.id == _A.person_id)
    return (
        select(write_orders, _A.external_id, _A.email.label("application_email"), _P.duplicate_set)
        .select_from(source)
        .where(*await order_conditions(connection, which))
        .order_by(_O.occasion_day, _O.id)
        .limit(which.limit)
    )


def needing_a_person() -> tuple[ColumnElement[bool], ...]:
    """The three kinds of orders that wait for a person, each by an index of its own: join them with `or_`."""
    return listed_state("unclear"), listed_state("failed"), and_(in_state("planned"), _O.run_id.in_(held_runs()))


def listed_state(state: str) -> ColumnElement[bool]:
    """Orders in a state, by the index of its own or that of the unsent ones; SQLite must be told of the latter."""
    return and_(in_state(state), in_state(*UNSENT)) if state in UNSENT else in_state(state)


def held_runs() -> Select[Any]:
    """Ids of the runs that wait for a person's word (D36)."""
    r = dispatch_runs.c
    return select(r.id).where(r.state == "open", r.reason.like("held: %"))


async def order_conditions(connection: AsyncConnection, which: OrderFilter) -> list[ColumnElement[bool]]:
    """What the filter demands of orders joined with their applications; raises NotFound for an unknown job."""
    found: list[ColumnElement[bool]] = []
    if which.type in ("manual", "scheduled_rejection", "contact_job"):
        # In the statement's text, as the states are: so the index of those made by hand serves it.
        found.append(_O.type == literal_column(f"'{which.type}'", _O.type.type))
    elif which.type is not None:
        found.append(await _of_job(connection, which.type))
    if which.job is not None:
        found.append(await _of_job(connection, which.job))
    if which.first is not None:
        found.append(_O.occasion_day >= which.first)
    if which.last is not None:
        found.append(_O.occasion_day <= which.last)
    if which.recruiter is not None:
        recruiter = fold(which.recruiter)
        found.append(beginning_of(_A.recruiter_folded) == recruiter[:BEGINNING])
        if len(recruiter) >= BEGINNING:
            found.append(_A.recruiter_folded == recruiter)
    if which.state is not None:
        found.append(listed_state(which.state) if which.state in STATES else _O.state == which.state)
    if which.needs_person:
        found.append(or_(*needing_a_person()))
    simple: dict[Any, Any] = {
        _A.person_id: which.person_id,
        _O.task: which.task,
        _O.job_id: which.job_id,
        _O.occasion_day: which.on,
        _O.run_id: which.run_id,
        _O.id: which.order_id,
    }
    return found + [column == value for column, value in simple.items() if value is not None]


async def _of_job(connection: AsyncConnection, name: str) -> Any:
    """Orders of a job; of a deleted one by the name that they keep as documentation (D35)."""
    statement = select(contact_jobs.c.id).where(contact_jobs.c.name_folded == fold(name))
    job_id = (await connection.execute(statement)).scalars().first()
    if job_id is not None:
        return or_(_O.job_id == job_id, _O.job_name == name)
    kept = (await connection.execute(select(func.count()).where(_O.job_name == name))).scalar_one()
    if not kept:
        names = (await connection.execute(select(contact_jobs.c.name))).scalars().all()
        raise NotFound("job", name, next(iter(get_close_matches(name, names, 1, cutoff=0.5)), None))
    return _O.job_name == name


def as_document(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One order; times with the offset of its job's time zone."""
    zone = ZoneInfo(row["time_zone"])
    erased = is_kept_address(row["email"])
    return {
        "id": row["id"],
        "type": row["type"],
        "task": row["task"],
        "job": row["job_name"],
        "application": row["external_id"],
        "person": row["duplicate_set"],
        "occasion_day": row["occasion_day"].isoformat(),
        "state": row["state"],
        "planned_for": _local(row["planned_for"], zone),
        "sent_at": _local(row["sent_at"], zone) if row["state"] == "sent" else None,
        "subject": row["subject"] if row["state"] == "sent" else None,
        "email": row["application_email"] if erased else row["email"],
        "reason": row["reason"] if row["state"] in _REASONED else None,
        "attempts": row["attempts"],
    }


def _local(at: datetime | None, zone: ZoneInfo) -> str | None:
    return at.astimezone(zone).isoformat() if at is not None else None


async def show_order(connection: AsyncConnection, order_id: int) -> dict[str, Any]:
    """One order with its attempts (the evidence of D37) and its history."""
    found = await list_orders(connection, OrderFilter(order_id=order_id))
    if not found:
        raise NotFound("order", order_id)
    by_order = attempts.c.order_id == order_id
    tries = (await connection.execute(select(attempts).where(by_order).order_by(attempts.c.attempt_no))).mappings()
    e = events.c
    history = select(e.at, e.author, e.action, e.old, e.new, e.reason).where(e.noun == "order", e.record_id == order_id)
    rows = (await connection.execute(history.order_by(e.id))).mappings()
    plain = [{key: _plain(value) for key, value in row.items() if key != "lease_token"} for row in tries]
    return {**found[0], "attempt_history": plain, "events": [{k: _plain(v) for k, v in row.items()} for row in rows]}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


async def count_by_state(connection: AsyncConnection) -> dict[str, int]:
    """How many orders are in each state; states without any are 0."""
    rows = (await connection.execute(select(_O.state, func.count()).group_by(_O.state))).all()
    return dict.fromkeys(STATES, 0) | {state: int(count) for state, count in rows}


async def count_orders_of_run(connection: AsyncConnection, run_id: int) -> dict[str, int]:
    """How many orders of a run are in each state that any of them is in."""
    statement = select(_O.state, func.count()).where(_O.run_id == run_id).group_by(_O.state)
    return {state: int(count) for state, count in (await connection.execute(statement)).all()}
