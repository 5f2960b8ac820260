"""The frame of an import: rows in batches, one transaction each - or one for all with `strict`."""

import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.importing.report import ImportReport, RowError
from shared.importing.source import Progress, Row, read_rows
from shared.retry import retry_conflicts

Parsed = TypeVar("Parsed")
#: Rows per transaction.
BATCH = 5000


class _TakeBack(Exception):
    """A strict import had a bad row."""


@dataclass(slots=True)
class Import:
    """One run of an import: its identity on the rows, its moment, its report, the ids of bad rows."""

    report: ImportReport
    now: datetime
    author: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    #: Good rows are found again by import_id in the table; only bad ones are remembered here.
    bad_ids: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of the same columns, with their lines and ids."""

    columns: tuple[str, ...]
    rows: list[tuple[int, Any]]


def second_row(external_id: str, first_line: int) -> RowError:
    """The refusal of a second row with the same id in one file."""
    return RowError("external_id", external_id, f"is given twice in this file; the first row is in line {first_line}")


async def run_import(
    database: Database,
    path: Path,
    this: Import,
    *,
    known: tuple[str, ...],
    required: tuple[str, ...],
    parse: Callable[[Row], Any],
    write: Callable[[AsyncConnection, Batch], Awaitable[None]],
    strict: bool,
    progress: Progress | None,
) -> ImportReport:
    """Reads, parses and writes batch after batch. `parse` returns (external id or None, record) or raises RowError."""
    rows = read_rows(path, known, required, progress)
    if strict:
        try:
            async with database.begin() as connection:
                for batch in _batches(rows, this, parse):
                    await write(connection, batch)
                if this.report.bad_count:
                    raise _TakeBack
        except _TakeBack:
            this.report.inserted = this.report.updated = this.report.repeated = 0
        return this.report
    for batch in _batches(rows, this, parse):
        await _write_alone(database, batch, this, write)
    return this.report


async def _write_alone(
    database: Database, batch: Batch, this: Import, write: Callable[[AsyncConnection, Batch], Awaitable[None]]
) -> None:
    before = (this.report.inserted, this.report.updated, this.report.repeated, this.report.bad_count)
    kept = list(this.report.bad_rows)

    async def once() -> None:
        # A transaction that is tried again must not count twice.
        report = this.report
        report.inserted, report.updated, report.repeated, report.bad_count = before
        report.bad_rows = list(kept)
        async with database.begin() as connection:
            await write(connection, batch)

    await retry_conflicts(once)


def _batches(rows: Iterator[Row], this: Import, parse: Callable[[Row], Any]) -> Iterator[Batch]:
    batch = Batch((), [])
    ids: dict[str, int] = {}
    for row in rows:
        this.report.read += 1
        external_id, record = _parsed(row, this, parse)
        if record is None:
            continue
        if len(batch.rows) >= BATCH or (batch.rows and row.columns != batch.columns):
            yield batch
            batch, ids = Batch(row.columns, []), {}
        if external_id is not None and (first := ids.get(external_id) or this.bad_ids.get(external_id)):
            this.report.reject(row.line, second_row(external_id, first))
            continue
        if external_id is not None:
            ids[external_id] = row.line
        if not batch.rows:
            batch = Batch(row.columns, [])
        batch.rows.append((row.line, record))
    if batch.rows:
        yield batch


def _parsed(row: Row, this: Import, parse: Callable[[Row], Any]) -> tuple[str | None, Any]:
    try:
        if row.error is not None:
            raise row.error
        found: tuple[str | None, Any] = parse(row)
    except RowError as error:
        this.report.reject(row.line, error)
        if "external_id" in row.columns and row.cells:
            bad_id = row.cells[row.columns.index("external_id")].strip()
            if bad_id:
                this.bad_ids.setdefault(bad_id, row.line)
        return None, None
    return found
