"""What every command needs: settings, the acting user, the clock, and one way to run its coroutine."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

import typer

from services.cli.composition import clock_of, open_database
from shared.clock import Clock, local_date
from shared.db.actors import Actor, load_actor
from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.errors import InvalidInput
from shared.settings import Settings, load_settings

T = TypeVar("T")
#: Days that are asked about: far enough from the calendar's ends to reckon with.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 12, 31)


@dataclass(frozen=True)
class Desk:
    """An operator at work: the open database, who they are, and what time it is."""

    database: Database
    settings: Settings
    clock: Clock
    actor: Actor

    @property
    def now(self) -> datetime:
        """The current instant."""
        return self.clock.now()

    async def today(self) -> date:
        """Today in the system's time zone."""
        async with self.database.read() as connection:
            return local_date(self.clock, (await load_system_settings(connection)).zone)


def at_desk(role: str, work: Callable[[Desk], Awaitable[T]]) -> T:
    """Runs a command's coroutine with an open database, for an actor who has the right `role` (D5)."""

    async def run() -> T:
        settings = load_settings()
        async with open_database(settings) as database:
            async with database.read() as connection:
                actor = await load_actor(connection, settings.kp_user, getpass.getuser())
            actor.require(role)
            return await work(Desk(database, settings, clock_of(settings), actor))

    return asyncio.run(run())


def parse_day(text: str | None, place: str = "--on") -> date | None:
    """A day given on the command line; raises InvalidInput naming the fix."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(place, text, "give a day like 2026-11-23") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise InvalidInput(place, text, f"give a day from {FIRST_DAY} to {LAST_DAY}")
    return day


def parse_instant(text: str | None, place: str) -> datetime | None:
    """An instant given on the command line; without an offset a local time. Raises InvalidInput naming the fix."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(place, text, "give a time like 2026-12-01T08:00 or 2026-12-01T08:00:00+01:00") from None
    if not FIRST_DAY <= instant.date() <= LAST_DAY:
        raise InvalidInput(place, text, f"give a day from {FIRST_DAY} to {LAST_DAY}")
    return instant


ON_OPTION = typer.Option(None, "--on", help="Occasion day, as 2026-11-23; default today.")
