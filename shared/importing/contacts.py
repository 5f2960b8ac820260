"""`import contacts`: entries by their own id, or appended once by content; last contacts follow (D20, D23)."""

from datetime import datetime
from pathlib import Path

from shared.db.engine import Database
from shared.importing.batches import Import, Kind, run_import
from shared.importing.contact_rows import KNOWN, REQUIRED, parse_contact
from shared.importing.contact_writer import ContactWriter
from shared.importing.report import ImportReport
from shared.importing.source import Progress


async def import_contacts(
    database: Database,
    path: Path,
    *,
    author: str,
    now: datetime,
    strict: bool = False,
    check: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Imports good rows and reports bad ones; `strict`: all rows or none; `check`: none, only the report.

    A missing column leaves the field unchanged, an empty cell means unknown. Raises InvalidInput if the file as a
    whole cannot be used: nothing was imported then.
    """
    this = Import(ImportReport("contacts"), now, author)
    kind = Kind(KNOWN, REQUIRED, parse_contact, ContactWriter(this).write)
    return await run_import(database, path, this, kind, strict=strict, check=check, progress=progress)
