"""A batch of contact entries as a few statements over a temporary table."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    MetaData,
    Result,
    Row,
    Table,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier, Instant, PlainText
from shared.db.last_contacts import recompute_applications, recompute_persons
from shared.db.person_tables import earlier_persons
from shared.db.tables import applications, contact_entries, persons
from shared.importing.batches import Batch, Import, refuse_second_row
from shared.importing.bulk import among, load, upsert
from shared.importing.contact_rows import OPTIONAL, ContactRow, counts_for_person
from shared.importing.report import RowError

_A, _P, _C, _B = applications.c, persons.c, contact_entries.c, earlier_persons.c
_FIELDS = (
    *("application_id", "person_id", "at", "medium", "direction", "subject", "body", "author", "counts_for_person"),
    *("import_id", "import_line"),
)
_TABLE_COLUMN = {"user": "author"}

_INCOMING = Table(
    "incoming_contacts",
    MetaData(),
    Column("line", Integer),
    Column("identity", PlainText),
    Column("application_id", Identifier),
    Column("person_id", Identifier),
    Column("at", Instant),
    Column("medium", PlainText),
    Column("direction", PlainText),
    Column("subject", PlainText),
    Column("body", PlainText),
    Column("author", PlainText),
    Column("counts_for_person", Boolean),
    prefixes=["TEMPORARY"],
)
_I = _INCOMING.c


class ContactWriter:
    """Writes batches."""

    def __init__(self, this: Import) -> None:
        self._this = this

    async def write(self, connection: AsyncConnection, batch: Batch) -> None:
        """Entries of one batch, and the last contacts that they change."""
        people, owners = await _people(connection, batch), await _owners(connection, batch)
        known = await _known(connection, batch)
        updated: list[Row[Any]] = []
        records: dict[str, tuple[Any, ...]] = {}
        for line, row in batch:
            owner = people.get(row.person) if row.person else owners.get(row.application)
            found = known.get(row.identity)
            if not self._accept(line, row, owner, found):
                continue
            if row.external_id is None and (found or row.identity in records):
                self._this.report.repeated += 1
                continue
            if found:
                updated.append(found)
            records[row.identity] = _record(line, row, owner, found)
        await load(connection, _INCOMING, list(records.values()))
        await self._upsert(connection)
        await _raise_last_contacts(connection)
        await _lower_last_contacts(connection, updated)
        self._this.report.updated += len(updated)
        self._this.report.inserted += len(records) - len(updated)

    def _accept(self, line: int, row: ContactRow, owner: Row[Any] | None, found: Row[Any] | None) -> bool:
        error = _refusal(row, owner)
        if error is not None:
            self._this.report.reject(line, error)
            if row.external_id is not None:
                self._this.bad_ids.setdefault(row.external_id, line)
        elif row.external_id is not None and found is not None and found.import_id == self._this.id:
            refuse_second_row(self._this, line, row.external_id, found.import_line)
        else:
            return True
        return False

    async def _upsert(self, connection: AsyncConnection) -> None:
        own = {"import_id": literal(self._this.id, PlainText), "import_line": _I.line}
        # `true`: SQLite would else read ON CONFLICT as a join's ON.
        source = select(_I.identity, *(own.get(name, _I.get(name)) for name in _FIELDS)).where(true())
        insert = upsert(connection, contact_entries).from_select(["identity", *_FIELDS], source.order_by(_I.line))
        changed = {name: insert.excluded[name] for name in _FIELDS}
        by_id = _C.identity.startswith("id:")
        await connection.execute(insert.on_conflict_do_update(index_elements=["identity"], set_=changed, where=by_id))


async def _people(connection: AsyncConnection, batch: Batch) -> dict[str, Row[Any]]:
    """Persons by duplicate set, locked before applications and by ascending id, as every transaction does.

    Who has no application left is reduced as soon as those are whom its applications went to: as reduction does it.
    """
    sets = sorted({row.person for _, row in batch if row.person})
    theirs = exists().where(_A.person_id == _P.id)
    went = exists().where(_B.person_id == _P.id)
    to = select(_A.person_id).join(earlier_persons, _B.application_id == _A.id).where(_B.person_id == _P.id)
    unreduced = applications.alias("unreduced").c
    awaited = exists().where(unreduced.person_id.in_(to.correlate(persons)), unreduced.reduced_at.is_(None))
    reduced = or_(and_(theirs, ~theirs.where(_A.reduced_at.is_(None))), and_(~theirs, went, ~awaited))
    columns = (_P.id, _P.duplicate_set, reduced.label("is_reduced"))
    statement = select(*columns).where(among(connection, _P.duplicate_set, sets)).order_by(_P.id)
    found: Result[Any] = await connection.execute(statement.with_for_update(key_share=True))
    return {row.duplicate_set: row for row in found}


async def _owners(connection: AsyncConnection, batch: Batch) -> dict[str | None, Row[Any]]:
    names = sorted({row.application for _, row in batch if row.application})
    columns = (_A.id, _A.external_id, _A.reduced_at)
    statement = select(*columns).where(among(connection, _A.external_id, names)).order_by(_A.id)
    found: Result[Any] = await connection.execute(statement.with_for_update(key_share=True))
    return {row.external_id: row for row in found}


async def _known(connection: AsyncConnection, batch: Batch) -> dict[str, Row[Any]]:
    """The entries that exist, by identity; with the values that a row leaves unchanged."""
    identities = [row.identity for _, row in batch]
    kept = {_TABLE_COLUMN.get(name, name) for name in OPTIONAL if any(name not in row.texts for _, row in batch)}
    columns = (_C.identity, _C.import_id, _C.import_line, _C.application_id, _C.person_id, *(_C[n] for n in kept))
    rows = await connection.execute(select(*columns).where(among(connection, _C.identity, identities)))
    return {row.identity: row for row in rows}


def _refusal(row: ContactRow, owner: Row[Any] | None) -> RowError | None:
    if row.person:
        if owner is None:
            return RowError("person", row.person, "there is no such duplicate set")
        reason = "all its applications are reduced to core data; it takes no more entries"
        return RowError("person", row.person, reason) if owner.is_reduced else None
    name = row.application or ""
    if owner is None:
        return RowError("application", name, "there is no such application")
    if owner.reduced_at is not None:
        return RowError("application", name, "is reduced to core data; it takes no more entries")
    return None


def _record(line: int, row: ContactRow, owner: Any, found: Row[Any] | None) -> tuple[Any, ...]:
    """By the columns of the temporary table."""
    kept: Mapping[Any, Any] = found._mapping if found is not None else {}
    ids = (None, owner.id) if row.person else (owner.id, None)
    texts = [row.texts[name] if name in row.texts else kept.get(_TABLE_COLUMN.get(name, name)) for name in OPTIONAL]
    counts = row.person is not None and counts_for_person(row.medium, row.direction)
    return (line, row.identity, *ids, row.at, row.medium, row.direction, *texts, counts)


async def _raise_last_contacts(connection: AsyncConnection) -> None:
    """New entries can only make a last contact later. Persons first: the house's order of locks."""
    theirs = (
        select(_I.person_id, func.max(_I.at).label("at"))
        .where(_I.person_id.is_not(None), _I.counts_for_person)
        .group_by(_I.person_id)
        .subquery()
    )
    is_later = (_P.id == theirs.c.person_id, _is_later(theirs.c.at, _P.last_contact_at))
    await connection.execute(update(persons).where(*is_later).values(last_contact_at=theirs.c.at))
    own = (
        select(_I.application_id, func.max(_I.at).label("at"))
        .add_columns(func.max(case((_I.direction == "outgoing", _I.at))).label("outgoing_at"))
        .where(_I.application_id.is_not(None))
        .group_by(_I.application_id)
        .subquery()
    )
    any_later = _is_later(own.c.at, _A.last_contact_at)
    out_later = _is_later(own.c.outgoing_at, _A.last_outgoing_at)
    values = {
        "last_contact_at": case((any_later, own.c.at), else_=_A.last_contact_at),
        "last_outgoing_at": case((out_later, own.c.outgoing_at), else_=_A.last_outgoing_at),
    }
    touched = (_A.id == own.c.application_id, or_(any_later, out_later))
    await connection.execute(update(applications).where(*touched).values(values))


def _is_later(new: Any, present: Any) -> Any:
    return (new > present) | (present.is_(None) & new.is_not(None))


async def _lower_last_contacts(connection: AsyncConnection, updated: list[Row[Any]]) -> None:
    """Entries that were changed may make a last contact earlier, or belong to somebody else now."""
    await recompute_persons(connection, sorted({row.person_id for row in updated if row.person_id is not None}))
    owners = {row.application_id for row in updated if row.application_id is not None}
    await recompute_applications(connection, sorted(owners))
