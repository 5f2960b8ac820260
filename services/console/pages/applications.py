"""The list of applications, and one application's record."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.application_record import RECORD_PAGES
from services.console.paging import PAGE, Paged, Total, page_of, read_id, total_of
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.application_list import FEW, SEARCHED, application_rows, search_applications
from shared.db.tables import applications
from shared.exporting import applications_of

#: Rows of a printed list. Who prints all of more applications gets the newest.
PRINTED = 100_000
#: Rows that are rendered at once: nothing else is done meanwhile.
_PART = 200


async def show_list(visit: Visit) -> Response:
    """The newest first; narrowed by a name, an address or an external id; a page of them, or (printed) all."""
    asked, after, returned = visit.asked("q"), visit.asked("after"), _only_returned(visit)
    async with visit.database.read() as connection:
        found = await search_applications(connection, asked) if asked else None
        if found is None or returned:
            whole = None if returned else applications
            total = await total_of(connection, application_rows(found, returned=returned), whole)
        else:
            total = Total(FEW, more=True) if found.ids is None else Total(len(found.ids))
        values: dict[str, Any] = {
            "total": total,
            "q": asked,
            "returned": returned,
            "searched": SEARCHED if found and found.older else 0,
            "first": not after,
            "printed": PRINTED,
            "paged": Paged([], ""),
        }
        if not visit.is_printing:
            statement = application_rows(found, read_id(after), PAGE + 1, returned=returned)
            page = await page_of(connection, statement, [applications.c.id], after, descending=True)
            return visit.render("applications.html", rows=page.rows, **values | {"paged": page})
    return visit.stream("applications.html", "application_rows.html", _all(visit, asked), rows=[], **values)


async def _all(visit: Visit, asked: str) -> AsyncIterator[list[Any]]:
    """Everything found, part by part."""
    async with visit.database.read() as connection:
        found = await search_applications(connection, asked) if asked else None
        rows = application_rows(found, None, PRINTED, returned=_only_returned(visit))
        rows = rows.order_by(applications.c.id.desc()).limit(PRINTED)
        async with connection.stream(rows, execution_options={"yield_per": _PART}) as result:
            async for part in result.mappings().partitions(_PART):
                yield list(part)


async def give_excel(visit: Visit) -> Response:
    """All applications, or those that the search finds."""
    narrowed = applications_of(visit.asked("q"), returned=_only_returned(visit))
    return await download(visit, "applications", narrowed=narrowed)


def _only_returned(visit: Visit) -> bool:
    """Whether only applications are asked for whose letters come back."""
    return visit.asked("returned") == "1"


PAGES = (
    Page("/applications", show_list, "view"),
    Page("/applications/excel", give_excel, "view"),
    *RECORD_PAGES,
)
