"""What people decide about a person: no contact care at all, or not for now (D25, D26, D32)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.job_rows import load_job_row
from shared.db.tables import applications, blocks, events, lineages, persons
from shared.db.transactions import in_transaction
from shared.db.write_orders.interventions import block_person, lift_blocks, withdraw_open_letters_of_person
from shared.errors import InvalidInput, NotFound, Refused

T = TypeVar("T")
_A, _P, _B = applications.c, persons.c, blocks.c


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a decision did to the letters on their way: stopped, and handed over already (too late)."""

    stopped: int = 0
    too_late: int = 0
    #: False: the person had decided so before, nothing changed.
    changed: bool = True


async def opt_out(database: Database, application: str, *, reason: str | None, author: str, now: datetime) -> Stopped:
    """No more contact care for the person of an application; letters before T2 are withdrawn. Raises NotFound."""

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        if person["opted_out_at"] is not None:
            return Stopped(changed=False)
        values = {"opted_out_at": now, "opted_out_by": author}
        await connection.execute(update(persons).where(_P.id == person["id"]).values(values))
        stopped, late = await withdraw_open_letters_of_person(
            connection, person["id"], withdrawn_by="opted_out", reason="opted out", now=now, author=author
        )
        await _record(connection, person, "opt_out", reason, author, now)
        return Stopped(stopped, late)

    return await _decide(database, application, work)


async def opt_in(database: Database, application: str, *, author: str, now: datetime) -> Stopped:
    """Contact care again; what was withdrawn stays so, plans to come count the person again. Raises NotFound."""

    async def work(connection: AsyncConnection, person: Mapping[str, Any]) -> Stopped:
        if person["opted_out_at"] is None:
            return Stopped(changed=False)
        values = {"opted_out_at": None, "opted_out_by": None}
        await connection.execute(update(persons).where(_P.id == person["id"]).values(values))
        await _record(connection, person, "opt_in", None, author, now)
        return Stopped()

    return await _decide(database, application, work)


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
        await _record(connection, person, "unblock", None, author, now)
        return lifted

    return await _decide(database, application, work, job)


async def _decide(
    database: Database,
    application: str,
    work: Callable[[AsyncConnection, Mapping[str, Any]], Awaitable[T]],
    job: str | None = None,
) -> T:
    """One transaction with the person locked, after the job's lineage: the house's order."""

    async def once(connection: AsyncConnection) -> T:
        if job is not None:
            lineage_id = (await load_job_row(connection, job))["lineage_id"]
            await connection.execute(select(lineages.c.id).where(lineages.c.id == lineage_id).with_for_update())
        owner = select(_A.person_id).where(_A.external_id == application.strip()).scalar_subquery()
        locked = select(persons).where(_P.id == owner).with_for_update()
        person = (await connection.execute(locked)).mappings().first()
        if person is None:
            raise NotFound("application", application)
        return await work(connection, {str(key): value for key, value in person.items()})

    return await in_transaction(database, once)


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
