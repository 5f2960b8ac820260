"""The job list and what one does to a job from there: An, Aus, run, copy, delete."""

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.job_words import field_value, told
from services.console.routing import Page
from services.console.visits import Visit, whole
from shared.db.approvals import ASKED
from shared.db.dispatch import StepResult, preview_bound, run_now
from shared.db.impact import Impact
from shared.db.job_basis import Shown
from shared.db.job_orders import names_of, open_orders_by_state
from shared.db.job_overview import JobGlance, glance_at_job, glance_at_jobs
from shared.db.jobs import approve_job, copy_job, delete_job, refuse_job, rehearse_job, set_job
from shared.db.planner_statistics import renew_after_release
from shared.db.run_commands import release_held
from shared.db.transactions import in_transaction
from shared.errors import InvalidInput, Outdated, Refused

#: How long a job that was just switched Aus can be switched An again without the page that shows what that means.
UNDO_FOR = timedelta(minutes=5)
#: A rehearsal of a dispatch keeps others from writing: opened in many tabs it is made in one after another.
_one_rehearsal = asyncio.Semaphore(1)


async def load_glance(visit: Visit) -> JobGlance:
    """The job of the address; raises NotFound."""
    today = await visit.today()
    async with visit.database.read() as connection:
        return await glance_at_job(connection, visit.path("id"), visit.now, today)


async def show_jobs(visit: Visit) -> Response:
    """Every job in a row."""
    today = await visit.today()
    async with visit.database.read() as connection:
        jobs = await glance_at_jobs(connection, visit.now, today)
    undo = next((job for job in jobs if may_undo(visit, job)), None)
    return visit.render("jobs.html", jobs=jobs, undo=undo)


async def export_jobs(visit: Visit) -> Response:
    """The list as a workbook."""
    return await download(
        visit, "jobs", told=lambda row: {**row, "dispatch": field_value(visit, "dispatch", row["dispatch"])}
    )


def may_undo(visit: Visit, job: JobGlance) -> bool:
    """Whether the page was led to by the click that has just switched this job Aus: nothing has changed since."""
    is_that_click = visit.asked("undo") == str(job.id) and visit.asked("seen") == job.basis
    return is_that_click and job.row["status"] == "off" and _is_fresh(visit, job)


def _is_fresh(visit: Visit, job: JobGlance) -> bool:
    off_since = job.row["off_since"]
    return off_since is not None and visit.now - off_since <= UNDO_FOR


def _back(visit: Visit, job_id: int) -> str:
    return f"/jobs/{job_id}" if visit.field("back") == "file" else "/jobs"


async def switch_off(visit: Visit) -> Response:
    """Aus: at once, with a way back in the answer."""
    job = await load_glance(visit)
    await set_job(visit.database, job.row["name"], {"status": "Aus"}, author=visit.author, now=visit.now)
    job = await load_glance(visit)
    return visit.go(f"{_back(visit, job.id)}?undo={job.id}&seen={job.basis}")


async def ask_on(visit: Visit) -> Response:
    """What An would mean for the next dispatch."""
    return await _asked_on(visit)


async def _asked_on(visit: Visit, status: int = 200) -> Response:
    job = await load_glance(visit)
    pairs = {"status": "An"}
    change = await rehearse_job(visit.database, job.row["name"], pairs, author=visit.author, now=visit.now)
    values = await impact_values(visit, change.impact)
    back = visit.field("back") or visit.asked("back")
    notes = told(visit, change.notes)
    values |= {"asks": ASKED in change.notes, "back": back}
    return visit.render("job_on.html", status, job=job, notes=notes, outdated=status != 200, **values)


async def switch_on(visit: Visit) -> Response:
    """An: goes on with its next send moment, if it is the job that was shown."""
    job = await load_glance(visit)
    if visit.field("undo") and not _is_fresh(visit, job):
        return visit.go(f"/jobs/{job.id}/on")
    name, basis = job.row["name"], visit.field("basis")
    try:
        change = await set_job(visit.database, name, {"status": "An"}, author=visit.author, now=visit.now, basis=basis)
    except Outdated:
        return await _asked_on(visit, 409)
    said = " ".join(told(visit, change.notes))
    if not change.changes:
        return visit.go(_back(visit, job.id), "%(job)s stays off until another user approves it.", job=name)
    return visit.go(_back(visit, job.id), "%(job)s is on. %(notes)s", job=name, notes=said)


async def impact_values(visit: Visit, impact: list[Impact]) -> dict[str, Any]:
    """What a template needs to tell an impact: the impacts, and the people behind their examples."""
    ids = [one for each in impact for one in (*each.added_samples, *each.removed_samples)]
    async with visit.database.read() as connection:
        return {"impact": impact, "people": await names_of(connection, ids)}


async def ask_copy(visit: Visit) -> Response:
    """The name of the copy."""
    job = await load_glance(visit)
    name = visit.text("%(job)s (copy)", job=job.row["name"])
    return visit.render("job_copy.html", job=job, name=name, fresh=False, errors={})


async def take_copy(visit: Visit) -> Response:
    """A copy, Aus."""
    job, name, fresh = await load_glance(visit), visit.field("name"), bool(visit.field("fresh"))
    try:
        await copy_job(visit.database, job.row["name"], name, author=visit.author, now=visit.now, fresh=fresh)
    except InvalidInput as exc:
        errors = {"name": told(visit, [exc.fix])[0]}
        return visit.render("job_copy.html", 422, job=job, name=name, fresh=fresh, errors=errors)
    async with visit.database.read() as connection:
        jobs = await glance_at_jobs(connection, visit.now, await visit.today())
    made = next(one.id for one in jobs if one.row["name"] == name)
    return visit.go(f"/jobs/{made}", "%(job)s is made, as a copy of %(original)s. It is off.", job=name,
                    original=job.row["name"])  # fmt: skip


async def ask_delete(visit: Visit) -> Response:
    """What deleting would withdraw."""
    return await _deleting(visit, await load_glance(visit))


async def _deleting(visit: Visit, job: JobGlance, status: int = 200, **errors: str) -> Response:
    async with visit.database.read() as connection:
        stopped = await open_orders_by_state(connection, job.id)
    typed = visit.field("name")
    return visit.render("job_delete.html", status, job=job, stopped=stopped, errors=errors, typed=typed)


async def take_delete(visit: Visit) -> Response:
    """Deletes for good, once the name is typed."""
    job = await load_glance(visit)
    if visit.field("name") != job.row["name"]:
        return await _deleting(visit, job, 422, name=visit.text("This is not the job's name."))
    count = await delete_job(visit.database, job.row["name"], author=visit.author, now=visit.now)
    return visit.go("/jobs", "%(job)s is deleted; open letters withdrawn: %(count)s.", job=job.row["name"], count=count)


async def ask_run(visit: Visit) -> Response:
    """How many letters would go out now, before they do."""
    return await _asked_run(visit)


async def _asked_run(visit: Visit, status: int = 200) -> Response:
    job = await load_glance(visit)
    found, is_large = StepResult(0), False
    if job.row["status"] == "on":
        async with _one_rehearsal:
            found, is_large = await _would_go(visit, job.row["name"])
    back = visit.field("back") or visit.asked("back")
    values = {"job": job, "is_large": is_large, "count": found.released, "without": found.without_address}
    return visit.render("job_run.html", status, back=back, outdated=status != 200, **values)


async def _would_go(visit: Visit, name: str) -> tuple[StepResult, bool]:
    """The dispatch of today, made and taken back: the only count that no other look at the rules can contradict."""

    async def rehearse(connection: AsyncConnection) -> tuple[StepResult, bool]:
        question = await preview_bound(connection, name, None, visit.now)
        async with connection.begin_nested() as rehearsal:
            result, _ = await run_now(connection, name, None, visit.now, visit.author)
            await rehearsal.rollback()
        return result, question is not None

    return await in_transaction(visit.database, rehearse)


def _shown(visit: Visit) -> Shown:
    """What the form says that the person saw; a form that says nothing approves nothing."""
    return Shown(visit.field("basis"), whole(visit.field("count")))


async def take_run(visit: Visit) -> Response:
    """Sends now, at most what was shown."""
    job, shown = await load_glance(visit), _shown(visit)
    name, now, author = job.row["name"], visit.now, visit.author
    try:
        result, _ = await in_transaction(
            visit.database, lambda connection: run_now(connection, name, None, now, author, shown)
        )
    except Outdated:
        return await _asked_run(visit, 409)
    except Refused:
        return visit.go(f"/jobs/{job.id}/dispatch", "%(job)s is off: nothing was sent.", job=name)
    await renew_after_release(visit.database, result.released)
    notice = "%(job)s: on their way: %(count)s; without an address: %(without)s."
    target = f"/jobs/{job.id}/dispatch"
    return visit.go(target, notice, job=name, count=result.released, without=result.without_address)


async def take_release(visit: Visit) -> Response:
    """Lets a held dispatch go, at most as many letters as were shown."""
    job, shown = await load_glance(visit), _shown(visit)
    try:
        await release_held(visit.database, job.row["name"], author=visit.author, now=visit.now, shown=shown)
    except Outdated:
        return visit.go(f"/jobs/{job.id}/dispatch", "This has changed since it was shown. Please look at it again.")
    except Refused:
        return visit.go(f"/jobs/{job.id}/dispatch", "No dispatch is held any more.")
    return visit.go(f"/jobs/{job.id}/dispatch", "The held dispatch is let go.")


async def take_approval(visit: Visit) -> Response:
    """A second user's yes or no to a job that is to be An, as it was shown (S23)."""
    job = await load_glance(visit)
    name, here = job.row["name"], f"/jobs/{job.id}"
    if visit.field("decision") != "approve":
        await refuse_job(visit.database, name, author=visit.author, now=visit.now)
        return visit.go(here, "%(job)s: refused, it stays off.", job=name)
    try:
        change = await approve_job(visit.database, name, author=visit.author, now=visit.now, seal=visit.field("seal"))
    except Outdated:
        return visit.go(here, "This has changed since it was shown. Please look at it again.")
    said = " ".join(told(visit, change.notes))
    return visit.go(here, "%(job)s is on. %(notes)s", job=name, notes=said)


PAGES = (
    Page("/jobs", show_jobs, "view"),
    Page("/jobs/excel", export_jobs, "view"),
    Page("/jobs/{id:int}/off", switch_off, "operate", ("POST",)),
    Page("/jobs/{id:int}/on", ask_on, "operate"),
    Page("/jobs/{id:int}/on", switch_on, "operate", ("POST",)),
    Page("/jobs/{id:int}/approval", take_approval, "operate", ("POST",)),
    Page("/jobs/{id:int}/run", ask_run, "operate"),
    Page("/jobs/{id:int}/run", take_run, "operate", ("POST",)),
    Page("/jobs/{id:int}/release", take_release, "operate", ("POST",)),
    Page("/jobs/{id:int}/copy", ask_copy, "edit"),
    Page("/jobs/{id:int}/copy", take_copy, "edit", ("POST",)),
    Page("/jobs/{id:int}/delete", ask_delete, "edit"),
    Page("/jobs/{id:int}/delete", take_delete, "edit", ("POST",)),
)
