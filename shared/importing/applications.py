"""`import applications`: create or update by external_id, and assign persons at once (D24)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
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
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier, PlainText
from shared.db.engine import Database
from shared.db.last_contacts import recompute_persons
from shared.db.system_settings import load_system_settings
from shared.db.tables import application_statuses, applications, custom_fields, persons, users, write_orders
from shared.domain.duplicates import identity_of
from shared.domain.filters import KINDS
from shared.domain.mail_addresses import usable_address
from shared.domain.text import fold, fold_or_none
from shared.importing import cells
from shared.importing.batches import Batch, Import, run_import, second_row
from shared.importing.bulk import load
from shared.importing.report import ImportReport, RowError
from shared.importing.source import Progress
from shared.importing.source import Row as SourceRow

_A = applications.c
_TEXTS = (
    *("salutation", "title", "first_name", "last_name", "email", "phone", "street", "postal_code", "city", "country"),
    *("language", "vacancy", "department", "location", "source", "recruiter"),
)
_DATES = ("birth_date", "received_on", "pool_since")
_FOLDED = ("language", "vacancy", "department", "location", "source", "recruiter")
KNOWN = ("external_id", "kind", "duplicate_set", "status", "in_pool", *_TEXTS, *_DATES, "custom.*")

_INCOMING = Table(
    "incoming_applications",
    MetaData(),
    Column("line", Integer, nullable=False),
    Column("external_id", PlainText, primary_key=True),
    Column("identity", PlainText, nullable=False),
    Column("duplicate_set", PlainText),
    Column("kind", PlainText),
    Column("status_id", Identifier),
    Column("in_pool", Boolean),
    *(Column(name, PlainText) for name in _TEXTS),
    *(Column(name, Date) for name in _DATES),
    Column("birth_month_day", Integer),
    Column("usable_email", PlainText),
    *(Column(f"{name}_folded", PlainText) for name in _FOLDED),
    prefixes=["TEMPORARY"],
)
_CUSTOM = Table(
    "incoming_custom_fields",
    MetaData(),
    Column("external_id", PlainText, nullable=False),
    Column("name_folded", PlainText, nullable=False),
    Column("name", PlainText, nullable=False),
    Column("value", PlainText),
    Column("value_folded", PlainText),
    prefixes=["TEMPORARY"],
)
_I = _INCOMING.c
#: What follows from a given column.
_DERIVED = {
    "status": ("status_id",),
    "birth_date": ("birth_date", "birth_month_day"),
    "email": ("email", "usable_email"),
    **{name: (name, f"{name}_folded") for name in _FOLDED},
}


async def import_applications(
    database: Database,
    path: Path,
    *,
    author: str,
    now: datetime,
    strict: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Imports good rows and reports bad ones; raises InvalidInput if the file as a whole cannot be used."""
    async with database.read() as connection:
        keys = (await load_system_settings(connection)).duplicate_keys
        s, u = application_statuses.c, users.c
        statuses = dict((await connection.execute(select(s.name_folded, s.id))).tuples().all())
        known_users = set((await connection.execute(select(u.name_folded))).scalars())
    this = Import(ImportReport("applications"), now, author)
    parser = _Parser(statuses, known_users, this.report)
    writer = _Writer(this, keys)
    return await run_import(
        database,
        path,
        this,
        known=KNOWN,
        required=("external_id",),
        parse=parser.parse,
        write=writer.write,
        strict=strict,
        progress=progress,
    )


class _Parser:
    """Cells to values; the plan of columns is made once per kind of row."""

    def __init__(self, statuses: Mapping[str, int], known_users: set[str], report: ImportReport) -> None:
        self._statuses, self._users, self._report = statuses, known_users, report
        kind: Any = cells.word(KINDS, "application")
        self._readers: dict[str, Any] = dict.fromkeys(("external_id", "duplicate_set", *_TEXTS), cells.text)
        self._readers |= dict.fromkeys(_DATES, cells.day)
        self._readers |= {"kind": kind, "in_pool": cells.flag, "status": self._status}
        self._plans: dict[tuple[str, ...], list[tuple[str, Any]]] = {}

    def parse(self, row: SourceRow) -> tuple[str, dict[str, Any]]:
        """(external id, values by column); custom fields keep their column name."""
        plan = self._plans.get(row.columns)
        if plan is None:
            plan = [(name, self._readers.get(name, cells.text)) for name in row.columns]
            self._plans[row.columns] = plan
        values = {name: read(name, cell) for (name, read), cell in zip(plan, row.cells, strict=True)}
        external_id = values.get("external_id")
        if not external_id:
            raise RowError("external_id", "", "is empty")
        self._derive(row.line, values)
        return external_id, values

    def _derive(self, line: int, values: dict[str, Any]) -> None:
        born = values.get("birth_date")
        values["birth_month_day"] = born.month * 100 + born.day if born else None
        for name in _FOLDED:
            values[f"{name}_folded"] = fold_or_none(values.get(name))
        given = values.get("email")
        values["usable_email"] = usable_address(given)
        if given and values["usable_email"] is None:
            self._report.invalid_addresses += 1
            self._report.first_invalid_address = self._report.first_invalid_address or f"line {line}: {given}"
        recruiter = values["recruiter_folded"]
        if recruiter and recruiter not in self._users:
            names = self._report.unknown_recruiters
            names[values["recruiter"]] = names.get(values["recruiter"], 0) + 1

    def _status(self, column: str, cell: str) -> int | None:
        if not cell.strip():
            return None
        found = self._statuses.get(fold(cell))
        if found is None:
            raise RowError(column, cell, "is no status of the setup")
        return found


class _Writer:
    """One batch as a few statements over a temporary table."""

    def __init__(self, this: Import, keys: Sequence[str]) -> None:
        self._this, self._keys = this, keys

    async def write(self, connection: AsyncConnection, batch: Batch) -> None:
        """Persons, applications, custom fields of one batch."""
        given = set(batch.columns)
        present = await _present(connection, [values["external_id"] for _, values in batch.rows], self._keys)
        rows = [row for row in batch.rows if self._accept(row, present.get(row[1]["external_id"]))]
        await load(connection, _INCOMING, [self._incoming(line, values, given, present) for line, values in rows])
        await _add_persons(connection)
        await self._upsert(connection, given)
        ids = [present[values["external_id"]].id for _, values in rows if values["external_id"] in present]
        await self._custom(connection, rows, [name for name in batch.columns if name.startswith("custom.")], ids)
        await _follow_moves(connection, present)
        if "email" in given and ids:
            await _touch_claims(connection, ids, present)
        self._this.report.updated += len(ids)
        self._this.report.inserted += len(rows) - len(ids)

    def _accept(self, row: tuple[int, dict[str, Any]], found: Row[Any] | None) -> bool:
        line, values = row
        if found is None:
            return True
        if found.import_id == self._this.id:
            self._this.report.reject(line, second_row(values["external_id"], found.import_line))
            return False
        if found.reduced_at is not None:
            reason = "is reduced to core data; it cannot be filled again"
            self._this.report.reject(line, RowError("external_id", values["external_id"], reason))
            return False
        return True

    def _incoming(
        self, line: int, values: dict[str, Any], given: set[str], present: Mapping[str, Row[Any]]
    ) -> tuple[Any, ...]:
        found = present.get(values["external_id"])
        fields, duplicate_set = values, values.get("duplicate_set")
        if found is not None and not given.issuperset(("duplicate_set", *self._keys)):
            # A missing column leaves the field unchanged, so the identity is that of the merged record.
            fields = {name: values[name] if name in given else found._mapping[name] for name in self._keys}
            duplicate_set = duplicate_set if "duplicate_set" in given else found.duplicate_set
        identity = identity_of(values["external_id"], duplicate_set, fields, self._keys)
        own = {
            **values,
            "line": line,
            "identity": identity,
            "duplicate_set": duplicate_set,
            "kind": values.get("kind") or "application",
            "status_id": values.get("status"),
            "in_pool": bool(values.get("in_pool")),
        }
        return tuple(own.get(column.name) for column in _INCOMING.columns)

    async def _upsert(self, connection: AsyncConnection, given: set[str]) -> None:
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        plain = [
            column.name for column in _INCOMING.columns if column.name not in ("line", "identity", "duplicate_set")
        ]
        names = [*plain, "person_id", "import_id", "import_line"]
        source = select(
            *(_I[name] for name in plain), persons.c.id, literal(self._this.id, PlainText).label("import_id"), _I.line
        ).select_from(_INCOMING.join(persons, persons.c.identity == _I.identity))
        statement = dialect.insert(applications).from_select(names, source.where(_I.line > 0).order_by(_I.line))
        changed = [name for column in given for name in _DERIVED.get(column, (column,)) if name in plain]
        updated = {name: statement.excluded[name] for name in [*changed, "person_id", "import_id", "import_line"]}
        updated.pop("external_id", None)
        await connection.execute(statement.on_conflict_do_update(index_elements=["external_id"], set_=updated))

    async def _custom(
        self,
        connection: AsyncConnection,
        rows: Sequence[tuple[int, dict[str, Any]]],
        columns: Sequence[str],
        existing: Sequence[int],
    ) -> None:
        if not columns:
            return
        c = custom_fields.c
        folded = {column: fold(column.removeprefix("custom.")) for column in columns}
        if existing:
            old = delete(custom_fields).where(c.application_id.in_(existing), c.name_folded.in_(folded.values()))
            await connection.execute(old)
        incoming = [
            (
                values["external_id"],
                folded[column],
                column.removeprefix("custom."),
                values[column],
                fold(values[column]),
            )
            for _, values in rows
            for column in columns
            if values.get(column)
        ]
        await load(connection, _CUSTOM, incoming)
        names = ["application_id", "name_folded", "name", "value", "value_folded"]
        i = _CUSTOM.c
        source = select(_A.id, i.name_folded, i.name, i.value, i.value_folded).join(
            applications, _A.external_id == i.external_id
        )
        await connection.execute(insert(custom_fields).from_select(names, source))


async def _present(
    connection: AsyncConnection, external_ids: Sequence[str], keys: Sequence[str]
) -> dict[str, Row[Any]]:
    columns = {_A[name] for name in keys}
    own = (_A.id, _A.external_id, _A.person_id, _A.import_id, _A.import_line, _A.reduced_at)
    extra = columns - {_A.email}
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(external_ids), 1000):
        some = external_ids[start : start + 1000]
        statement = select(*own, _A.email, persons.c.duplicate_set, *extra).join(persons, persons.c.id == _A.person_id)
        rows = await connection.execute(statement.where(_A.external_id.in_(some)))
        found |= {row.external_id: row for row in rows}
    return found


async def _add_persons(connection: AsyncConnection) -> None:
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    source = select(_I.identity, func.max(_I.duplicate_set)).where(_I.line > 0).group_by(_I.identity)
    statement = dialect.insert(persons).from_select(["identity", "duplicate_set"], source.order_by(_I.identity))
    await connection.execute(statement.on_conflict_do_nothing(index_elements=["identity"]))


async def _follow_moves(connection: AsyncConnection, present: Mapping[str, Row[Any]]) -> None:
    """Applications that became another person's: contacts that count for the person go with their applications."""
    moved = select(_A.external_id, _A.person_id).join(_INCOMING, _I.external_id == _A.external_id)
    if not present:
        return
    touched: set[int] = set()
    for external_id, person_id in (await connection.execute(moved)).tuples():
        before = present.get(external_id)
        if before is not None and before.person_id != person_id:
            touched |= {before.person_id, person_id}
    if touched:
        await recompute_persons(connection, sorted(touched))


async def _touch_claims(connection: AsyncConnection, ids: Sequence[int], present: Mapping[str, Row[Any]]) -> None:
    """A changed address stops what is claimed but not handed over: T2 meets this row (D33)."""
    before = {row.id: row.email for row in present.values()}
    now = (await connection.execute(select(_A.id, _A.email).join(_INCOMING, _I.external_id == _A.external_id))).tuples()
    changed = [key for key, email in now if key in before and before[key] != email]
    if changed:
        o = write_orders.c
        claimed = (o.application_id.in_(changed), o.state == "sending", o.phase == "claimed")
        await connection.execute(update(write_orders).where(*claimed).values(claimed_epoch=None))
