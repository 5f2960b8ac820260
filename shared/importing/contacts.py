"""`import contacts`: entries by their own id, or appended once by content; last contacts follow (D20, D23)."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, Integer, MetaData, Table, case, delete, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier, Instant, PlainText
from shared.db.engine import Database
from shared.db.last_contacts import recompute_applications, recompute_persons
from shared.db.tables import applications, contact_entries, persons
from shared.importing import cells
from shared.importing.batches import Batch, Import, run_import, second_row
from shared.importing.bulk import load
from shared.importing.report import ImportReport, RowError
from shared.importing.source import Progress
from shared.importing.source import Row as SourceRow

MEDIA = ("form_letter_post", "form_letter_mail", "mail", "fax", "phone", "letter", "in_person", "note", "portal")
DIRECTIONS = ("outgoing", "incoming", "internal")
KNOWN = ("external_id", "application", "person", "at", "medium", "direction", "subject", "body", "user")
_ALWAYS_COUNT = ("form_letter_post", "form_letter_mail", "in_person")
_OUTGOING_COUNT = ("mail", "fax", "phone", "letter")
_COLUMNS = ("at", "medium", "direction", "subject", "body", "author", "counts_for_person")
_A, _P, _C = applications.c, persons.c, contact_entries.c

_INCOMING = Table(
    "incoming_contacts",
    MetaData(),
    Column("line", Integer, nullable=False),
    Column("identity", PlainText, primary_key=True),
    Column("external_id", PlainText),
    Column("application", PlainText),
    Column("person", PlainText),
    Column("at", Instant, nullable=False),
    Column("medium", PlainText, nullable=False),
    Column("direction", PlainText, nullable=False),
    Column("subject", PlainText),
    Column("body", PlainText),
    Column("author", PlainText),
    Column("counts_for_person", Boolean, nullable=False),
    Column("application_id", Identifier),
    Column("person_id", Identifier),
    prefixes=["TEMPORARY"],
)
_I = _INCOMING.c


def counts_for_person(medium: str, direction: str) -> bool:
    """Whether an entry of the person without an application is a contact for all its applications (D20)."""
    return medium in _ALWAYS_COUNT or (medium in _OUTGOING_COUNT and direction == "outgoing")


async def import_contacts(
    database: Database,
    path: Path,
    *,
    author: str,
    now: datetime,
    strict: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Imports good rows and reports bad ones; raises InvalidInput if the file as a whole cannot be used."""
    this = Import(ImportReport("contacts"), now, author)
    return await run_import(
        database,
        path,
        this,
        known=KNOWN,
        required=("at", "medium", "direction", "application|person"),
        parse=_Parser().parse,
        write=_Writer(this).write,
        strict=strict,
        progress=progress,
    )


class _Parser:
    """Cells to the columns of the temporary table."""

    def __init__(self) -> None:
        medium: Any = cells.word(MEDIA, None)
        direction: Any = cells.word(DIRECTIONS, None)
        self._readers = {"at": cells.instant, "medium": medium, "direction": direction}

    def parse(self, row: SourceRow) -> tuple[str | None, tuple[Any, ...]]:
        """(external id or None, record)."""
        readers = self._readers
        values: dict[str, Any] = {
            name: readers.get(name, cells.text)(name, cell) for name, cell in zip(row.columns, row.cells, strict=True)
        }
        for name in ("at", "medium", "direction"):
            if values.get(name) is None:
                raise RowError(name, "", "is missing")
        application, person = values.get("application"), values.get("person")
        if bool(application) == bool(person):
            raise RowError("application", application or "", "give exactly one of application and person")
        external_id = values.get("external_id")
        shown = (application, person, values["at"], values["medium"], values["direction"])
        texts = tuple(values.get(name) for name in ("subject", "body", "user"))
        identity = f"id:{external_id}" if external_id else _content_identity((*shown, *texts))
        counts = person is not None and counts_for_person(values["medium"], values["direction"])
        return external_id, (row.line, identity, external_id, *shown, *texts, counts, None, None)


def _content_identity(content: Sequence[Any]) -> str:
    joined = "\x1f".join("" if value is None else str(value) for value in content)
    return "content:" + sha256(joined.encode()).hexdigest()


class _Writer:
    """One batch as a few statements over a temporary table."""

    def __init__(self, this: Import) -> None:
        self._this = this

    async def write(self, connection: AsyncConnection, batch: Batch) -> None:
        """Entries of one batch, and the last contacts that they change."""
        # The same content twice in one batch is one entry.
        rows = {record[1]: record for _, record in reversed(batch.rows)}
        self._this.report.repeated += len(batch.rows) - len(rows)
        await load(connection, _INCOMING, list(rows.values()))
        await self._resolve(connection)
        known = await self._known(connection)
        owners = [(row.application_id, row.person_id) for row in known if row.identity.startswith("id:")]
        total = int((await connection.execute(select(func.count()).select_from(_INCOMING))).scalar_one())
        repeated = sum(row.identity.startswith("content:") for row in known)
        await self._upsert(connection)
        await _raise_last_contacts(connection)
        await _recompute(connection, owners)
        self._this.report.repeated += repeated
        self._this.report.updated += len(owners)
        self._this.report.inserted += total - len(owners) - repeated

    async def _resolve(self, connection: AsyncConnection) -> None:
        """Owners by their names; rows without one are refused and leave the table."""
        application = select(_A.id).where(_A.external_id == _I.application).scalar_subquery()
        person = select(_P.id).where(_P.duplicate_set == _I.person).scalar_subquery()
        await connection.execute(update(_INCOMING).values(application_id=application, person_id=person))
        reduced = select(_A.reduced_at).where(_A.id == _I.application_id).scalar_subquery()
        lost = or_(_I.application_id.is_(None) & _I.person_id.is_(None), reduced.is_not(None))
        columns = (_I.line, _I.application, _I.person, _I.application_id, _I.external_id)
        bad = (await connection.execute(select(*columns).where(lost).order_by(_I.line))).all()
        for row in bad:
            self._this.report.reject(row.line, _refusal(row))
            if row.external_id:
                self._this.bad_ids[row.external_id] = row.line
        if bad:
            await connection.execute(delete(_INCOMING).where(_I.line.in_([row.line for row in bad])))

    async def _known(self, connection: AsyncConnection) -> list[Any]:
        """Entries that exist already; a second row of this file is refused, naming the first."""
        joined = contact_entries.join(_INCOMING, _I.identity == _C.identity)
        columns = (_I.line, _I.external_id, _C.identity, _C.import_id, _C.import_line, _C.application_id, _C.person_id)
        rows = (await connection.execute(select(*columns).select_from(joined))).all()
        second = [row for row in rows if row.external_id and row.import_id == self._this.id]
        for row in sorted(second, key=lambda row: row.line):
            self._this.report.reject(row.line, second_row(row.external_id, row.import_line))
        if second:
            await connection.execute(delete(_INCOMING).where(_I.line.in_([row.line for row in second])))
        refused = {row.line for row in second}
        return [row for row in rows if row.line not in refused]

    async def _upsert(self, connection: AsyncConnection) -> None:
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        names = ["identity", "application_id", "person_id", *_COLUMNS]
        own = (literal(self._this.id, PlainText), _I.line)
        source = select(*(_I[name] for name in names), *own).where(_I.line > 0).order_by(_I.line)
        statement = dialect.insert(contact_entries).from_select([*names, "import_id", "import_line"], source)
        updated = [*names[1:], "import_id", "import_line"]
        set_ = {name: statement.excluded[name] for name in updated}
        by_id = _C.identity.startswith("id:")
        await connection.execute(statement.on_conflict_do_update(index_elements=["identity"], set_=set_, where=by_id))


def _refusal(row: Any) -> RowError:
    if row.application_id is not None:
        return RowError("application", row.application, "is reduced to core data; it takes no more entries")
    if row.application is not None:
        return RowError("application", row.application, "there is no such application")
    return RowError("person", row.person, "there is no such duplicate set")


async def _raise_last_contacts(connection: AsyncConnection) -> None:
    """New entries can only make a last contact later. Persons first: the house's order of locks."""
    person = select(func.max(_I.at)).where(_I.person_id == _P.id, _I.counts_for_person).scalar_subquery()
    theirs = select(_I.person_id).where(_I.person_id.is_not(None), _I.counts_for_person)
    values = {"last_contact_at": _later(_P.last_contact_at, person)}
    await connection.execute(update(persons).where(_P.id.in_(theirs)).values(values))
    grouped = (
        select(_I.application_id, func.max(_I.at).label("at"))
        .add_columns(func.max(case((_I.direction == "outgoing", _I.at))).label("outgoing_at"))
        .where(_I.application_id.is_not(None))
        .group_by(_I.application_id)
        .subquery()
    )
    values = {
        "last_contact_at": _later(_A.last_contact_at, grouped.c.at),
        "last_outgoing_at": _later(_A.last_outgoing_at, grouped.c.outgoing_at),
    }
    await connection.execute(update(applications).where(_A.id == grouped.c.application_id).values(values))


def _later(column: Any, other: Any) -> Any:
    return case((column.is_(None), other), (other > column, other), else_=column)


async def _recompute(connection: AsyncConnection, owners: Sequence[tuple[int | None, int | None]]) -> None:
    """Entries that were changed may make a last contact earlier, or belong to somebody else now."""
    await recompute_persons(connection, sorted({person for _, person in owners if person is not None}))
    await recompute_applications(connection, sorted({own for own, _ in owners if own is not None}))
