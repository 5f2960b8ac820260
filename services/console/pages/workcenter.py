"""Every write order of every type."""

from markupsafe import Markup
from sqlalchemy import func, or_, select
from starlette.responses import HTMLResponse, Response

from services.console.routing import Page
from services.console.visits import Visit
from shared.db.tables import write_orders


async def count_open(visit: Visit) -> Response:
    """How many orders need a person, for the menu: unclear, failed, held for confirmation."""
    o = write_orders.c
    needs = or_(o.state.in_(("unclear", "failed")), (o.state == "planned") & o.reason.like("held: %"))
    async with visit.database.read() as connection:
        count = (await connection.execute(select(func.count()).select_from(write_orders).where(needs))).scalar_one()
    label = visit.text("%(count)s need a person", count=count)
    badge = Markup('<span class="kp-count" title="{label}">{count}</span>').format(label=label, count=count)
    return HTMLResponse(badge if count else "")


PAGES = (Page("/workcenter/open-count", count_open, "view"),)
