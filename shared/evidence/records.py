"""The rows that are about one person, and about nobody else."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.audit_tables import event_seals
from shared.db.column_types import any_of
from shared.db.letter_data import load_custom_fields
from shared.db.person_file import job_names
from shared.db.person_moves import earlier_records
from shared.db.suppressions import noted_wishes
from shared.db.tables import (
    application_statuses,
    applications,
    blocks,
    candidate_requests,
    consent_requests,
    contact_entries,
    events,
    persons,
    returned_mails,
    write_orders,
)
from shared.errors import NotFound
from shared.evidence.contents import told

_A, _P, _B, _C, _O = applications.c, persons.c, blocks.c, contact_entries.c, write_orders.c
_E, _S, _R, _Q, _M = events.c, event_seals.c, candidate_requests.c, consent_requests.c, returned_mails.c


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose rows they are: one person, by every id that stands for it."""

    person: Mapping[str, Any]
    #: The person, and what its applications were before a merger (D24).
    people: Sequence[int]
    #: Of those, what somebody else was too: whose an entry is nobody can tell here, so it is not in the file.
    shared: Sequence[int]
    applications: Sequence[int]
    orders: Sequence[int]


async def load_whose(connection: AsyncConnection, application: str) -> Whose:
    """The person of an application. Raises NotFound."""
    owner = select(_A.person_id).where(_A.external_id == application.strip()).scalar_subquery()
    person = (await connection.execute(select(*told(persons)).where(_P.id == owner))).mappings().first()
    if person is None:
        raise NotFound("application", application)
    theirs = select(_A.id).where(_A.person_id == person["id"]).order_by(_A.external_id)
    ids = list((await connection.execute(theirs)).scalars())
    written = select(_O.id).where(any_of(_O.application_id, ids)).order_by(_O.id)
    orders = list((await connection.execute(written)).scalars())
    own, shared = await earlier_records(connection, person["id"], ids)
    return Whose(dict(person), [person["id"], *own], shared, ids, orders)


async def load_earlier(connection: AsyncConnection, whose: Whose) -> list[dict[str, Any]]:
    """The records that the person was before, each with what holds of it still."""
    earlier = [one for one in whose.people if one != whose.person["id"]]
    rows = await connection.execute(select(*told(persons)).where(any_of(_P.id, earlier)).order_by(_P.id))
    return [dict(row) for row in rows.mappings()]


async def each_application(connection: AsyncConnection, whose: Whose) -> AsyncIterator[dict[str, Any]]:
    """Every field that is kept of each application, with its status and custom fields."""
    status = application_statuses.c.name.label("status")
    source = applications.outerjoin(application_statuses, application_statuses.c.id == _A.status_id)
    for id_ in whose.applications:
        kept = select(*told(applications), status).select_from(source).where(_A.id == id_)
        custom = (await load_custom_fields(connection, [id_])).get(id_, {})
        yield {**(await connection.execute(kept)).mappings().one(), "custom": custom}


async def each_block(connection: AsyncConnection, whose: Whose) -> AsyncIterator[dict[str, Any]]:
    """Blocks, those lifted too; of earlier records also those that were copied to the person."""
    found = select(*told(blocks), _B.lineage_id).where(any_of(_B.person_id, whose.people)).order_by(_B.id)
    rows = (await connection.execute(found)).mappings().all()
    names = await job_names(connection, {row["lineage_id"] for row in rows})
    for row in rows:
        kept = {str(name): value for name, value in row.items() if name != "lineage_id"}
        yield kept | {"jobs": names.get(row["lineage_id"], [])}


async def each_wish(connection: AsyncConnection, whose: Whose) -> AsyncIterator[dict[str, Any]]:
    """Wishes noted under hashes of what the person is known by now: identities and addresses, also former ones."""
    identities = select(_P.identity).where(any_of(_P.id, whose.people))
    known = list((await connection.execute(identities.order_by(_P.id))).scalars())
    of_applications = select(_A.usable_email, _A.returned_email, _A.email).where(any_of(_A.id, whose.applications))
    given = {one for row in await connection.execute(of_applications) for one in row if one}
    written_to = select(_O.email).distinct().where(any_of(_O.id, whose.orders), _O.email.is_not(None))
    given |= set((await connection.execute(written_to)).scalars())
    for row in await noted_wishes(connection, known, given):
        yield row


def contacts_of(whose: Whose) -> Select[Any]:
    """Contact entries of the person and of their applications, oldest first."""
    theirs = or_(any_of(_C.application_id, whose.applications), any_of(_C.person_id, whose.people))
    columns = (*told(contact_entries), _A.external_id.label("application"))
    return select(*columns).outerjoin(applications, _A.id == _C.application_id).where(theirs).order_by(_C.at, _C.id)


def requests_of(whose: Whose) -> Select[Any]:
    """What the candidate asked for on their page, done or not."""
    columns = (*told(candidate_requests), _A.external_id.label("application"))
    theirs = select(*columns).join(applications, _A.id == _R.application_id)
    return theirs.where(any_of(_R.application_id, whose.applications)).order_by(_R.id)


def consents_of(whose: Whose) -> Select[Any]:
    """What consent letters asked, what was answered, and what came of it."""
    rejecting, prior = application_statuses.alias(), application_statuses.alias()
    names = (_O.job_name.label("job"), rejecting.c.name.label("status"), prior.c.name.label("prior_status"))
    return (
        select(*told(consent_requests), *names)
        .join(write_orders, _O.id == _Q.order_id)
        .outerjoin(rejecting, rejecting.c.id == _Q.status_id)
        .outerjoin(prior, prior.c.id == _Q.prior_status_id)
        .where(any_of(_Q.order_id, whose.orders))
        .order_by(_Q.order_id)
    )


def returned_of(whose: Whose) -> Select[Any]:
    """What came back about the person's letters, and what it led to."""
    return select(*told(returned_mails)).where(any_of(_M.order_id, whose.orders)).order_by(_M.id)


def history_of(whose: Whose) -> Select[Any]:
    """What the history says of person, applications and letters, each with its place in the chain of seals."""
    nouns = {"person": whose.people, "application": whose.applications, "order": whose.orders}
    # Apart, and by values: each finds its index.
    ids = [select(_E.id).where(_E.noun == noun, any_of(_E.record_id, theirs)) for noun, theirs in nouns.items()]
    found = union_all(*ids).subquery()
    joined = events.join(found, found.c.id == _E.id).outerjoin(event_seals, _S.event_id == _E.id)
    return select(*told(events), _S.number.label("seal"), *told(event_seals)).select_from(joined).order_by(_E.id)


async def each_row(connection: AsyncConnection, statement: Select[Any]) -> AsyncIterator[dict[str, Any]]:
    """The rows one by one, however many there are."""
    async with connection.stream(statement) as rows:
        async for row in rows.mappings():
            yield dict(row)
