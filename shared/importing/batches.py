"""The frame of an import: rows in batches, one transaction each - or one for all with `strict`."""

import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import record_changes
from shared.db.planner_statistics import renew_statistics
from shared.db.role_grants import IMPORTED
from shared.db.suppressions import settle_waiting_wishes
from shared.importing.report import ImportReport, RowError
from shared.importing.rows import Row
from shared.importing.source import Progress, read_rows
from shared.retry import retry_conflicts

#: Rows per transaction.
BATCH_ROWS = 5000

#: From so many rows on the planner is told at once what the tables hold.
MANY_ROWS = 500

#: Lines and what was parsed from them.
Batch = list[tuple[int, Any]]


class _TakeBack(Exception):
    """A strict import had a bad row."""


@dataclass(slots=True)
class Import:
    """One run of an import: its identity on the rows, its moment, its report, the ids of bad rows."""

    report: ImportReport
    now: datetime
    author: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    #: Good rows are found again by import_id in the table; only bad ones are remembered here, with their lines.
    bad_ids: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is imported: its columns, how a row is parsed and how a batch is written.

    `parse` returns (external id or None, record) or raises RowError; `write` may be called again with the same batch.
    """

    known: tuple[str, ...]
    required: tuple[str, ...]
    parse: Callable[[Row], tuple[str | None, Any]]
    write: Callable[[AsyncConnection, Batch], Awaitable[None]]
    #: What is left to do once what was written is there for everybody to see; may be called again.
    after: Callable[[Database], Awaitable[None]] | None = None


def refuse_second_row(this: Import, line: int, external_id: str, first_line: int) -> None:
    """Reports a second row with the same id in one file."""
    reason = f"is given twice in this file; the first row is in line {first_line}"
    this.report.reject(line, RowError("external_id", external_id, reason))


async def run_import(
    database: Database,
    path: Path,
    this: Import,
    kind: Kind,
    *,
    strict: bool,
    progress: Progress | None,
    check: bool = False,
) -> ImportReport:
    """Reads, parses and writes batch after batch; the end is one event with the author and the counts (D5).

    `check`: everything is done in one transaction and taken back; the report says what would come of it.
    """
    batches = _batches(read_rows(path, kind.known, kind.required, progress), this, kind)
    if check:
        await _write_and_take_back(database, batches, kind)
    elif strict:
        await _write_all_or_nothing(database, path, batches, this, kind)
    else:
        for batch in batches:
            await _write_alone(database, batch, this, kind)
        async with database.begin() as connection:
            await _record(connection, path, this)
    if not check and this.report.inserted + this.report.updated >= MANY_ROWS:
        # PostgreSQL looks at the tables by itself within a minute or so; until then a last look takes seconds. It holds
        # the job meanwhile, and a switch to Aus would wait for it (D4).
        await renew_statistics(database, IMPORTED)
    # Of one batch, rows that cannot be parsed are found before rows that cannot be written.
    this.report.bad_rows.sort(key=lambda bad: bad.line)
    return this.report


async def _write_and_take_back(database: Database, batches: Iterator[Batch], kind: Kind) -> None:
    with suppress(_TakeBack):
        async with database.begin() as connection:
            for batch in batches:
                await kind.write(connection, batch)
            raise _TakeBack


async def _write_all_or_nothing(
    database: Database, path: Path, batches: Iterator[Batch], this: Import, kind: Kind
) -> None:
    await settle_waiting_wishes(database)
    try:
        async with database.begin() as connection:
            for batch in batches:
                await kind.write(connection, batch)
            if this.report.bad_count:
                raise _TakeBack
            await _record(connection, path, this)
    except _TakeBack:
        this.report.inserted = this.report.updated = this.report.repeated = 0
    else:
        await _end(database, kind)


async def _write_alone(database: Database, batch: Batch, this: Import, kind: Kind) -> None:
    report = this.report
    before = (report.inserted, report.updated, report.repeated, report.bad_count)
    kept = len(report.bad_rows)
    # What candidates have just said holds for whoever comes now with their address (S29).
    await settle_waiting_wishes(database)

    async def once() -> None:
        # A transaction that is tried again must not count twice.
        report.inserted, report.updated, report.repeated, report.bad_count = before
        del report.bad_rows[kept:]
        async with database.begin() as connection:
            await kind.write(connection, batch)

    await retry_conflicts(once)
    await _end(database, kind)


async def _end(database: Database, kind: Kind) -> None:
    if kind.after is not None:
        await kind.after(database)


def _batches(rows: Iterator[Row], this: Import, kind: Kind) -> Iterator[Batch]:
    batch: Batch = []
    lines: dict[str, int] = {}
    for row in rows:
        this.report.read += 1
        try:
            if row.error is not None:
                raise row.error
            external_id, record = kind.parse(row)
        except RowError as error:
            _reject(this, row, error)
            continue
        if external_id is not None:
            if first := lines.get(external_id) or this.bad_ids.get(external_id):
                refuse_second_row(this, row.line, external_id, first)
                continue
            lines[external_id] = row.line
        batch.append((row.line, record))
        if len(batch) >= BATCH_ROWS:
            yield batch
            batch, lines = [], {}
    if batch:
        yield batch


def _reject(this: Import, row: Row, error: RowError) -> None:
    this.report.reject(row.line, error)
    if external_id := row.cell("external_id"):
        this.bad_ids.setdefault(external_id[:1000], row.line)


async def _record(connection: AsyncConnection, path: Path, this: Import) -> None:
    report = this.report
    counts = [("added", None, report.inserted), ("updated", None, report.updated), ("bad", None, report.bad_count)]
    noun = report.noun.removesuffix("s")
    await record_changes(connection, noun, None, path.name, "import", counts, author=this.author, now=this.now)
