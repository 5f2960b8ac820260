"""A database with people, jobs and letters in every state; each case gets a copy of its own."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

from shared.clock import FixedClock
from shared.db.console_sessions import NewSession, sign_in
from shared.db.engine import Database
from shared.db.migrate import migrate
from shared.db.order_commands import block
from shared.db.system_settings import ensure_instance_id
from shared.db.user_commands import create_user, set_password
from tests.services.import_files import Files
from tests.services.setup_files import apply
from tests.services.world import World
from tests.stacks import SAMPLE

PASSWORD = "ein langes Passwort"
APPLICANTS, CONTACTS = 60, 150


@dataclass
class Installation:
    """The prepared database, and a session of an administrator in it."""

    folder: Path
    session: NewSession
    clock: FixedClock

    def __post_init__(self) -> None:
        self._numbers = count(1)

    @asynccontextmanager
    async def copied(self) -> AsyncIterator[Database]:
        """A copy of it, as long as it is entered."""
        folder = self.folder / f"case-{next(self._numbers)}"
        folder.mkdir()
        shutil.copy(self.folder / "prepared.sqlite3", folder / "k.sqlite3")
        database = Database(f"sqlite:///{folder / 'k.sqlite3'}")
        try:
            yield database
        finally:
            await database.close()
            shutil.rmtree(folder)


async def prepare(folder: Path) -> Installation:
    """The beginning of the sample, with letters planned, queued, sent, unclear, failed and blocked."""
    database = Database(f"sqlite:///{folder / 'prepared.sqlite3'}")
    world, files = World(database, folder), Files(database, folder)
    now = world.clock.now()
    await migrate(database)
    async with database.begin() as connection:
        await ensure_instance_id(connection)
    await apply(database, (SAMPLE / "setup.yaml").read_text(encoding="utf-8"), now=now - timedelta(days=1))
    await files.applications(sample("applications", APPLICANTS))
    await files.contacts(sample("contacts", CONTACTS))
    await world.turn()
    await world.run("Prozesshänger")
    await _in_every_state(world, await world.turn())
    await create_user(database, "anna", display_name="Anna", email=None, role="admin", author="t", now=now)
    await set_password(database, "anna", PASSWORD, author="t", now=now)
    session = await sign_in(database, "anna", PASSWORD, now)
    assert session is not None
    await database.close()
    return Installation(folder, session, world.clock)


def sample(name: str, rows: int) -> str:
    """The first rows of a file of the sample."""
    lines = (SAMPLE / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(lines[: rows + 1])


async def _in_every_state(world: World, queued: list[int]) -> None:
    sent, unclear, failed, blocked, *left = queued
    assert left
    await world.send(sent)
    for order_id, state in ((unclear, "unclear"), (failed, "failed")):
        (order,) = (await world.claim(order_id)).orders
        await world.intend(order)
        await world.settle(order, state, reason="so it is")
    now = world.clock.now()
    await block(world.database, blocked, scope="letter", reason="no", until=None, now=now, author="anna")
