"""The job file's tabs Simulation and History: what the coming days bring, and what happened so far (D3, D16, D22)."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.history import in_words, told_history
from services.console.pages.jobs import load_glance
from services.console.paging import all_of, page_of
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.job_orders import job_events, names_of, runs_with_counts
from shared.db.tables import events
from shared.errors import InvalidInput
from shared.exporting import history_of
from shared.simulation import Simulation, private_copy, simulate

#: Days that a simulation looks ahead, and letters that it names.
DAYS = 90
NAMED = 200
#: Dispatches in the history.
RUNS = 60
#: Changes on paper.
PRINTED = 5000
#: Height of the chart's bars.
_HEIGHT = 100
#: A private copy takes memory and time: one after another.
_one_at_a_time = asyncio.Semaphore(1)


async def show_simulation(visit: Visit) -> Response:
    """The page; its result follows when it is there."""
    return visit.render("job_simulation.html", job=await load_glance(visit), days=DAYS)


async def run_simulation(visit: Visit) -> Response:
    """The next 90 days of this job, as if it were An."""
    job, first = await load_glance(visit), await visit.today()
    last = first + timedelta(days=DAYS - 1)
    try:
        async with _one_at_a_time, private_copy(visit.database) as connection:
            found = await simulate(connection, first, last, [job.row["name"]], visit.now)
    except InvalidInput as exc:
        return visit.render("job_simulation_result.html", job=job, problem=visit.refusal(exc), found=None)
    async with visit.database.read() as connection:
        people = await names_of(connection, [letter.application for letter in found.letters[:NAMED]])
    reasons = Counter(skip.reason.partition(":")[0] for skip in found.skipped)
    per_day = {day: counts.total() for day, counts in found.per_day().items()}
    return visit.render(
        "job_simulation_result.html",
        job=job,
        problem="",
        found=found,
        bars=bars_of(found, per_day),
        most=max(per_day.values(), default=0),
        per_day=sorted(per_day.items()),
        people=people,
        named=NAMED,
        reasons=sorted(reasons.items()),
    )


def bars_of(found: Simulation, per_day: dict[date, int]) -> Sequence[dict[str, Any]]:
    """One bar a day, its height a part of the highest."""
    most = max(per_day.values(), default=0) or 1
    days = [found.first + timedelta(days=number) for number in range(DAYS)]
    return [
        {"day": day, "count": per_day.get(day, 0), "x": number * 10, "height": per_day.get(day, 0) * _HEIGHT / most}
        for number, day in enumerate(days)
    ]


async def show_history(visit: Visit) -> Response:
    """Who changed what when, and the dispatches."""
    job = await load_glance(visit)
    after = visit.asked("after")
    async with visit.database.read() as connection:
        if visit.is_printing:
            paged = await all_of(connection, job_events(job.id).order_by(events.c.id.desc()), PRINTED)
        else:
            paged = await page_of(connection, job_events(job.id), (events.c.id,), after, descending=True)
        runs = [] if after else await runs_with_counts(connection, job.id, RUNS)
    changes = told_history(visit, "job", paged.rows)
    return visit.render(
        "job_history.html",
        job=job,
        changes=changes,
        paged=paged,
        runs=runs,
        zone=job.row["time_zone"],
        first=not after,
        most=RUNS,
        printed=PRINTED,
    )


async def export_history(visit: Visit) -> Response:
    """Every change of the job, as a workbook."""
    job = await load_glance(visit)
    return await download(visit, "history", history_of("job", job.id), lambda row: in_words(visit, row))


PAGES = (
    Page("/jobs/{id:int}/simulation", show_simulation, "view"),
    Page("/jobs/{id:int}/simulation/result", run_simulation, "view"),
    Page("/jobs/{id:int}/history", show_history, "view"),
    Page("/jobs/{id:int}/history/excel", export_history, "view"),
)
