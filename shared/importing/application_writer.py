"""A batch of applications as a few statements over a temporary table."""

from array import array
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    Integer,
    MetaData,
    Row,
    Table,
    delete,
    exists,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier, PlainText, any_of
from shared.db.engine import Database
from shared.db.history import StatusChange, record_status_changes
from shared.db.kept_wishes import keep_wishes
from shared.db.person_moves import follow_moves
from shared.db.reduction import forget_lifted_rejections
from shared.db.returned_addresses import forget_returns
from shared.db.suppressions import are_any, note_wishes, settle_waiting_wishes, settle_wishes
from shared.db.tables import FOLDED, applications, custom_fields, persons
from shared.db.transactions import in_transaction
from shared.db.write_orders.applications import take_back_claims
from shared.domain.duplicates import identity_of
from shared.domain.text import fold_or_none
from shared.importing.application_rows import DATES, TEXTS, ApplicationRow
from shared.importing.batches import BATCH_ROWS, Batch, Import, refuse_second_row
from shared.importing.bulk import among, load, upsert
from shared.importing.report import RowError

_A, _P = applications.c, persons.c
_FIELDS = (
    *("kind", "status_id", "in_pool", *TEXTS, *DATES),
    *("birth_month_day", "usable_email", *(f"{name}_folded" for name in FOLDED)),
)
_INCOMING = Table(
    "incoming_applications",
    MetaData(),
    Column("line", Integer),
    Column("identity", PlainText),
    Column("duplicate_set", PlainText),
    Column("external_id", PlainText),
    Column("kind", PlainText),
    Column("status_id", Identifier),
    Column("in_pool", Boolean),
    *(Column(name, PlainText) for name in TEXTS),
    *(Column(name, Date) for name in DATES),
    Column("birth_month_day", Integer),
    *(Column(name, PlainText) for name in ("usable_email", *(f"{name}_folded" for name in FOLDED))),
    prefixes=["TEMPORARY"],
)
_INCOMING_CUSTOM = Table(
    "incoming_custom_fields",
    MetaData(),
    Column("external_id", PlainText),
    Column("name_folded", PlainText),
    Column("name", PlainText),
    Column("value", PlainText),
    Column("value_folded", PlainText),
    prefixes=["TEMPORARY"],
)
_I, _IC = _INCOMING.c, _INCOMING_CUSTOM.c
_DEFAULTS = {"kind": "application", "in_pool": False}


class ApplicationWriter:
    """Writes batches; `keys` are the columns on which applications without a set are one person (D24)."""

    def __init__(self, this: Import, keys: Sequence[str]) -> None:
        self._this, self._keys = this, keys
        #: Ids of applications that are new, or have another address or person.
        self._others = array("q")

    async def write(self, connection: AsyncConnection, batch: Batch) -> None:
        """Persons, applications and custom fields of one batch, and what follows from the changes."""
        present = await self._present(connection, [row for _, row in batch])
        await settle_wishes(connection, {found.person_id for found in present.values()})
        accepted = [(line, row) for line, row in batch if self._accept(line, row, present.get(row.external_id))]
        records = [self._record(line, row, present.get(row.external_id)) for line, row in accepted]
        await load(connection, _INCOMING, [tuple(map(record.get, _INCOMING.c.keys())) for record in records])
        await _add_persons(connection)
        changes = [(found, record) for record in records if (found := present.get(record["external_id"]))]
        mailed = {found.id: found for found, record in changes if found.usable_email != record["usable_email"]}
        # Before an address is gone: what was wished under it holds for whoever comes with it.
        await note_wishes(connection, {found.person_id for found in mailed.values()})
        await self._upsert(connection)
        await _write_custom_fields(connection, [row for _, row in accepted], present)
        moved = {found.id: found.person_id for found, record in changes if found.identity != record["identity"]}
        await follow_moves(connection, moved, now=self._this.now, author=self._this.author)
        await self._record_statuses(connection, changes)
        await forget_returns(connection, [found.id for found, record in changes if _is_new_address(found, record)])
        await forget_lifted_rejections(connection, [found.id for found, _ in changes if found.rejected_by_letter_at])
        await take_back_claims(connection, list(mailed))
        other = {*moved, *mailed}
        as_before = {found.external_id for found, _ in changes if found.id not in other}
        if others := [record["external_id"] for record in records if record["external_id"] not in as_before]:
            them = among(connection, _A.external_id, others)
            await keep_wishes(connection, them, self._this.now, self._this.author)
            self._others.extend((await connection.execute(select(_A.id).where(them))).scalars())
        self._this.report.updated += len(changes)
        self._this.report.inserted += len(records) - len(changes)

    async def keep_later_wishes(self, database: Database) -> None:
        """What others with their addresses said while they were written holds for them as well (S29).

        Neither saw the other then: the wish was noted, or waited, in a transaction of its own.
        """
        others, self._others = self._others, array("q")
        if not others:
            return
        await settle_waiting_wishes(database)
        for start in range(0, len(others), BATCH_ROWS):
            await in_transaction(database, partial(self._keep_again, others[start : start + BATCH_ROWS].tolist()))

    async def _keep_again(self, ids: Collection[int], connection: AsyncConnection) -> None:
        if not await are_any(connection):
            return
        them = any_of(_A.id, ids)
        owners = select(_P.id).where(_P.id.in_(select(_A.person_id).where(them))).order_by(_P.id)
        await connection.execute(owners.with_for_update())
        await keep_wishes(connection, them, self._this.now, self._this.author)

    async def _present(self, connection: AsyncConnection, rows: Sequence[ApplicationRow]) -> dict[str, Row[Any]]:
        """The applications that exist, locked: persons first, by ascending id, as every transaction does."""
        these = among(connection, _A.external_id, [row.external_id for row in rows])
        owners = _P.id.in_(select(_A.person_id).where(these))
        locked = select(_P.id).where(owners).order_by(_P.id).with_for_update(key_share=True).subquery()
        await connection.execute(select(func.count()).select_from(locked))
        # A column that a row does not have keeps its value, so that one is read.
        missing = {name for row in rows for name in _FIELDS if name not in row.values} if rows else set()
        columns = {*missing, *self._keys, "status_id", "usable_email", "returned_email", "rejected_by_letter_at"}
        statement = (
            select(_A.id, _A.external_id, _A.person_id, _A.import_id, _A.import_line, _A.reduced_at)
            .add_columns(_P.identity, _P.duplicate_set, *(_A[name] for name in columns))
            .join(persons, _P.id == _A.person_id)
            .where(these)
            .order_by(_A.id)
            .with_for_update(key_share=True, of=applications)
        )
        return {row.external_id: row for row in await connection.execute(statement)}

    def _accept(self, line: int, row: ApplicationRow, found: Row[Any] | None) -> bool:
        if found is None:
            return True
        if found.import_id == self._this.id:
            refuse_second_row(self._this, line, row.external_id, found.import_line)
            return False
        if found.reduced_at is not None:
            reason = "is reduced to core data; it cannot be filled again"
            self._this.report.reject(line, RowError("external_id", row.external_id, reason))
            self._this.bad_ids.setdefault(row.external_id, line)
            return False
        return True

    def _record(self, line: int, row: ApplicationRow, found: Row[Any] | None) -> dict[str, Any]:
        """The whole record by column of the temporary table: what the row gives over what is there."""
        record = dict(row.values) if found is None else {**found._mapping, **row.values}
        for name, default in _DEFAULTS.items():
            record.setdefault(name, default)
        record.setdefault("usable_email", None)
        returned = found.returned_email if found is not None else None
        if returned is not None and fold_or_none(record["usable_email"]) == fold_or_none(returned):
            record["usable_email"] = None  # letters to it come back, whoever imports it again
        record["line"] = line
        record["identity"] = identity_of(row.external_id, record.get("duplicate_set"), record, self._keys)
        return record

    async def _record_statuses(
        self, connection: AsyncConnection, changes: Sequence[tuple[Row[Any], Mapping[str, Any]]]
    ) -> None:
        """Who reads a person's timeline asks when the status changed, and by whom."""
        found = [
            StatusChange(row.id, row.external_id, row.status_id, record["status_id"], self._this.now)
            for row, record in changes
            if row.status_id != record["status_id"]
        ]
        await record_status_changes(connection, found, self._this.author)

    async def _upsert(self, connection: AsyncConnection) -> None:
        names = ["external_id", *_FIELDS]
        source = (
            select(*(_I[name] for name in names), _P.id, literal(self._this.id, PlainText), _I.line)
            .join_from(_INCOMING, persons, _P.identity == _I.identity)
            .where(true())  # SQLite: else ON CONFLICT would read as a join's ON
            .order_by(_I.line)
        )
        insert = upsert(connection, applications).from_select([*names, "person_id", "import_id", "import_line"], source)
        changed = {name: insert.excluded[name] for name in (*_FIELDS, "person_id", "import_id", "import_line")}
        await connection.execute(insert.on_conflict_do_update(index_elements=["external_id"], set_=changed))


def _is_new_address(found: Row[Any], record: Mapping[str, Any]) -> bool:
    """Another one than that from which letters came back."""
    return found.returned_email is not None and record["usable_email"] is not None


async def _add_persons(connection: AsyncConnection) -> None:
    source = select(_I.identity, func.max(_I.duplicate_set)).where(true()).group_by(_I.identity).order_by(_I.identity)
    insert = upsert(connection, persons).from_select(["identity", "duplicate_set"], source)
    await connection.execute(insert.on_conflict_do_nothing(index_elements=["identity"]))


async def _write_custom_fields(
    connection: AsyncConnection, rows: Sequence[ApplicationRow], present: Mapping[str, Row[Any]]
) -> None:
    incoming = [
        (row.external_id, folded, name, value, fold_or_none(value))
        for row in rows
        for folded, name, value in row.custom
        if value is not None or row.external_id in present
    ]
    if not incoming:
        return
    await load(connection, _INCOMING_CUSTOM, incoming)
    c = custom_fields.c
    joined = select(_A.id, _IC.name_folded, _IC.name, _IC.value, _IC.value_folded).join_from(
        _INCOMING_CUSTOM, applications, _A.external_id == _IC.external_id
    )
    emptied = joined.where(_IC.value.is_(None), _A.id == c.application_id, _IC.name_folded == c.name_folded)
    if any(value is None for *_, value, _ in incoming):
        await connection.execute(delete(custom_fields).where(exists(emptied.correlate(custom_fields))))
    names = ["application_id", "name_folded", "name", "value", "value_folded"]
    insert = upsert(connection, custom_fields).from_select(names, joined.where(_IC.value.is_not(None)))
    changed = {name: insert.excluded[name] for name in names[2:]}
    await connection.execute(insert.on_conflict_do_update(index_elements=names[:2], set_=changed))
