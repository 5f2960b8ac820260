"""The last letter that this machine handed over, in KP_STATE_DIR (C56): its mailers write it, others hold by it too."""

import json
from contextlib import suppress
from pathlib import Path

from shared.clock import Clock
from shared.db.engine import Database
from shared.db.holds import hold_in_force
from shared.db.system_settings import load_system_settings


def mark_path(folder: Path, instance_id: str) -> Path:
    """Where it is written down, for one database."""
    return folder / f"handed-over-{instance_id}.json"


def read_mark(path: Path) -> tuple[int, float] | None:
    """Token, and the moment of handing over in seconds of this machine's monotonic clock; None: nothing is known."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        return int(kept["token"]), float(kept.get("at", 0.0))
    return None


async def hold_if_older(database: Database, folder: Path, clock: Clock) -> None:
    """Begins the hold where this machine knows of a letter that the database does not; nothing without such a file."""
    async with database.read() as connection:
        instance_id = (await load_system_settings(connection)).instance_id
    if (mark := read_mark(mark_path(folder, instance_id))) is not None:
        async with database.begin() as connection:
            await hold_in_force(connection, mark[0], clock.now())
