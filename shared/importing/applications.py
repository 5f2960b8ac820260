"""`import applications`: create or update by external_id, and assign persons at once (D24)."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.db.tables import application_statuses, users
from shared.importing.application_rows import KNOWN, ApplicationParser
from shared.importing.application_writer import ApplicationWriter
from shared.importing.batches import Import, Kind, run_import
from shared.importing.report import ImportReport
from shared.importing.source import Progress


async def import_applications(
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
    async with database.read() as connection:
        keys = (await load_system_settings(connection)).duplicate_keys
        s = application_statuses.c
        statuses = dict((await connection.execute(select(s.name_folded, s.id))).all())
        known_users = set((await connection.execute(select(users.c.name_folded))).scalars())
    this = Import(ImportReport("applications"), now, author)
    parser = ApplicationParser(statuses, known_users, this.report)
    writer = ApplicationWriter(this, keys)
    kind = Kind(KNOWN, ("external_id",), parser.parse, writer.write, writer.keep_later_wishes)
    return await run_import(database, path, this, kind, strict=strict, check=check, progress=progress)
