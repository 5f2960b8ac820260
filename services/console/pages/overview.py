"""The first page: what goes out next, and what needs a person."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from services.console.pages.bars import bars_of
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.approvals import list_waiting
from shared.db.candidate_requests import count_requests
from shared.db.holds import load_hold
from shared.db.service_instances import live_services
from shared.db.system_state import (
    Count,
    Upcoming,
    count_for_persons,
    count_waiting,
    last_planned,
    sent_lately,
    upcoming_dispatches,
)
from shared.db.tables import application_queries, applications, contact_jobs, form_letters
from shared.domain.schedule import start_of_day
from shared.lifecycle import HEARTBEAT_SECONDS

#: The services that must be alive for letters to go out, and the one that shows this.
SERVICES = ("scheduler", "evaluator", "mailer", "console")


async def show_overview(visit: Visit) -> Response:
    """Today in a line, the next dispatches, what needs a person."""
    zone = await visit.surroundings.zone()
    async with visit.database.read() as connection:
        found = await things_now(connection, visit.now, zone)
        found["upcoming"] = _by_day(await upcoming_dispatches(connection, visit.now), visit.now, zone)
        found["steps"] = await _first_steps(connection)
    values = {"state": state_line(visit, found, zone), "zone": zone.key, "services": SERVICES, **found}
    return visit.render("overview.html", **values, bars=bars_of(found["lately"].minutes))


async def things_now(connection: AsyncConnection, now: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """What overview and monitor both tell."""
    today = now.astimezone(zone).date()
    midnight = start_of_day(today + timedelta(days=1), zone)
    return {
        "lately": await sent_lately(connection, start_of_day(today, zone), now),
        "waiting": await count_waiting(connection, now, midnight),
        "last_planned": await last_planned(connection, midnight),
        "persons": await count_for_persons(connection),
        "requests": await count_requests(connection),
        "approvals": await list_waiting(connection),
        "alive": await live_services(connection, 3 * HEARTBEAT_SECONDS),
        "hold": await load_hold(connection),
    }


def state_line(visit: Visit, found: dict[str, Any], zone: ZoneInfo) -> str:
    """`Today: 214 sent, 12 wait until 12:12, nothing open`, in the person's language."""
    waiting = [found["waiting"][name] for name in ("today", "queued", "sending")]
    total = Count(sum(one.number for one in waiting), any(one.more for one in waiting))
    parts = [visit.text("Today: %(count)s sent", count=counted(visit, found["lately"].since))]
    if not total.number:
        parts.append(visit.text("nothing waits"))
    elif found["last_planned"] is not None and found["last_planned"] > visit.now:
        until = found["last_planned"].astimezone(zone).strftime("%H:%M")
        parts.append(visit.text("%(count)s wait until %(time)s", count=counted(visit, total), time=until))
    else:
        parts.append(visit.text("%(count)s wait", count=counted(visit, total)))
    # An order that waits for a second user is counted as unclear already.
    to_approve = Count(sum(one["job_id"] is not None for one in found["approvals"]))
    persons = [*found["persons"].values(), found["requests"], to_approve]
    open_ones = Count(sum(one.number for one in persons), any(one.more for one in persons))
    some = visit.text("%(count)s open", count=counted(visit, open_ones))
    parts.append(some if open_ones.number else visit.text("nothing open"))
    return ", ".join(parts)


def counted(visit: Visit, count: Count) -> str:
    """A count in words of the person's language."""
    shown = number(visit, count.number)
    return visit.text("more than %(count)s", count=shown) if count.more else shown


def number(visit: Visit, value: int) -> str:
    """A number as the person's language writes it."""
    return f"{value:,}".replace(",", ".") if visit.language == "de" else f"{value:,}"


def _by_day(found: list[Upcoming], now: datetime, zone: ZoneInfo) -> list[tuple[Any, list[Upcoming]]]:
    first = now.astimezone(zone).date()
    days = [first + timedelta(days=ahead) for ahead in range(7)]
    return [(day, [one for one in found if one.send_at.astimezone(zone).date() == day]) for day in days]


async def _first_steps(connection: AsyncConnection) -> dict[str, bool] | None:
    """Which of the first steps are done; None once all are."""
    tables = {
        "applications": applications,
        "queries": application_queries,
        "letters": form_letters,
        "jobs": contact_jobs,
    }
    done = {
        name: bool((await connection.execute(select(exists(select(table.c.id))))).scalar_one())
        for name, table in tables.items()
    }
    return None if all(done.values()) else done


PAGES = (Page("/", show_overview, "view"),)
