"""The job file's first tab: the fields of a job, what a change of them would mean, and saving it (D1-D3)."""

from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response

from services.console.pages.job_calendar import next_days
from services.console.pages.job_form import Values, choices, error_of, errors_of, new_values, pairs_of, typed_values
from services.console.pages.job_form import values_of as values_of_job
from services.console.pages.job_words import shown_changes, told
from services.console.pages.jobs import impact_values, load_glance, may_undo
from services.console.pages.letters import in_frame
from services.console.pages.plan_words import plan_sentences
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.consent_jobs import count_answers
from shared.db.job_overview import JobGlance
from shared.db.jobs import create_job, rehearse_job, set_job
from shared.db.letter_samples import preview_letter
from shared.db.queries import QueryDay, load_query_by_id
from shared.db.query_trials import try_query
from shared.db.system_settings import load_system_settings
from shared.errors import InvalidInput, KontaktpflegeError, NotFound, Outdated


async def show_job(visit: Visit) -> Response:
    """The fields, and the next dispatches."""
    job = await load_glance(visit)
    return await _form(visit, job, values_of_job(job.row))


async def _form(visit: Visit, job: JobGlance, values: Values, status: int = 200, **errors: str) -> Response:
    async with visit.database.read() as connection:
        answers = (await count_answers(connection, [job.id])).get(job.id)
    return visit.render(
        "job_file.html",
        status,
        job=job,
        values=values,
        errors=errors,
        choices=await choices(visit, values),
        calendar=next_days(job.row, visit.now, visit.language),
        undo=may_undo(visit, job),
        answers=answers,
    )


async def save_job(visit: Visit) -> Response:
    """First what the change would mean, then, confirmed, the change."""
    job, values = await load_glance(visit), typed_values(visit)
    if visit.field("step") == "edit":
        return await _form(visit, job, values)
    errors = errors_of(visit, values)
    if not errors and visit.field("epoch") != str(job.row["epoch"]):
        errors = _meanwhile(visit)
    if errors:
        return await _form(visit, job, values, 422, **errors)
    before = pairs_of(values_of_job(job.row))
    pairs = {key: value for key, value in pairs_of(values).items() if value != before[key]}
    if not pairs:
        return visit.go(f"/jobs/{job.id}", "Nothing was changed.")
    try:
        return await _saved_or_asked(visit, job, values, pairs)
    except Outdated:
        # Both pressed the button at the same moment, and the other one's change was first.
        return await _form(visit, await load_glance(visit), values, 422, **_meanwhile(visit))
    except InvalidInput as exc:
        return await _form(visit, job, values, 422, **error_of(visit, exc))


def _meanwhile(visit: Visit) -> dict[str, str]:
    return {"form": visit.text("Somebody has changed the job meanwhile. Please look at it again, then save.")}


async def _saved_or_asked(visit: Visit, job: JobGlance, values: Values, pairs: dict[str, str]) -> Response:
    is_confirmed = visit.field("step") == "save"
    who: dict[str, Any] = {"author": visit.author, "now": visit.now}
    if is_confirmed:
        change = await set_job(visit.database, job.row["name"], pairs, **who, epoch=job.row["epoch"])
    else:
        change = await rehearse_job(visit.database, job.row["name"], pairs, **who)
    notes = told(visit, [*change.notes, *change.warnings])
    if is_confirmed:
        return visit.go(f"/jobs/{job.id}", "Saved. %(notes)s", notes=" ".join(notes))
    shown = await impact_values(visit, change.impact)
    changes = shown_changes(visit, change.changes)
    changed, is_on = {field for field, _, _ in change.changes}, job.row["status"] == "on"
    said = plan_sentences(visit, change.plan, changed, values["time_zone"], is_on)
    return visit.render("job_confirm.html", job=job, values=values, changes=changes, notes=notes, plan=said, **shown)


async def show_new(visit: Visit) -> Response:
    """An empty form."""
    async with visit.database.read() as connection:
        zone = (await load_system_settings(connection)).time_zone
    return await _new(visit, new_values(zone))


async def _new(visit: Visit, values: Values, status: int = 200, **errors: str) -> Response:
    return visit.render("job_new.html", status, values=values, errors=errors, choices=await choices(visit, values))


async def make_job(visit: Visit) -> Response:
    """A new job; it is Aus, so nothing goes out yet."""
    values = typed_values(visit)
    if errors := errors_of(visit, values):
        return await _new(visit, values, 422, **errors)
    try:
        change = await create_job(visit.database, pairs_of(values), author=visit.author, now=visit.now)
    except InvalidInput as exc:
        return await _new(visit, values, 422, **error_of(visit, exc))
    notes = " ".join(told(visit, change.warnings))
    notice = "%(job)s is made. It is off: switch it on when everything is right. %(notes)s"
    return visit.go(f"/jobs/{change.job_id}", notice, job=values["name"], notes=notes)


async def preview_query(visit: Visit) -> Response:
    """Whom the query chooses on the next occasion day, in a drawer: how many, and the first of them."""
    job = await load_glance(visit)
    day = next_days(job.row, visit.now)[0].occasion
    values: dict[str, Any] = {"job": job, "day": day, "problem": ""}
    async with visit.database.read() as connection:
        settings = await load_system_settings(connection)
        try:
            query = await load_query_by_id(connection, job.row["query_id"])
        except InvalidInput as exc:
            return visit.render("job_preview_query.html", **values | {"problem": visit.refusal(exc), "trial": None})
        on = QueryDay(day, ZoneInfo(job.row["time_zone"]), settings.leap_day_birthday)
        trial = await try_query(connection, query, on)
    return visit.render("job_preview_query.html", **values, trial=trial)


async def show_letter(visit: Visit) -> Response:
    """The letter as somebody whom the job chooses would get it, in a drawer."""
    job = await load_glance(visit)
    try:
        async with visit.database.read() as connection:
            found = await preview_letter(connection, job.row["name"], None, visit.now)
    except NotFound:
        nobody = visit.text("The job finds nobody to write to.")
        return visit.render("job_preview_letter.html", job=job, found=None, problem=nobody)
    except KontaktpflegeError as exc:
        return visit.render("job_preview_letter.html", job=job, found=None, problem=visit.refusal(exc))
    return visit.render("job_preview_letter.html", job=job, found=found, problem="")


async def show_letter_frame(visit: Visit) -> Response:
    """That letter's HTML, for the frame in the drawer."""
    job = await load_glance(visit)
    async with visit.database.read() as connection:
        found = await preview_letter(connection, job.row["name"], visit.asked("application") or None, visit.now)
    return in_frame(found.letter)


PAGES = (
    Page("/jobs/new", show_new, "edit"),
    Page("/jobs/new", make_job, "edit", ("POST",)),
    Page("/jobs/{id:int}", show_job, "view"),
    Page("/jobs/{id:int}/preview/letter/html", show_letter_frame, "view"),
    Page("/jobs/{id:int}", save_job, "edit", ("POST",)),
    Page("/jobs/{id:int}/preview/query", preview_query, "view"),
    Page("/jobs/{id:int}/preview/letter", show_letter, "view"),
)
