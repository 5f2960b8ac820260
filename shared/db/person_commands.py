"""What is decided about a person: no contact care at all, not for now, or less of it (D25, D26, D27, D32).

By operators, who name an application; by the candidate, whom a link names by the order that it came with.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import ScalarSelect, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.job_rows import load_job_row
from shared.db.opt_outs import begin_opt_out, end_opt_out
from shared.db.suppressions import CANDIDATE, PAUSE_MONTHS, PAUSED, note_wish, paused_until
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, blocks, events, lineages, persons, write_orders
from shared.db.transactions import in_transaction
from shared.db.write_orders.interventions import block_person, lift_blocks
from shared.db.write_orders.wishes import withdraw_birthday_letters, withdraw_letters_beyond_one_a_year
from shared.domain.schedule import add_months
from shared.errors import InvalidInput, NotFound, Refused

T = TypeVar("T")
_A, _P, _B, _O = applications.c, persons.c, blocks.c, write_orders.c


@dataclass(frozen=True, slots=True)
class OfOrder:
    """The person whom an order was for: whose its application is by now."""

    id: int


#: Whose person it is: an application by its external id, or an order's.
Whose = str | OfOrder


class Less(StrEnum):
    """What a person may want less of, by the rule that keeps it from them (`recipients.stops`)."""

    NO_BIRTHDAY = "birthday"
    YEARLY = "yearly"


#: Column of the person, and the events of wanting it and of wanting letters as usual again.
_LESS = {
    Less.NO_BIRTHDAY: ("no_birthday_since", "no_birthday", "birthday"),
    Less.YEARLY: ("yearly_since", "yearly", "not_yearly"),
}


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a decision did to the letters on their way: stopped, and handed over already (too late)."""

    stopped: int = 0
    too_late: int = 0
    #: False: the person had decided so before, nothing changed.
    changed: bool = True


async def opt_out(database: Database, whose: Whose, *, reason: str | None, author: str, now: datetime) -> Stopped:
    """No more contact care for the person; letters before T2 are withdrawn. Raises NotFound."""

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        done = await begin_opt_out(connection, person["id"], reason=reason, author=author, now=now)
        return Stopped(*done) if done else Stopped(changed=False)

    return await _decide(database, whose, work)


async def opt_in(database: Database, whose: Whose, *, author: str, now: datetime) -> Stopped:
    """Contact care again; what was withdrawn stays so, plans to come count the person again. Raises NotFound."""

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        return Stopped(changed=await end_opt_out(connection, person["id"], author=author, now=now))

    return await _decide(database, whose, work)


async def want_less(database: Database, whose: Whose, less: Less, *, author: str, now: datetime) -> Stopped:
    """No birthday letters, or at most one letter a year; letters before T2 that are too many are withdrawn."""
    column, action, _ = _LESS[less]

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        if person[column] is not None:
            return Stopped(changed=False)
        await connection.execute(update(persons).where(_P.id == person["id"]).values({column: now}))
        withdraw = withdraw_birthday_letters if less is Less.NO_BIRTHDAY else withdraw_letters_beyond_one_a_year
        stopped, late = await withdraw(connection, person["id"], now=now, author=author)
        await note_wish(connection, person["id"], author)
        await _record(connection, person, action, None, author, now)
        return Stopped(stopped, late)

    return await _decide(database, whose, work)


async def want_as_usual(database: Database, whose: Whose, less: Less, *, author: str, now: datetime) -> Stopped:
    """Takes it back; what was withdrawn stays so, plans to come count the person again."""
    column, _, action = _LESS[less]

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        if person[column] is None:
            return Stopped(changed=False)
        await connection.execute(update(persons).where(_P.id == person["id"]).values({column: None}))
        await note_wish(connection, person["id"], author, taken_back=column)
        await _record(connection, person, action, None, author, now)
        return Stopped()

    return await _decide(database, whose, work)


async def pause(database: Database, whose: Whose, *, now: datetime) -> Stopped:
    """The candidate wants no letters for six months, the last day included: a block of all jobs (D32)."""

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        today = now.astimezone((await load_system_settings(connection)).zone).date()
        if await paused_until(connection, person["id"], today) is not None:
            return Stopped(changed=False)
        until = add_months(today, PAUSE_MONTHS)
        stopped, late = await block_person(
            connection, person["id"], None, reason=PAUSED, until=until, now=now, author=CANDIDATE
        )
        await note_wish(connection, person["id"], CANDIDATE)
        await _record(connection, person, "block", PAUSED, CANDIDATE, now)
        return Stopped(stopped, late)

    return await _decide(database, whose, work)


async def end_pause(database: Database, whose: Whose, *, now: datetime) -> Stopped:
    """The candidate takes the pause back; whoever else has blocked the person has still done so."""

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        own = (_B.person_id == person["id"], _B.author == CANDIDATE, _B.scope == "all", _B.lifted_at.is_(None))
        ids = list((await connection.execute(select(_B.id).where(*own))).scalars())
        if not ids:
            return Stopped(changed=False)
        await lift_blocks(connection, ids, now=now, author=CANDIDATE)
        await note_wish(connection, person["id"], CANDIDATE, taken_back="paused_until")
        await _record(connection, person, "unblock", None, CANDIDATE, now)
        return Stopped()

    return await _decide(database, whose, work)


async def block(
    database: Database,
    application: str,
    *,
    job: str | None,
    until: date | None,
    reason: str,
    author: str,
    now: datetime,
) -> Stopped:
    """Blocks the person for a job, or without one for all jobs, until a day or for good (D32)."""
    if not reason.strip():
        raise InvalidInput("--reason", reason, "say why")
    if until is not None and job is not None:
        raise InvalidInput("--until", until.isoformat(), "only for all jobs, without --job")

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        lineage_id = (await load_job_row(connection, job))["lineage_id"] if job is not None else None
        stopped, late = await block_person(
            connection, person["id"], lineage_id, reason=reason, until=until, now=now, author=author
        )
        await _record(connection, person, "block", reason, author, now)
        return Stopped(stopped, late)

    return await _decide(database, application, work, job)


async def unblock(database: Database, application: str, *, job: str | None, author: str, now: datetime) -> int:
    """Lifts the person's blocks for a job, or without one those for all jobs; returns how many. Refused if none."""

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> int:
        lineage_id = (await load_job_row(connection, job))["lineage_id"] if job is not None else None
        of_scope = (_B.scope == "job", _B.lineage_id == lineage_id) if job is not None else (_B.scope == "all",)
        standing = select(_B.id).where(_B.person_id == person["id"], _B.lifted_at.is_(None), *of_scope)
        ids = list((await connection.execute(standing)).scalars())
        if not ids:
            whose = f"for job {job!r}" if job is not None else "for all jobs"
            raise Refused(f"the person of application {application!r} has no block {whose}")
        lifted = await lift_blocks(connection, ids, now=now, author=author)
        if job is None:  # a pause among them is over
            await note_wish(connection, person["id"], author, taken_back="paused_until")
        await _record(connection, person, "unblock", None, author, now)
        return lifted

    return await _decide(database, application, work, job)


async def _decide(
    database: Database,
    whose: Whose,
    work: Callable[[AsyncConnection, Mapping[str, Any]], Awaitable[T]],
    job: str | None = None,
) -> T:
    """One transaction with the person locked, after the job's lineage: the house's order."""

    async def once(connection: AsyncConnection) -> T:
        if job is not None:
            lineage_id = (await load_job_row(connection, job))["lineage_id"]
            await connection.execute(select(lineages.c.id).where(lineages.c.id == lineage_id).with_for_update())
        # No more than the candidates' page may read.
        wishes = (_P.opted_out_at, _P.no_birthday_since, _P.yearly_since)
        locked = select(_P.id, *wishes).where(_P.id == owner_of(whose)).with_for_update()
        person = (await connection.execute(locked)).mappings().first()
        if person is None:
            raise NotFound("order", whose.id) if isinstance(whose, OfOrder) else NotFound("application", whose)
        return await work(connection, {str(key): value for key, value in person.items()})

    return await in_transaction(database, once)


def owner_of(whose: Whose) -> ScalarSelect[int]:
    """The id of the person."""
    if isinstance(whose, OfOrder):
        return (
            select(_A.person_id)
            .join(write_orders, _O.application_id == _A.id)
            .where(_O.id == whose.id)
            .scalar_subquery()
        )
    return select(_A.person_id).where(_A.external_id == whose.strip()).scalar_subquery()


async def _record(
    connection: AsyncConnection,
    person: Mapping[str, Any],
    action: str,
    reason: str | None,
    author: str,
    now: datetime,
) -> None:
    event = {"at": now, "author": author, "action": action, "noun": "person", "record_id": person["id"]}
    await connection.execute(insert(events).values(event | {"reason": reason}))
