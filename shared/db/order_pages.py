"""Write orders a page at a time, newest first, with what a person wants to see of each (D30)."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.order_list import OrderFilter, needing_a_person, order_conditions
from shared.db.tables import applications, blocks, contact_jobs, dispatch_runs, form_letters, write_orders
from shared.errors import NotFound

_O, _A = write_orders.c, applications.c
_SHOWN = (
    *(_O.id, _O.type, _O.task, _O.job_id, _O.job_name, _O.occasion_day, _O.planned_for, _O.state, _O.reason),
    *(_O.time_zone, _O.sent_at, _O.subject, _O.email.label("sent_to"), _O.run_id, _O.attempts, _O.created_by),
    *(_O.application_id, _A.external_id, _A.first_name, _A.last_name, _A.email),
)


async def orders_page(
    connection: AsyncConnection, which: OrderFilter, before: int | None, size: int
) -> list[Mapping[str, Any]]:
    """Up to `size` orders below the id `before`, highest id first."""
    conditions = await order_conditions(connection, which)
    if before is not None:
        conditions.append(_O.id < before)
    if which.needs_person:
        # Kind by kind, each by its own index: an OR would walk all orders where few need a person.
        kinds = [_ids(kind, before, size).subquery() for kind in needing_a_person()]
        if _only_needs(which):
            conditions.append(_O.id.in_(union_all(*(select(kind.c.id) for kind in kinds))))
    source = write_orders.join(applications, _A.id == _O.application_id)
    statement = select(*_SHOWN).select_from(source).where(*conditions).order_by(_O.id.desc()).limit(size)
    return [{str(key): value for key, value in row.items()} for row in (await connection.execute(statement)).mappings()]


def _only_needs(which: OrderFilter) -> bool:
    return which == OrderFilter(needs_person=True)


def _ids(kind: Any, before: int | None, size: int) -> Select[Any]:
    below = [] if before is None else [_O.id < before]
    return select(_O.id).where(kind, *below).order_by(_O.id.desc()).limit(size)


async def ids_of(connection: AsyncConnection, which: OrderFilter) -> Select[Any]:
    """The statement of the filter's ids, to be counted."""
    conditions = await order_conditions(connection, which)
    if which.recruiter is None and which.person_id is None:
        return select(_O.id).where(*conditions)
    return select(_O.id).join_from(write_orders, applications, _A.id == _O.application_id).where(*conditions)


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
