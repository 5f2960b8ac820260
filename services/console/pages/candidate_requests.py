"""What candidates ask for on their page: corrections and deletions that wait for a recruiter."""

from starlette.responses import Response

from services.console.routing import Page
from services.console.visits import Visit
from shared.db.candidate_requests import LISTED, finish, open_requests


async def show_requests(visit: Visit) -> Response:
    """What waits, the oldest first."""
    async with visit.database.read() as connection:
        rows = await open_requests(connection)
    return visit.render("requests.html", rows=rows, most=LISTED, zone=(await visit.surroundings.zone()).key)


async def take_done(visit: Visit) -> Response:
    """A recruiter has done what was asked."""
    await finish(visit.database, visit.path("id"), author=visit.author, now=visit.now)
    return visit.go("/requests", "The request is done.")


PAGES = (
    Page("/requests", show_requests, "view"),
    Page("/requests/{id:int}/done", take_done, "operate", ("POST",)),
)
