"""`order create`: letters that people write to one application, now or at a set time (D30)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.named_records import id_of
from shared.db.system_settings import SystemSettings, load_system_settings
from shared.db.tables import (
    application_statuses,
    applications,
    form_letter_versions,
    form_letters,
    persons,
    write_orders,
)
from shared.db.transactions import in_transaction
from shared.db.write_orders.manual import ManualOrder, add_manual_order
from shared.domain.schedule import local_instant
from shared.errors import InvalidInput, NotFound, Refused

_A, _O = applications.c, write_orders.c
#: How long ago a wish may have been made that is taken for a second click.
JUST_NOW = timedelta(minutes=10)
#: So long a letter that may have arrived is the same one, not a new one to the same person.
STILL_THE_SAME = timedelta(days=30)
#: A manual order that could not be sent for so long is withdrawn, as a job's is by default (D19).
VALID = timedelta(days=5)
#: What people may ask for -> the meta statuses of the letters that fit; None: a letter that sets no status, too.
TASKS: dict[str, tuple[str | None, ...]] = {
    "invitation": ("interview",),
    "interim_notice": ("in_process", None),
    "rejection": ("rejected",),
    "contract": ("offer", "hired"),
    "scheduled_rejection": ("rejected",),
}
TYPES = ("manual", *TASKS)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: one of TYPES, by names; `at` is an instant or, without a zone, a local time."""

    type: str
    application: str
    letter: str
    at: datetime | None = None


async def create_order(
    database: Database, wish: Wish, *, author: str, now: datetime, once: bool = False
) -> dict[str, Any]:
    """Plans a manual order or a scheduled rejection; answers its id and time.

    `once`: the same wish of the last minutes is answered with its order, not with a second one (a double click).

    Raises InvalidInput, NotFound, or Refused where the letter does not fit the task or the application is closed.
    """
    if wish.type not in TYPES:
        near = get_close_matches(wish.type, TYPES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidInput("type", wish.type, f"must be one of {', '.join(TYPES)}{hint}")

    async def work(connection: AsyncConnection) -> dict[str, Any]:
        settings = await load_system_settings(connection)
        at = _moment(wish, settings, now)
        application = await _application(connection, wish)
        letter_id = await id_of(connection, form_letters, "letter", wish.letter, "--letter")
        await _refuse_unfitting(connection, wish, letter_id)
        order = ManualOrder(
            type="scheduled_rejection" if wish.type == "scheduled_rejection" else "manual",
            task=wish.type if wish.type in TASKS and wish.type != "scheduled_rejection" else None,
            person_id=application["person_id"],
            application_id=application["id"],
            letter_id=letter_id,
            occasion_day=at.astimezone(settings.zone).date(),
            time_zone=settings.time_zone,
            planned_for=at,
            expires_at=at + VALID,
        )
        order_id = await _made_just_now(connection, order, wish, now) if once else None
        if order_id is None and settings.four_eyes:
            await _refuse_second(connection, order, now)
        order_id = order_id or await add_manual_order(connection, order, author=author, now=now)
        planned_for = at.astimezone(settings.zone).isoformat()
        return {"id": order_id, "type": order.type, "task": order.task, "planned_for": planned_for}

    return await in_transaction(database, work)


async def _made_just_now(connection: AsyncConnection, order: ManualOrder, wish: Wish, now: datetime) -> int | None:
    """The order that the same wish has made already; the person's row, locked before, makes wishes queue up."""
    same = (
        *(_O.application_id == order.application_id, _O.letter_id == order.letter_id, _O.type == order.type),
        *(_O.task.is_not_distinct_from(order.task), _O.created_at > now - JUST_NOW),
        # One that was stopped or could not be sent is no answer to a wish that comes after it.
        _O.state.in_(("planned", "queued", "sending", "sent", "unclear")),
        # Of two wishes for "now" the moments differ.
        _O.planned_for == order.planned_for if wish.at is not None else _O.planned_for <= now,
    )
    return (await connection.execute(select(_O.id).where(*same).order_by(_O.id.desc()).limit(1))).scalar_one_or_none()


async def _refuse_second(connection: AsyncConnection, order: ManualOrder, now: datetime) -> None:
    """With four eyes: what is unclear, or was given up while it was, nobody sends again by a new order (S23)."""
    same = (_O.application_id == order.application_id, _O.letter_id == order.letter_id)
    in_doubt = (_O.state.in_(("unclear", "failed")), _O.handed_over_at > now - STILL_THE_SAME)
    if (await connection.execute(select(_O.id).where(*same, *in_doubt).limit(1))).first() is not None:
        raise Refused("this letter may have arrived; while an order is unclear, two users can send it again")


def _moment(wish: Wish, settings: SystemSettings, now: datetime) -> datetime:
    at = now if wish.at is None else wish.at
    if at.tzinfo is None:
        at = local_instant(at.date(), at.time(), settings.zone)
    if wish.type == "scheduled_rejection" and at <= now:
        given = None if wish.at is None else wish.at.isoformat()
        raise InvalidInput("--at", given, "a scheduled rejection needs a time to come, like 2026-12-01T08:00")
    if at < now - timedelta(days=1):
        raise InvalidInput("--at", at.isoformat(), "lies in the past")
    return max(at, now)


async def _application(connection: AsyncConnection, wish: Wish) -> RowMapping:
    """The application, its person locked first; raises NotFound, or Refused if it is closed."""
    owner = select(_A.person_id).where(_A.external_id == wish.application.strip()).scalar_subquery()
    await connection.execute(select(persons.c.id).where(persons.c.id == owner).with_for_update(key_share=True))
    statement = (
        select(_A.id, _A.person_id, _A.reduced_at, application_statuses.c.meta)
        .outerjoin_from(applications, application_statuses, application_statuses.c.id == _A.status_id)
        .where(_A.external_id == wish.application.strip())
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("application", wish.application)
    if row["reduced_at"] is not None:
        raise Refused(f"application {wish.application} is reduced to core data: nothing can be written to it")
    if wish.type == "scheduled_rejection" and row["meta"] in ("hired", "rejected"):
        raise Refused(f"application {wish.application} is {row['meta']} already: there is nothing to reject")
    return row


async def _refuse_unfitting(connection: AsyncConnection, wish: Wish, letter_id: int) -> None:
    """D30: a task offers only letters whose status has the fitting meta status."""
    fitting = TASKS.get(wish.type)
    letters = await letters_with_meta(connection)
    meta = next(found for one_id, _, found in letters if one_id == letter_id)
    if fitting is None or meta in fitting:
        return
    offered = ", ".join(repr(name) for _, name, found in letters if found in fitting)
    sets = f"sets a status that is {meta}" if meta else "sets no status"
    wanted = " or ".join(one or "none" for one in fitting)
    raise InvalidInput(
        "--letter", wish.letter, f"{sets}; {wish.type} needs {wanted}" + (f": {offered}" if offered else "")
    )


async def letters_with_meta(connection: AsyncConnection) -> Sequence[tuple[int, str, str | None]]:
    """Every letter with the meta status of the status that it sets, by name: what a task can offer."""
    version = form_letter_versions.c
    statement = (
        select(form_letters.c.id, form_letters.c.name, application_statuses.c.meta)
        .join(
            form_letter_versions,
            (version.letter_id == form_letters.c.id) & (version.version == form_letters.c.version),
        )
        .outerjoin(application_statuses, application_statuses.c.id == version.sets_status_id)
        .order_by(form_letters.c.name_folded)
    )
    return [(row.id, row.name, row.meta) for row in await connection.execute(statement)]
