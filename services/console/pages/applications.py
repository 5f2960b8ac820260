"""The list of applications, and one application's record."""

from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.application_record import RECORD_PAGES
from services.console.paging import PAGE, Total, page_of, read_key, total_of
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.application_list import FEW, SEARCHED, application_rows, search_applications
from shared.db.tables import applications

#: Rows of a printed list.
PRINTED = 2000


async def show_list(visit: Visit) -> Response:
    """The newest first; narrowed by a name, an address or an external id."""
    asked, after, printing = visit.asked("q"), visit.asked("after"), bool(visit.asked("print"))
    async with visit.database.read(plan_by_values=True) as connection:
        statement, searched = application_rows(), 0
        if asked:
            found = await search_applications(connection, asked)
            total = Total(FEW, more=True) if found.ids is None else Total(len(found.ids))
            before = int(read_key(after, 1)[0]) if after else None
            statement = application_rows(found, before, PRINTED if printing else PAGE + 1)
            searched = SEARCHED if found.older else 0
        else:
            total = await total_of(connection, statement, applications)
        rows_of = statement.order_by(applications.c.id.desc()).limit(PRINTED)
        if printing:
            rows, next_key = list((await connection.execute(rows_of)).mappings()), ""
        else:
            page = await page_of(connection, statement, [applications.c.id], after, descending=True)
            rows, next_key = page.rows, page.next_key
    return visit.render(
        "applications.html",
        rows=rows,
        paged={"next_key": next_key},
        total=total,
        q=asked,
        searched=searched,
        first=not after,
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
