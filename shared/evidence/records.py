"""The rows that are about one person, and about nobody else."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.audit_tables import approvals, event_seals
from shared.db.letter_data import load_custom_fields
from shared.db.person_file import job_names
from shared.db.tables import (
    application_statuses,
    applications,
    attempts,
    blocks,
    contact_entries,
    events,
    form_letter_versions,
    form_letters,
    persons,
    write_orders,
)
from shared.errors import NotFound

_A, _P, _B, _C = applications.c, persons.c, blocks.c, contact_entries.c
_O, _T, _E, _S, _V = write_orders.c, attempts.c, events.c, event_seals.c, form_letter_versions.c
#: What the system keeps of an application for itself: copies for comparing, and where it came from.
_OWN = ("id", "person_id", "status_id", "birth_month_day", "import_id", "import_line")
_CHANGES = ("create", "change", "copy")


async def load_person(connection: AsyncConnection, application: str) -> dict[str, Any]:
    """The person of an application, with id, opt-out and the ids of all applications. Raises NotFound."""
    owner = select(_A.person_id).where(_A.external_id == application.strip()).scalar_subquery()
    row = (await connection.execute(select(persons).where(_P.id == owner))).mappings().first()
    if row is None:
        raise NotFound("application", application)
    theirs = select(_A.id).where(_A.person_id == row["id"]).order_by(_A.external_id)
    return {**row, "applications": list((await connection.execute(theirs)).scalars())}


async def each_application(connection: AsyncConnection, ids: Sequence[int]) -> AsyncIterator[dict[str, Any]]:
    """Every field that is kept of each application, with its status and custom fields."""
    kept = [column for column in _A if column.name not in _OWN and not column.name.endswith("_folded")]
    status = application_statuses.c.name.label("status")
    source = applications.outerjoin(application_statuses, application_statuses.c.id == _A.status_id)
    for id_ in ids:
        found = (await connection.execute(select(*kept, status).select_from(source).where(_A.id == id_))).mappings()
        custom = (await load_custom_fields(connection, [id_])).get(id_, {})
        yield {**found.one(), "custom": custom}


async def each_letter(connection: AsyncConnection, ids: Sequence[int]) -> AsyncIterator[dict[str, Any]]:
    """Each write order with its attempts, its letter's name, and who had configured and approved it."""
    names = (_A.external_id.label("application"), form_letters.c.name.label("letter"))
    source = write_orders.join(applications, _A.id == _O.application_id)
    source = source.join(form_letters, form_letters.c.id == _O.letter_id)
    statement = select(write_orders, *names).select_from(source).where(_O.application_id.in_(ids)).order_by(_O.id)
    for order_id in list((await connection.execute(statement.with_only_columns(_O.id))).scalars()):
        row = dict((await connection.execute(statement.where(_O.id == order_id))).mappings().one())
        tries = select(attempts).where(_T.order_id == order_id).order_by(_T.attempt_no)
        row["tries"] = [dict(one) for one in (await connection.execute(tries)).mappings()]
        moment = row["sent_at"] or row["handed_over_at"] or row["mail_date"]
        row["configured_by"] = await _configured_by(connection, row, moment) if moment else None
        row["approved"] = await _approvals(connection, row, moment) if moment else []
        yield row


async def letter_as_written(connection: AsyncConnection, letter_id: int, version: int) -> dict[str, Any]:
    """A version with its placeholders, in its languages."""
    columns = (_V.subject, _V.text, _V.html, _V.language, _V.variants)
    found = select(*columns).where(_V.letter_id == letter_id, _V.version == version)
    return dict((await connection.execute(found)).mappings().one())


async def _configured_by(connection: AsyncConnection, order: Mapping[str, Any], moment: datetime) -> dict[str, str]:
    """Who had made the last change of job and letter before the letter went out; by kind of record."""
    found = {}
    # Switching it on is no configuring: that is told by the approvals, and by the history.
    set_up = or_(_E.field.is_(None), _E.field != "status")
    for noun, record_id in (("job", order["job_id"]), ("letter", order["letter_id"])):
        which = (_E.noun == noun, _E.record_id == record_id, _E.action.in_(_CHANGES), set_up, _E.at <= moment)
        last = select(_E.author).where(*which).order_by(_E.id.desc()).limit(1)
        if (author := (await connection.execute(last)).scalar_one_or_none()) is not None:
            found[noun] = author
    return found


async def _approvals(connection: AsyncConnection, order: Mapping[str, Any], moment: datetime) -> list[dict[str, Any]]:
    """Who had asked and who had approved: the job as it was then, and sending again."""
    p = approvals.c
    then = and_(p.decided_at <= moment, or_(p.ended_at.is_(None), p.ended_at >= moment))
    whose = or_(and_(p.job_id == order["job_id"], then), p.order_id == order["id"])
    columns = (p.asked_by, p.asked_at, p.decided_by, p.decided_at, p.seal)
    given = select(*columns).where(whose, p.decided_at.is_not(None), p.state != "refused").order_by(p.id)
    return [dict(row) for row in (await connection.execute(given)).mappings()]


async def each_block(connection: AsyncConnection, person_id: int) -> AsyncIterator[dict[str, Any]]:
    """Blocks, those lifted too."""
    rows = (await connection.execute(select(blocks).where(_B.person_id == person_id).order_by(_B.id))).mappings().all()
    names = await job_names(connection, {row["lineage_id"] for row in rows})
    for row in rows:
        yield {**row, "jobs": names.get(row["lineage_id"], [])}


def contacts_of(person_id: int, ids: Sequence[int]) -> Select[Any]:
    """Contact entries of the person and of their applications, oldest first."""
    whose = or_(_C.application_id.in_(ids), _C.person_id == person_id)
    columns = (_C.at, _C.medium, _C.direction, _C.subject, _C.body, _C.author, _A.external_id.label("application"))
    return select(*columns).outerjoin(applications, _A.id == _C.application_id).where(whose).order_by(_C.at, _C.id)


def history_of(person_id: int, ids: Sequence[int]) -> Select[Any]:
    """What the history says of person, applications and letters, each with its place in the chain of seals."""
    orders = select(_O.id).where(_O.application_id.in_(ids))
    whose = or_(
        and_(_E.noun == "person", _E.record_id == person_id),
        and_(_E.noun == "application", _E.record_id.in_(ids)),
        and_(_E.noun == "order", _E.record_id.in_(orders)),
    )
    columns = (*(column for column in _E if column.name != "record_id"), _S.number.label("seal"), _S.link)
    return select(*columns).outerjoin(event_seals, _S.event_id == _E.id).where(whose).order_by(_E.id)


async def each_row(connection: AsyncConnection, statement: Select[Any]) -> AsyncIterator[dict[str, Any]]:
    """The rows one by one, however many there are."""
    async with connection.stream(statement) as rows:
        async for row in rows.mappings():
            yield dict(row)
