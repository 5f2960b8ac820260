"""The first page: what goes out next, and what needs a person."""

from starlette.responses import Response

from services.console.routing import Page
from services.console.visits import Visit
from shared.db.job_list import list_jobs


async def show_overview(visit: Visit) -> Response:
    """Today in a line, the next dispatches, what needs a person."""
    jobs = await list_jobs(visit.database, visit.now)
    return visit.render("overview.html", jobs=jobs)


PAGES = (Page("/", show_overview, "view"),)
