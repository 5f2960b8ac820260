"""One application with its person: facts, timeline, duplicates, and what may be done."""

import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from services.console.downloads import send_once
from services.console.formats import in_zone
from services.console.pages.history import ACTIONS
from services.console.pages.order_record import ACTS
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.candidate_wishes import LESS
from shared.db.consent_answers import CONSENT_ACTS
from shared.db.letter_trials import write_stored
from shared.db.manual_orders import TASKS, TYPES, Wish, create_order, letters_with_meta
from shared.db.person_commands import block, opt_in, opt_out, unblock, want_as_usual, want_less
from shared.db.person_duplicates import duplicates_of
from shared.db.person_file import show_person
from shared.db.returned_addresses import restore_address
from shared.db.suppressions import CANDIDATE
from shared.db.tables import application_statuses, applications, contact_jobs
from shared.db.timeline import WISHED, person_timeline
from shared.errors import InvalidInput, NotFound, Refused
from shared.evidence import write_evidence

_A = applications.c
#: Authors that are no people.
_SERVICES = ("scheduler", "evaluator", "mailer", "mailbox", CANDIDATE)


async def _load(connection: AsyncConnection, application_id: int) -> dict[str, Any]:
    statement = (
        select(applications, application_statuses.c.name.label("status"))
        .outerjoin_from(applications, application_statuses, application_statuses.c.id == _A.status_id)
        .where(_A.id == application_id)
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("application", application_id)
    return dict(row)


async def _jobs(connection: AsyncConnection) -> list[tuple[int, str]]:
    j = contact_jobs.c
    return [(row.id, row.name) for row in await connection.execute(select(j.id, j.name).order_by(j.name_folded))]


async def _render(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    async with visit.database.read() as connection:
        row = await _load(connection, visit.path("id"))
        person = await show_person(connection, row["external_id"])
        timeline = await person_timeline(connection, row["person_id"])
        duplicates = await duplicates_of(connection, row["person_id"])
        jobs = await _jobs(connection)
        letters = await letters_with_meta(connection)
    offered = {kind: [name for _, name, meta in letters if kind not in TASKS or meta in TASKS[kind]] for kind in TYPES}
    typed = {name: visit.field(name) for name in ("letter", "at", "reason", "job", "until")}
    return visit.render(
        "application.html",
        status,
        row=row,
        person=person,
        timeline=timeline,
        services=_SERVICES,
        acts={name: ACTIONS[name] for name in WISHED} | {name: ACTS[name] for name in CONSENT_ACTS},
        duplicates=duplicates,
        jobs=jobs,
        offered=offered,
        errors=errors or {},
        typed=typed,
        zone=(await visit.surroundings.zone()).key,
    )


async def show(visit: Visit) -> Response:
    """The record."""
    return await _render(visit)


async def _external_id(visit: Visit) -> str:
    async with visit.database.read() as connection:
        return str((await _load(connection, visit.path("id")))["external_id"])


def _here(visit: Visit) -> str:
    return f"/applications/{visit.path('id')}"


async def take_opt_out(visit: Visit) -> Response:
    """No more contact care for the person."""
    name, reason = await _external_id(visit), visit.field("reason") or None
    done = await opt_out(visit.database, name, reason=reason, author=visit.author, now=visit.now)
    message = "Opted out of contact care. Letters stopped: %(stopped)s; too late: %(late)s."
    return visit.go(_here(visit), message, stopped=done.stopped, late=done.too_late)


async def take_evidence(visit: Visit) -> Response:
    """Everything that is kept of the person, as a zip (Art. 15 GDPR)."""
    name, write_again = await _external_id(visit), visit.surroundings.write_again
    if write_again is None:
        raise Refused("this console writes no letters; use the command line: person evidence")
    folder = tempfile.TemporaryDirectory(prefix="kontaktpflege-")
    file = Path(folder.name) / "evidence.zip"
    try:
        async with visit.surroundings.exporting:
            await write_evidence(visit.database, name, file, write_again(), author=visit.author, now=visit.now)
    except BaseException:
        folder.cleanup()
        raise
    return send_once(folder, file, f"{visit.text('evidence')}-{visit.path('id')}.zip")


async def take_opt_in(visit: Visit) -> Response:
    """Contact care again."""
    await opt_in(visit.database, await _external_id(visit), author=visit.author, now=visit.now)
    return visit.go(_here(visit), "The person takes part in contact care again.")


async def take_address_works(visit: Visit) -> Response:
    """Somebody knows that letters to the address arrive again."""
    await restore_address(visit.database, await _external_id(visit), author=visit.author, now=visit.now)
    return visit.go(_here(visit), "The address is used again.")


async def take_wish(visit: Visit) -> Response:
    """No birthday letters, one letter a year; or as usual again."""
    name, given = await _external_id(visit), visit.field("wish")
    who: dict[str, Any] = {"author": visit.author, "now": visit.now}
    for wish, back, less in LESS:
        if given == wish:
            done = await want_less(visit.database, name, less, **who)
            message = "The wish is noted. Letters stopped: %(stopped)s; too late: %(late)s."
            return visit.go(_here(visit), message, stopped=done.stopped, late=done.too_late)
        if given == back:
            await want_as_usual(visit.database, name, less, **who)
            return visit.go(_here(visit), "The wish is taken back.")
    raise NotFound("page", given)


async def _job_name(visit: Visit) -> str | None:
    """The chosen job, None for all of them; raises NotFound for one that has gone: it must never become all."""
    if not (chosen := visit.field("job")):
        return None
    async with visit.database.read() as connection:
        names = {str(id_): name for id_, name in await _jobs(connection)}
    if chosen not in names:
        raise NotFound("job", chosen)
    return names[chosen]


async def take_block(visit: Visit) -> Response:
    """Blocks the person for a job, or for all until a day."""
    reason, text, job = visit.field("reason"), visit.field("until"), await _job_name(visit)
    if not reason:
        return await _render(visit, 422, {"reason": visit.text("Say why.")})
    if text and job is not None:
        return await _render(visit, 422, {"until": visit.text("A day can be given with all jobs only.")})
    try:
        until = date.fromisoformat(text) if text else None
    except ValueError:
        return await _render(visit, 422, {"until": visit.text("a day like 2026-12-01")})
    name = await _external_id(visit)
    who: dict[str, Any] = {"author": visit.author, "now": visit.now}
    try:
        done = await block(visit.database, name, job=job, until=until, reason=reason, **who)
    except InvalidInput as exc:
        return await _render(visit, 422, {"until" if exc.place == "--until" else "reason": visit.refusal(exc)})
    message = "The person is blocked. Letters stopped: %(stopped)s; too late: %(late)s."
    return visit.go(_here(visit), message, stopped=done.stopped, late=done.too_late)


async def take_unblock(visit: Visit) -> Response:
    """Lifts the person's blocks for a job, or those for all jobs."""
    job, name = await _job_name(visit), await _external_id(visit)
    count = await unblock(visit.database, name, job=job, author=visit.author, now=visit.now)
    return visit.go(_here(visit), "Blocks lifted: %(count)s.", count=count)


async def take_letter(visit: Visit) -> Response:
    """A manual letter or a scheduled rejection: one field names both type and letter (`type|letter`).

    First the letter as the person will get it, then, confirmed, the order.
    """
    kind, _, letter = visit.field("letter").partition("|")
    if visit.field("step") == "edit":
        return await _render(visit)
    try:
        at = datetime.fromisoformat(visit.field("at")) if visit.field("at") else None
        if visit.field("step") != "save" and (shown := await _shown(visit, kind, letter, at)) is not None:
            return shown
        wish = Wish(kind, await _external_id(visit), letter, at)
        made = await create_order(visit.database, wish, author=visit.author, now=visit.now, once=True)
    except ValueError:
        return await _render(visit, 422, {"at": visit.text("a day and time")})
    except InvalidInput as exc:
        place = "at" if exc.place == "--at" else "letter"
        return await _render(visit, 422, {place: visit.refusal(exc)})
    return visit.go(f"/orders/{made['id']}", "The letter is planned.")


async def _shown(visit: Visit, kind: str, letter: str, at: datetime | None) -> Response | None:
    """What would go out, to whom and when; None where there is no such letter: the order is refused with the reason."""
    async with visit.database.read() as connection:
        row = await _load(connection, visit.path("id"))
        written = await write_stored(connection, letter, row["id"], visit.now)
    today = in_zone(visit.now, await visit.surroundings.zone())
    is_late = kind == "scheduled_rejection" and (at is None or today is None or at <= today.replace(tzinfo=None))
    if written is None or kind not in TYPES or is_late:
        return None
    values: dict[str, Any] = {"row": row, "written": written, "kind": kind, "letter": letter, "at": at}
    return visit.render("application_letter.html", **values, typed_at=visit.field("at"))


RECORD_PAGES = (
    Page("/applications/{id:int}", show, "view"),
    Page("/applications/{id:int}/opt-out", take_opt_out, "operate", ("POST",)),
    Page("/applications/{id:int}/evidence", take_evidence, "admin", ("POST",)),
    Page("/applications/{id:int}/opt-in", take_opt_in, "operate", ("POST",)),
    Page("/applications/{id:int}/address-works", take_address_works, "operate", ("POST",)),
    Page("/applications/{id:int}/wish", take_wish, "operate", ("POST",)),
    Page("/applications/{id:int}/block", take_block, "operate", ("POST",)),
    Page("/applications/{id:int}/unblock", take_unblock, "operate", ("POST",)),
    Page("/applications/{id:int}/letter", take_letter, "operate", ("POST",)),
)
