"""Imports of files written on the spot, and what the database holds after them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, select

from shared.db.engine import Database
from shared.db.tables import applications, contact_entries, persons
from shared.importing import ImportReport, import_applications, import_contacts

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Files:
    """A folder of files that are imported as anna."""

    database: Database
    folder: Path

    async def applications(self, content: str | bytes, *, strict: bool = False, name: str = "a.csv") -> ImportReport:
        return await self._import(import_applications, content, strict, name)

    async def contacts(self, content: str | bytes, *, strict: bool = False, name: str = "c.csv") -> ImportReport:
        return await self._import(import_contacts, content, strict, name)

    async def _import(
        self, importer: Callable[..., Awaitable[ImportReport]], content: str | bytes, strict: bool, name: str
    ) -> ImportReport:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return await importer(self.database, path, author="anna", now=NOW, strict=strict)


def lines(*given: str) -> str:
    """The lines of a file."""
    return "\n".join(given) + "\n"


def counts(report: ImportReport) -> tuple[int, int, int, int, int]:
    """(read, inserted, updated, repeated, bad)."""
    return report.read, report.inserted, report.updated, report.repeated, report.bad_count


def bad(report: ImportReport) -> list[tuple[int, str, str]]:
    """(line, column, value) of the bad rows."""
    return [(row.line, row.column, row.value) for row in report.bad_rows]


async def applications_of(database: Database) -> dict[str, RowMapping]:
    """The applications with their person, by external id."""
    p = persons.c
    columns = (p.duplicate_set, p.identity, p.last_contact_at.label("person_last_contact_at"))
    statement = select(applications, *columns).join(persons, p.id == applications.c.person_id)
    async with database.read() as connection:
        return {row["external_id"]: row for row in (await connection.execute(statement)).mappings()}


async def entries_of(database: Database) -> list[RowMapping]:
    """The contact entries with their owners' names, oldest moment first."""
    c = contact_entries.c
    statement = (
        select(
            contact_entries, applications.c.external_id.label("application"), persons.c.duplicate_set.label("person")
        )
        .outerjoin(applications, applications.c.id == c.application_id)
        .outerjoin(persons, persons.c.id == c.person_id)
        .order_by(c.at, c.identity)
    )
    async with database.read() as connection:
        return list((await connection.execute(statement)).mappings())


def day(text: str | None) -> Any:
    """Noon in UTC of a day of November 2026, as two digits; None stays."""
    return None if text is None else datetime.fromisoformat(f"2026-11-{text}T12:00:00+00:00")
