"""Write orders a page at a time, newest first, with what a person wants to see of each (D30)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, literal_column, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of, unindexed
from shared.db.order_list import OrderFilter, needing_a_person, order_conditions
from shared.db.tables import applications, blocks, contact_jobs, dispatch_runs, form_letters, write_orders
from shared.errors import NotFound

_O, _A, _R = write_orders.c, applications.c, dispatch_runs.c
_SHOWN = (
    *(_O.id, _O.type, _O.task, _O.job_id, _O.job_name, _O.occasion_day, _O.planned_for, _O.state, _O.reason),
    *(_O.time_zone, _O.sent_at, _O.subject, _O.email.label("sent_to"), _O.run_id, _O.attempts, _O.created_by),
    *(_O.application_id, _A.external_id, _A.first_name, _A.last_name, _A.email),
)


async def orders_page(
    connection: AsyncConnection, which: OrderFilter, before: int | None, size: int, *, few: bool = False
) -> list[Mapping[str, Any]]:
    """Up to `size` orders below the id `before`, highest id first.

    `few`: no more than a few thousand orders fit. They are found first and then ordered; else the newest are walked
    through, which a planner that takes old orders to be spread among all of them would do for the few as well.
    """
    if few:
        found = (await ids_of(connection, which)).cte("found").prefix_with("MATERIALIZED", dialect="postgresql")
        ids = _below(select(found.c.id), found.c.id, before, size)
    elif which.needs_person:
        # Kind by kind, each by its own index: an OR would walk all orders where few need a person.
        rest = await ids_of(connection, replace(which, needs_person=False), walked=True)
        kinds = [_below(rest.where(kind), _O.id, before, size).subquery() for kind in needing_a_person()]
        every = union_all(*(select(kind.c.id) for kind in kinds)).subquery()
        ids = _below(select(every.c.id), every.c.id, None, size)
    else:
        ids = _below(await ids_of(connection, which, walked=True), _O.id, before, size)
    page = ids.subquery("page")
    statement = select(*_SHOWN).join_from(write_orders, page, page.c.id == _O.id)
    statement = statement.join(applications, _A.id == _O.application_id).order_by(_O.id.desc())
    return [{str(key): value for key, value in row.items()} for row in (await connection.execute(statement)).mappings()]


def _below(statement: Select[Any], key: ColumnElement[int], before: int | None, size: int) -> Select[Any]:
    below = statement if before is None else statement.where(key < before)
    return below.order_by(key.desc()).limit(size)


async def ids_of(connection: AsyncConnection, which: OrderFilter, *, walked: bool = False) -> Select[Any]:
    """The statement of the filter's ids, to be counted, or `walked` through until a page is full."""
    conditions = [*await order_conditions(connection, which), *await _through_runs(connection, which, walked=walked)]
    if which.recruiter is None and which.person_id is None:
        return select(_O.id).where(*conditions)
    return select(_O.id).join_from(write_orders, applications, _A.id == _O.application_id).where(*conditions)


async def _through_runs(connection: AsyncConnection, which: OrderFilter, *, walked: bool) -> list[ColumnElement[bool]]:
    """What a job or a day means for the runs: an index of the orders by either is one that each letter pays for."""
    of_job = which.job_id is not None or which.deleted_job is not None
    if not of_job and which.on is None:
        return []
    asked = {_R.job_id: which.job_id, _R.occasion_day: which.on, _R.job_name: which.deleted_job}
    runs = select(_R.id).where(*(column == value for column, value in asked.items() if value is not None))
    if which.deleted_job is not None:
        runs = runs.where(_R.job_id.is_(None))
    of_runs = any_of(unindexed(_O.run_id) if walked else _O.run_id, list((await connection.execute(runs)).scalars()))
    if of_job:
        return [of_runs]
    by_hand = _O.type != literal_column("'contact_job'", _O.type.type)
    return [or_(of_runs, and_(by_hand, _O.occasion_day == which.on))]


async def deleted_jobs(connection: AsyncConnection) -> list[str]:
    """Names of jobs that are no more, whose orders are kept (D35)."""
    names = select(_R.job_name).where(_R.job_id.is_(None)).distinct().order_by(_R.job_name)
    return list((await connection.execute(names)).scalars())


async def load_order_record(connection: AsyncConnection, order_id: int) -> Mapping[str, Any]:
    """One order with its application, letter, job and block, as its page shows them; raises NotFound."""
    r, j, b = dispatch_runs.c, contact_jobs.c, blocks.c
    statement = (
        select(
            *_SHOWN,
            *(_O.created_at, _O.handed_over_at, _O.phase, _O.not_before, _O.expires_at, _O.letter_id),
            *(_O.letter_version, _O.person_id),
            form_letters.c.name.label("letter"),
            r.reason.label("run_reason"),
            j.name.label("present_job_name"),
            *(b.scope.label("block_scope"), b.until.label("block_until"), b.author.label("block_author")),
            *(b.reason.label("block_reason"), b.created_at.label("blocked_at")),
        )
        .join_from(write_orders, applications, _A.id == _O.application_id)
        .join(form_letters, form_letters.c.id == _O.letter_id)
        .outerjoin(dispatch_runs, r.id == _O.run_id)
        .outerjoin(contact_jobs, j.id == _O.job_id)
        .outerjoin(blocks, b.id == _O.block_id)
        .where(_O.id == order_id)
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("order", order_id)
    return {str(key): value for key, value in row.items()}
