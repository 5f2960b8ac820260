"""How the letters flow: queues, what waits and for how long, the rate, services alive."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response

from services.console.pages.bars import bars_of
from services.console.pages.overview import SERVICES, things_now
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.system_state import Count, Lately, last_dispatches, last_planned, oldest_waiting, reasons_of_planned
from shared.domain.schedule import local_instant
from shared.queue_report import queues_now


async def show_monitor(visit: Visit) -> Response:
    """The page; its figures come anew every few seconds."""
    return visit.render("monitor.html", **await _figures(visit))


async def show_figures(visit: Visit) -> Response:
    """The figures alone."""
    return visit.render("monitor_figures.html", **await _figures(visit))


async def _figures(visit: Visit) -> dict[str, Any]:
    now, zone = visit.now, await visit.surroundings.zone()
    async with visit.database.read() as connection:
        found = await things_now(connection, now, zone)
        queues = await queues_now(connection, visit.surroundings.settings)
        found["oldest"] = await oldest_waiting(connection)
        found["reasons"] = await reasons_of_planned(connection)
        found["last"] = await last_dispatches(connection)
        midnight = local_instant(now.astimezone(zone).date() + timedelta(days=1), time(0), zone)
        last = await last_planned(connection, midnight)
    oldest = found["oldest"]
    return {
        **found,
        "queues": queues,
        "dead": sum(queue["messages"] or 0 for queue in queues if queue["queue"].endswith("dead")),
        "bars": bars_of(found["lately"].minutes),
        "oldest_seconds": int((now - oldest["queued_at"]).total_seconds()) if oldest and oldest["queued_at"] else None,
        "done_at": done_at(found["lately"], found["waiting"], last, now, zone),
        "services": SERVICES,
        "zone": zone.key,
        "now": now,
    }


def done_at(
    lately: Lately, waiting: dict[str, Count], last: datetime | None, now: datetime, zone: ZoneInfo
) -> datetime | None:
    """When today's work will be done: what waits at the present rate, and not before the last send moment of today.

    None: nothing is left for today, or something waits and nothing goes out.
    """
    count = waiting["queued"].number + waiting["sending"].number
    if (count and not lately.per_minute) or not (count or last):
        return None
    at_this_rate = now + timedelta(minutes=count / lately.per_minute) if count else now
    return max(at_this_rate, last or now).astimezone(zone)


PAGES = (
    Page("/monitor", show_monitor, "view"),
    Page("/monitor/figures", show_figures, "view", by_itself=True),
)
