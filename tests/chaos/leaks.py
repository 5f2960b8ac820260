"""I22: no log, no message, no history and no process list names a person. Nobody else is called so."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Column, Select, String, cast, or_, select

from shared.db.engine import Database
from shared.db.tables import attempts, dispatch_runs, events, write_orders

#: What every address and every last name of a run holds.
CANARIES = ("kanarienvogel", "Wendehals")
#: How many of one kind are shown.
_SHOWN = 10


def in_files(files: Iterable[Path]) -> list[str]:
    """Logs and the broker's files that name a person."""
    return list(_named(files))[:_SHOWN]


def _named(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        with suppress(OSError):
            content = file.read_bytes()
            for canary in CANARIES:
                if (at := content.lower().find(canary.lower().encode())) >= 0:
                    yield f"I22: {file.name} names {canary!r}: {content[max(0, at - 150) : at + 50]!r}"


def in_command_lines(pids: Iterable[int]) -> list[str]:
    """Processes whose command line, which everybody on the machine can read, names a person."""
    return in_files(Path(f"/proc/{pid}/cmdline") for pid in pids)


async def in_rows(database: Database) -> list[str]:
    """History and reasons that name a person where nothing about a person belongs.

    An order's reason may quote an address that is none or an answer to one (reduction empties it, D42), never a name.
    """
    e = events.c
    named = [(e.record_name, CANARIES), (e.field, CANARIES), (e.old, CANARIES), (e.new, CANARIES)]
    reasons = [(e.reason, CANARIES[1:]), (write_orders.c.reason, CANARIES[1:]), (dispatch_runs.c.reason, CANARIES)]
    found = []
    async with database.read() as connection:
        for column, canaries in [*named, *reasons, (attempts.c.mailer, CANARIES)]:
            rows = await connection.execute(_naming(column, canaries))
            found += [f"I22: {column.table.name}.{column.name} names a person: {row[0]!r}" for row in rows]
    return found


def _naming(column: Column[str], canaries: Iterable[str]) -> Select[tuple[str]]:
    names = or_(*(cast(column, String).ilike(f"%{canary}%") for canary in canaries))
    elsewhere = [events.c.noun.not_in(("application", "person"))] if column.table is events else []
    return select(column).where(names, *elsewhere).limit(_SHOWN)
