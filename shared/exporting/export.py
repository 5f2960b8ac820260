"""One list into one file: rows are read and written as they come, and a failure leaves no half-written file."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.errors import InvalidInput
from shared.exporting.lists import LISTS, Source
from shared.exporting.writers import WRITERS

Progress = Callable[[int], None]


async def export_list(
    database: Database, what: str, out: Path, now: datetime, progress: Progress = lambda rows: None
) -> int:
    """Writes a list by the ending of `out`; returns its length. Raises InvalidInput for what, ending or folder."""
    if what not in LISTS:
        raise InvalidInput("export", what, f"one of setup, {', '.join(LISTS)}")
    return await export_source(database, LISTS[what], out, now, progress)


async def export_source(
    database: Database, source: Source, out: Path, now: datetime, progress: Progress = lambda rows: None
) -> int:
    """The same for a list that is narrowed to something."""
    if out.suffix not in WRITERS:
        raise InvalidInput("--out", str(out), f"the ending must be one of {', '.join(WRITERS)}")
    partial = out.with_name(out.name + ".part")
    try:
        async with database.read() as connection:
            return await _write(connection, source, out, partial, now, progress)
    finally:
        partial.unlink(missing_ok=True)


async def _write(
    connection: AsyncConnection, listed: Source, out: Path, partial: Path, now: datetime, progress: Progress
) -> int:
    zone = (await load_system_settings(connection)).zone
    source = await listed(connection, now, zone)
    count = 0
    try:
        with WRITERS[out.suffix](partial, source.columns, zone) as writer:
            async for row in source.rows:
                writer.write(row)
                count += 1
                progress(count)
        os.replace(partial, out)
    except OSError as exc:  # the folder's; what the database raises is ours already
        raise InvalidInput("--out", str(out), f"cannot be written: {exc.strerror or exc}") from exc
    return count
