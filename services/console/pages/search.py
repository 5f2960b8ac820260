"""One field for everything: an order number, an external id, an address or a name."""

from urllib.parse import urlencode

from sqlalchemy import select
from starlette.responses import Response

from services.console.routing import Page
from services.console.visits import Visit
from shared.db.application_list import search_applications
from shared.db.tables import applications, write_orders

_LARGEST_ID = 2**63 - 1


async def search(visit: Visit) -> Response:
    """Goes to the only thing that fits, else to the list of applications."""
    asked = visit.asked("q")
    if not asked:
        return visit.go("/applications")
    async with visit.database.read() as connection:
        by_id = select(applications.c.id).where(applications.c.external_id == asked)
        if (found := (await connection.execute(by_id)).scalars().first()) is not None:
            return visit.go(f"/applications/{found}")
        if asked.isdecimal() and asked.isascii() and int(asked) <= _LARGEST_ID:
            order = select(write_orders.c.id).where(write_orders.c.id == int(asked))
            if (found := (await connection.execute(order)).scalars().first()) is not None:
                return visit.go(f"/orders/{found}")
        found = await search_applications(connection, asked)
    if found.ids is not None and len(found.ids) == 1:
        return visit.go(f"/applications/{found.ids[0]}")
    return visit.go(f"/applications?{urlencode({'q': asked})}")


PAGES = (Page("/search", search, "view"),)
