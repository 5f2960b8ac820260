"""One application with its person: facts, timeline, duplicates, and what may be done."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from services.console.routing import Page
from services.console.visits import Visit
from shared.db.column_types import any_of
from shared.db.manual_orders import TASKS, TYPES, Wish, create_order, letters_with_meta
from shared.db.person_commands import block, opt_in, opt_out, unblock
from shared.db.person_file import show_person
from shared.db.tables import application_statuses, applications, contact_entries, contact_jobs
from shared.errors import InvalidInput, NotFound

_A = applications.c
#: Entries of a timeline.
_SHOWN = 200


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


async def _timeline(connection: AsyncConnection, row: dict[str, Any], person: dict[str, Any]) -> list[dict[str, Any]]:
    c = contact_entries.c
    # Fetched, not a subquery: for an OR with one, PostgreSQL reads the contacts of everybody.
    theirs = list((await connection.execute(select(_A.id).where(_A.person_id == row["person_id"]))).scalars())
    of_person = or_(any_of(c.application_id, theirs), c.person_id == row["person_id"])
    entries = select(c.at, c.medium, c.direction, c.subject).where(of_person).order_by(c.at.desc()).limit(_SHOWN)
    found = [{"kind": "contact", **one} for one in (await connection.execute(entries)).mappings()]
    for letter in person["letters"]:
        at = datetime.fromisoformat(letter["sent_at"] or letter["planned_for"])
        found.append({"kind": "letter", **letter, "at": at})
    for block_ in person["blocks"]:
        found.append({"kind": "block", **block_, "at": datetime.fromisoformat(block_["since"])})
    return sorted(found, key=lambda one: one["at"], reverse=True)[:_SHOWN]


async def _render(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    async with visit.database.read() as connection:
        row = await _load(connection, visit.path("id"))
        person = await show_person(connection, row["external_id"])
        timeline = await _timeline(connection, row, person)
        ids = select(_A.id, _A.external_id).where(_A.person_id == row["person_id"])
        addresses = {one.external_id: one.id for one in await connection.execute(ids)}
        jobs = await _jobs(connection)
        letters = await letters_with_meta(connection)
    offered = {kind: [name for _, name, meta in letters if kind not in TASKS or meta in TASKS[kind]] for kind in TYPES}
    for one in person["applications"]:
        received = one["received_on"]
        one["received_on"] = date.fromisoformat(received) if received else None
    typed = {name: visit.field(name) for name in ("letter", "at", "reason", "job", "until")}
    return visit.render(
        "application.html",
        status,
        row=row,
        person=person,
        timeline=timeline,
        addresses=addresses,
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
    message = "Opted out of contact care; %(stopped)s letters stopped, too late for %(late)s."
    return visit.go(_here(visit), message, stopped=done.stopped, late=done.too_late)


async def take_opt_in(visit: Visit) -> Response:
    """Contact care again."""
    await opt_in(visit.database, await _external_id(visit), author=visit.author, now=visit.now)
    return visit.go(_here(visit), "The person takes part in contact care again.")


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
    done = await block(visit.database, name, job=job, until=until, reason=reason, author=visit.author, now=visit.now)
    message = "The person is blocked; %(stopped)s letters stopped, too late for %(late)s."
    return visit.go(_here(visit), message, stopped=done.stopped, late=done.too_late)


async def take_unblock(visit: Visit) -> Response:
    """Lifts the person's blocks for a job, or those for all jobs."""
    job, name = await _job_name(visit), await _external_id(visit)
    count = await unblock(visit.database, name, job=job, author=visit.author, now=visit.now)
    return visit.go(_here(visit), "%(count)s blocks lifted.", count=count)


async def take_letter(visit: Visit) -> Response:
    """A manual letter or a scheduled rejection: one field names both type and letter (`type|letter`)."""
    kind, _, letter = visit.field("letter").partition("|")
    try:
        at = datetime.fromisoformat(visit.field("at")) if visit.field("at") else None
        wish = Wish(kind, await _external_id(visit), letter, at)
        made = await create_order(visit.database, wish, author=visit.author, now=visit.now)
    except ValueError:
        return await _render(visit, 422, {"at": visit.text("a day and time")})
    except InvalidInput as exc:
        place = "at" if exc.place == "--at" else "letter"
        return await _render(visit, 422, {place: visit.text(exc.fix)})
    return visit.go(f"/orders/{made['id']}", "The letter is planned.")


RECORD_PAGES = (
    Page("/applications/{id:int}", show, "view"),
    Page("/applications/{id:int}/opt-out", take_opt_out, "operate", ("POST",)),
    Page("/applications/{id:int}/opt-in", take_opt_in, "operate", ("POST",)),
    Page("/applications/{id:int}/block", take_block, "operate", ("POST",)),
    Page("/applications/{id:int}/unblock", take_unblock, "operate", ("POST",)),
    Page("/applications/{id:int}/letter", take_letter, "operate", ("POST",)),
)
