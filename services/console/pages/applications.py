"""The list of applications, and one application's record."""

from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.application_record import RECORD_PAGES
from services.console.paging import bounded_count, page_of
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.application_list import SEARCHED, application_rows, estimated_count
from shared.db.tables import applications

#: Rows of a printed list.
PRINTED = 2000


async def show_list(visit: Visit) -> Response:
    """The newest first; narrowed by a name, an address or an external id."""
    asked, printing = visit.asked("q"), bool(visit.asked("print"))
    async with visit.database.read() as connection:
        statement, older = await application_rows(connection, asked)
        estimate = None if asked else await estimated_count(connection)
        # PostgreSQL's estimate of a small or new table is none.
        count, more = await bounded_count(connection, statement) if not estimate else (estimate, False)
        rows_of = statement.order_by(applications.c.id.desc()).limit(PRINTED)
        if printing:
            rows, next_key = list((await connection.execute(rows_of)).mappings()), ""
        else:
            page = await page_of(connection, statement, [applications.c.id], visit.asked("after"), descending=True)
            rows, next_key = page.rows, page.next_key
    return visit.render(
        "applications.html",
        rows=rows,
        paged={"next_key": next_key},
        count=count,
        more=more,
        estimated=bool(estimate),
        q=asked,
        searched=SEARCHED if older else 0,
        first=not visit.asked("after"),
        printing=printing,
        printed=PRINTED,
    )


async def give_excel(visit: Visit) -> Response:
    """All applications."""
    return await download(visit, "applications")


PAGES = (
    Page("/applications", show_list, "view"),
    Page("/applications/excel", give_excel, "view"),
    *RECORD_PAGES,
)
