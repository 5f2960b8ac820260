"""Addresses that letters come back from: they count as none (D34) until another is given, or a person knows better."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.tables import applications, events, persons
from shared.db.transactions import in_transaction
from shared.db.write_orders.applications import take_back_claims
from shared.domain.text import fold
from shared.errors import NotFound, Refused

_A = applications.c


async def give_up_address(
    connection: AsyncConnection, person_id: int, address: str, reason: str, *, now: datetime, author: str
) -> list[int]:
    """All applications of the person with this address, in whatever case, have none from now on; the person is locked.

    Letters before T2 meet it there (D33) and end as `no_address`. Returns the applications; none: it was changed since.
    """
    theirs = select(_A.id, _A.external_id, _A.usable_email).where(
        _A.person_id == person_id, _A.usable_email.is_not(None), _A.reduced_at.is_(None)
    )
    found = await connection.execute(theirs.order_by(_A.id).with_for_update())
    rows = [row for row in found if fold(row.usable_email) == fold(address)]
    if not rows:
        return []
    ids = [row.id for row in rows]
    given_up = {"usable_email": None, "returned_email": _A.usable_email, "returned_at": now}
    await connection.execute(update(applications).where(_A.id.in_(ids)).values(given_up))
    await take_back_claims(connection, ids)
    await _record(connection, [(row.id, row.external_id) for row in rows], "give_up_address", reason, now, author)
    return ids


async def forget_returns(connection: AsyncConnection, application_ids: Sequence[int]) -> None:
    """These applications have another address now: whatever came back does not concern it."""
    if application_ids:
        values = {"returned_email": None, "returned_at": None}
        await connection.execute(update(applications).where(_A.id.in_(application_ids)).values(values))


async def restore_address(database: Database, application: str, *, author: str, now: datetime) -> list[str]:
    """A person knows that the address works: used again, by all applications of the person. Raises NotFound, Refused.

    Returns the applications' external ids.
    """

    async def once(connection: AsyncConnection) -> list[str]:
        owner = select(_A.person_id).where(_A.external_id == application.strip()).scalar_subquery()
        person = (
            await connection.execute(select(persons.c.id).where(persons.c.id == owner).with_for_update())
        ).scalar()
        if person is None:
            raise NotFound("application", application)
        theirs = select(_A.id, _A.external_id).where(_A.person_id == person, _A.returned_email.is_not(None))
        rows = (await connection.execute(theirs.order_by(_A.id).with_for_update())).all()
        if not rows:
            raise Refused(f"no letter to the person of application {application!r} has come back")
        restored = {"usable_email": _A.returned_email, "returned_email": None, "returned_at": None}
        await connection.execute(update(applications).where(_A.id.in_([row.id for row in rows])).values(restored))
        await _record(connection, [(row.id, row.external_id) for row in rows], "restore_address", None, now, author)
        return [row.external_id for row in rows]

    return await in_transaction(database, once)


async def _record(
    connection: AsyncConnection,
    whose: Sequence[tuple[int, str]],
    action: str,
    reason: str | None,
    now: datetime,
    author: str,
) -> None:
    event = {"at": now, "author": author, "action": action, "noun": "application", "reason": reason}
    rows = [event | {"record_id": id_, "record_name": name} for id_, name in whose]
    await connection.execute(insert(events), rows)
