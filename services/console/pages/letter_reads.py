"""What the pages of letters show."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.console.paging import Paged, all_of, page_of
from shared.db.attachment_store import list_attachments
from shared.db.history import load_history
from shared.db.letter_changes import load_content
from shared.db.tables import application_statuses, contact_jobs, form_letters, letter_layouts, write_orders
from shared.errors import NotFound

_L, _J = form_letters.c, contact_jobs.c
#: Rows of a list that is printed whole.
PRINTED = 500
#: Letters beside the editor on wide screens.
_BESIDE = 100


async def letter_page(connection: AsyncConnection, after: str, whole: bool) -> Paged:
    """The letters by name with their content; `whole`: as many as are printed."""
    jobs = select(func.count()).where(_J.letter_id == _L.id).scalar_subquery().label("jobs")
    statement = select(_L.id, _L.name, _L.name_folded, _L.version, jobs)
    if whole:
        paged = await all_of(connection, statement.order_by(_L.name_folded), PRINTED)
    else:
        paged = await page_of(connection, statement, [_L.name_folded], after)
    paged.rows[:] = [{**row, **await load_content(connection, row["id"], row["version"])} for row in paged.rows]
    return paged


async def load_for_page(connection: AsyncConnection, letter_id: int) -> dict[str, Any]:
    """One letter as it was written, with its jobs and history; raises NotFound."""
    row = (await connection.execute(select(form_letters).where(_L.id == letter_id))).mappings().first()
    if row is None:
        raise NotFound("letter", letter_id)
    jobs = await connection.execute(
        select(_J.id, _J.name, _J.status).where(_J.letter_id == letter_id).order_by(_J.name_folded)
    )
    written = await connection.execute(select(write_orders.c.id).where(write_orders.c.letter_id == letter_id).limit(1))
    return {
        "id": row["id"],
        "name": row["name"],
        "version": row["version"],
        "content": await load_content(connection, letter_id, row["version"]),
        "jobs": list(jobs.mappings()),
        "has_orders": written.first() is not None,
        "history": await load_history(connection, "letter", letter_id),
    }


async def choices(connection: AsyncConnection) -> dict[str, Any]:
    """What a letter can be given: statuses, layouts, attachments."""
    s, l = application_statuses.c, letter_layouts.c  # noqa: E741
    return {
        "statuses": [
            (one, one) for one in (await connection.execute(select(s.name).order_by(s.name_folded))).scalars()
        ],
        "layouts": [(one, one) for one in (await connection.execute(select(l.name).order_by(l.name_folded))).scalars()],
        "files": await list_attachments(connection),
        "others": (await connection.execute(select(_L.id, _L.name).order_by(_L.name_folded).limit(_BESIDE))).all(),
    }
