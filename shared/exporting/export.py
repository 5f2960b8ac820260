"""One list into one file: rows are read and written as they come, and a failure leaves no half-written file."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.errors import InvalidInput
from shared.exporting.lists import LISTS, ListSource, Row, Source
from shared.exporting.workbook import Wording
from shared.exporting.writers import WRITERS, Writer

Progress = Callable[[int], None]
#: Rows that are handed to the thread at once: between two batches everything else has its turn.
_BATCH = 200
_PLAIN = Wording()


async def export_list(
    database: Database, what: str, out: Path, now: datetime, progress: Progress = lambda rows: None
) -> int:
    """Writes a list by the ending of `out`; returns its length. Raises InvalidInput for what, ending or folder."""
    if what not in LISTS:
        raise InvalidInput("export", what, f"one of setup, {', '.join(LISTS)}")
    return await export_source(database, LISTS[what], out, now, progress)


async def export_source(
    database: Database,
    source: Source,
    out: Path,
    now: datetime,
    progress: Progress = lambda rows: None,
    wording: Wording = _PLAIN,
) -> int:
    """The same for a list that is narrowed to something, a workbook in the wording of its reader."""
    make = WRITERS.get(out.suffix)
    if make is None:
        raise InvalidInput("--out", str(out), f"the ending must be one of {', '.join(WRITERS)}")
    partial = out.with_name(out.name + ".part")
    try:
        async with database.read() as connection:
            zone = (await load_system_settings(connection)).zone
            listed = await source(connection, now, zone)
            return await _write(listed, partial, out, lambda: make(partial, listed.columns, zone, wording), progress)
    finally:
        partial.unlink(missing_ok=True)


async def _write(listed: ListSource, partial: Path, out: Path, begin: Callable[[], Writer], progress: Progress) -> int:
    count = 0
    try:
        writer = await _begun(begin)
        try:
            async for rows in _batches(listed.rows):
                await _apart(writer, writer.write, rows)
                for _ in rows:
                    count += 1
                    progress(count)
            await _apart(writer, writer.finish)
        except BaseException:
            writer.abandon()
            raise
        os.replace(partial, out)
    except OSError as exc:  # the folder's; what the database raises is ours already
        raise InvalidInput("--out", str(out), f"cannot be written: {exc.strerror or exc}") from exc
    return count


async def _batches(rows: AsyncIterator[Row]) -> AsyncIterator[list[Row]]:
    batch: list[Row] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _begun(begin: Callable[[], Writer]) -> Writer:
    """The writer, begun in a thread. Who is cancelled waits for it, and leaves none of its files behind."""
    work = asyncio.ensure_future(asyncio.to_thread(begin))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if await _goes_well(work):
            work.result().abandon()
        raise


async def _apart(writer: Writer, step: Callable[..., None], *rows: list[Row]) -> None:
    """Does a step in a thread: the loop may be that of all services.

    Who is cancelled waits until the thread is done: what it writes to must not be taken from it.
    """
    work = asyncio.ensure_future(asyncio.to_thread(step, *rows))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        writer.stop()
        await _goes_well(work)
        raise


async def _goes_well(work: "asyncio.Future[Any]") -> bool:
    """Whether it ends without an error; waits for its end, however often who waits is cancelled meanwhile."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    return not work.cancelled() and work.exception() is None
