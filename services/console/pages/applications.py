"""The list of applications, and one application's record."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.application_record import RECORD_PAGES
from services.console.paging import Paged, bounded_count, page_of
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.application_list import SEARCHED, application_rows, estimated_count
from shared.db.tables import applications
from shared.exporting import applications_of

#: Rows of a printed list: whatever a search finds. Who prints all of more applications gets the newest.
PRINTED = SEARCHED + 1
#: Rows that are rendered at once: nothing else is done meanwhile.
_PART = 200


async def show_list(visit: Visit) -> Response:
    """The newest first; narrowed by a name, an address or an external id; a page of them, or (printed) all."""
    asked, printing = visit.asked("q"), visit.is_printing
    async with visit.database.read() as connection:
        statement, older = await application_rows(connection, asked)
        estimate = None if asked or printing else await estimated_count(connection)
        if estimate:
            count, more = estimate, False
        elif printing:
            count, more = await bounded_count(connection, statement, PRINTED)
        else:
            # PostgreSQL's estimate of a small or new table is none.
            count, more = await bounded_count(connection, statement)
        values: dict[str, Any] = {
            "count": count,
            "more": more,
            "estimated": bool(estimate),
            "q": asked,
            "searched": SEARCHED if older else 0,
            "first": not visit.asked("after"),
            "printed": PRINTED,
            "paged": Paged([], ""),
        }
        if not printing:
            page = await page_of(connection, statement, [applications.c.id], visit.asked("after"), descending=True)
            return visit.render("applications.html", rows=page.rows, **values | {"paged": page})
    return visit.stream("applications.html", "application_rows.html", _all(visit, asked), rows=[], **values)


async def _all(visit: Visit, asked: str) -> AsyncIterator[list[Any]]:
    """Everything found, part by part."""
    async with visit.database.read() as connection:
        statement, _ = await application_rows(connection, asked)
        rows = statement.order_by(applications.c.id.desc()).limit(PRINTED)
        async with connection.stream(rows, execution_options={"yield_per": _PART}) as result:
            async for part in result.mappings().partitions(_PART):
                yield list(part)


async def give_excel(visit: Visit) -> Response:
    """All applications, or those that the search finds."""
    return await download(visit, "applications", narrowed=applications_of(visit.asked("q")))


PAGES = (
    Page("/applications", show_list, "view"),
    Page("/applications/excel", give_excel, "view"),
    *RECORD_PAGES,
)
