"""The maintained columns of last contacts (D20, D23), computed anew from the entries."""

from collections.abc import Sequence

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import applications, contact_entries, persons

_A, _P, _C = applications.c, persons.c, contact_entries.c
#: Ids per statement.
_CHUNK = 1000


async def recompute_persons(connection: AsyncConnection, person_ids: Sequence[int]) -> None:
    """The latest entry that counts for the person: its own, and those of its applications that say so."""
    own = select(func.max(_C.at)).where(_C.person_id == _P.id, _C.counts_for_person).scalar_subquery()
    theirs = (
        select(func.max(_C.at))
        .join(applications, _A.id == _C.application_id)
        .where(_A.person_id == _P.id, _C.counts_for_person)
        .scalar_subquery()
    )
    latest = case((own.is_(None), theirs), (or_(theirs.is_(None), own >= theirs), own), else_=theirs)
    for start in range(0, len(person_ids), _CHUNK):
        some = _P.id.in_(person_ids[start : start + _CHUNK])
        await connection.execute(update(persons).where(some).values(last_contact_at=latest))


async def recompute_applications(connection: AsyncConnection, application_ids: Sequence[int]) -> None:
    """The latest entry of the application itself, and the latest outgoing one."""
    any_entry = select(func.max(_C.at)).where(_C.application_id == _A.id)
    outgoing = any_entry.where(_C.direction == "outgoing").scalar_subquery()
    values = {"last_contact_at": any_entry.scalar_subquery(), "last_outgoing_at": outgoing}
    for start in range(0, len(application_ids), _CHUNK):
        some = _A.id.in_(application_ids[start : start + _CHUNK])
        await connection.execute(update(applications).where(some).values(values))
