"""A job's write orders, dispatches and history for the job file (D3, D16, D31)."""

from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import applications, blocks, dispatch_runs, events, write_orders

_O, _A, _R, _B = write_orders.c, applications.c, dispatch_runs.c, blocks.c
#: Not sent yet, nor given up.
OPEN = ("planned", "queued", "sending")
ENDED = ("sent", "unclear", "failed", "no_address", "withdrawn")
#: How far back names are looked for among the ended ones: no index has them.
SEARCHED_DAYS = 31


def job_orders(job_id: int, *, ended: bool, today: date, words: str = "", state: str = "") -> Select[Any]:
    """Orders of a job, by run, for which there is an index; to be ordered by occasion day and id.

    Blocked ones stay among the open ones until their day has passed. `words`: part of a name or an address, among
    the ended ones of the last days only.
    """
    # Through the runs: their index and that of the orders by run give the rows in the wanted order.
    statement = (
        select(
            *(_O.id, _R.occasion_day, _O.state, _O.reason, _O.planned_for, _O.sent_at, _O.subject, _O.application_id),
            *(_O.email.label("sent_to"), _O.attempts),
            *(_A.external_id, _A.first_name, _A.last_name, _A.email),
            *(_B.reason.label("block_reason"), _B.author.label("block_author"), _B.created_at.label("block_at")),
            *(_B.scope.label("block_scope"), _B.until.label("block_until")),
        )
        .select_from(dispatch_runs)
        .join(write_orders, _O.run_id == _R.id)
        .join(applications, _A.id == _O.application_id)
        .outerjoin(blocks, _B.id == _O.block_id)
        .where(_R.job_id == job_id, _part(ended, today))
    )
    if state:
        statement = statement.where(_O.state == state)
    if words and ended:
        statement = statement.where(_R.occasion_day > today - timedelta(days=SEARCHED_DAYS))
    return statement.where(_says(words)) if words else statement


def _part(ended: bool, today: date) -> ColumnElement[bool]:
    # The states first and by themselves: so the index of the orders by run and state finds them.
    states = (*ENDED, "blocked") if ended else (*OPEN, "blocked")
    its_side = _R.occasion_day < today if ended else _R.occasion_day >= today
    return and_(_O.state.in_(states), or_(_O.state != "blocked", its_side))


def _says(words: str) -> ColumnElement[bool]:
    """Every word is a part of the first or last name or of the address."""
    # A subquery for each order, which no planner turns into a look at every application there is.
    them = applications.alias("searched")
    said = func.coalesce(them.c.first_name, "") + " " + func.coalesce(them.c.last_name, "") + " "
    text = select(said + func.coalesce(them.c.email, "")).where(them.c.id == _O.application_id)
    whole = text.correlate(write_orders).scalar_subquery()
    return and_(*(whole.icontains(word, autoescape=True) for word in words.split()))


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
