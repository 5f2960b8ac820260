"""A job's write orders, dispatches and history for the job file (D3, D16, D31)."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.application_list import Found
from shared.db.column_types import any_of
from shared.db.order_list import listed_state
from shared.db.tables import applications, blocks, dispatch_runs, events, write_orders

_O, _A, _R, _B = write_orders.c, applications.c, dispatch_runs.c, blocks.c
#: Not sent yet, nor given up.
OPEN = ("planned", "queued", "sending")
ENDED = ("sent", "unclear", "failed", "no_address", "withdrawn")
#: How far back the ended ones of many people are looked at.
SEARCHED_DAYS = 31
#: So many people's letters are looked up one by one.
LOOKED_UP = 2000


def job_orders(job_id: int, *, ended: bool, today: date, who: Found | None = None, state: str = "") -> Select[Any]:
    """Ids and occasion days of a job's orders, to be ordered by day and id.

    Blocked ones stay among the open ones until their day has passed. `who`: of these applications only; where they
    are many, among the ended ones of the last days.
    """
    # Through the runs: their index and that of the orders by run give the rows in the wanted order.
    statement = select(_O.id, _R.occasion_day).join_from(dispatch_runs, write_orders, _O.run_id == _R.id)
    statement = statement.where(_R.job_id == job_id, _part(ended, today))
    if state:
        statement = statement.where(listed_state(state))
    if who is None:
        return statement
    if ended and are_many(who):
        statement = statement.where(_R.occasion_day > today - timedelta(days=SEARCHED_DAYS))
    if who.ids is not None:
        # Of many, run by run: no index of the sum, and so no look at every order there is, tempts a planner.
        key = _O.application_id + 0 if are_many(who) else _O.application_id
        return statement.where(any_of(key, who.ids))
    return statement.join(applications, _A.id == _O.application_id).where(who.condition)


def are_many(who: Found) -> bool:
    """Whether these are too many people to look up the letters of each."""
    return who.ids is None or len(who.ids) > LOOKED_UP


def _part(ended: bool, today: date) -> ColumnElement[bool]:
    # The states first and by themselves: so the index of the orders by run and state finds them.
    states = (*ENDED, "blocked") if ended else (*OPEN, "blocked")
    its_side = _R.occasion_day < today if ended else _R.occasion_day >= today
    return and_(_O.state.in_(states), or_(_O.state != "blocked", its_side))


async def job_order_rows(connection: AsyncConnection, order_ids: Sequence[int]) -> list[Mapping[Any, Any]]:
    """The orders with these ids as the job file shows them, in this order.

    By themselves: to be ordered, thousands would be joined with their applications for the fifty of a page.
    """
    statement = (
        select(
            *(_O.id, _R.occasion_day, _O.state, _O.reason, _O.planned_for, _O.sent_at, _O.subject, _O.application_id),
            *(_O.email.label("sent_to"), _O.attempts),
            *(_A.external_id, _A.first_name, _A.last_name, _A.email),
            *(_B.reason.label("block_reason"), _B.author.label("block_author"), _B.created_at.label("block_at")),
            *(_B.scope.label("block_scope"), _B.until.label("block_until")),
        )
        .join_from(write_orders, dispatch_runs, _R.id == _O.run_id)
        .join(applications, _A.id == _O.application_id)
        .outerjoin(blocks, _B.id == _O.block_id)
        .where(any_of(_O.id, list(order_ids)))
    )
    found = {row["id"]: row for row in (await connection.execute(statement)).mappings()}
    return [found[one] for one in order_ids if one in found]


async def runs_with_counts(connection: AsyncConnection, job_id: int, most: int) -> list[dict[str, Any]]:
    """The newest dispatches of a job, each with its orders by state; two statements."""
    statement = select(dispatch_runs).where(_R.job_id == job_id).order_by(_R.occasion_day.desc()).limit(most)
    runs = [{str(k): v for k, v in row.items()} for row in (await connection.execute(statement)).mappings()]
    ids = [run["id"] for run in runs]
    counted = select(_O.run_id, _O.state, func.count()).where(_O.run_id.in_(ids)).group_by(_O.run_id, _O.state)
    counts: dict[int, dict[str, int]] = {}
    for run_id, state, count in (await connection.execute(counted)).all():
        counts.setdefault(run_id, {})[state] = int(count)
    return [run | {"counts": counts.get(run["id"], {})} for run in runs]


def job_events(job_id: int) -> Select[Any]:
    """The history of a job's fields (D3); to be ordered by id."""
    e = events.c
    columns = (e.id, e.at, e.author, e.action, e.field, e.old, e.new, e.reason)
    return select(*columns).where(e.noun == "job", e.record_id == job_id)


async def open_orders_by_state(connection: AsyncConnection, job_id: int) -> dict[str, int]:
    """How many orders of a job deleting it would withdraw, by state (D35)."""
    statement = (
        select(_O.state, func.count())
        .join(dispatch_runs, _R.id == _O.run_id)
        .where(_R.job_id == job_id, _O.state.in_(OPEN))
        .group_by(_O.state)
    )
    return {state: int(count) for state, count in (await connection.execute(statement)).all()}


async def names_of(connection: AsyncConnection, external_ids: list[str]) -> dict[str, str]:
    """The people behind external ids of applications, as one reads them."""
    statement = select(_A.external_id, _A.first_name, _A.last_name).where(_A.external_id.in_(external_ids))
    rows = (await connection.execute(statement)).all()
    return {row.external_id: " ".join(filter(None, (row.first_name, row.last_name))) or row.external_id for row in rows}
