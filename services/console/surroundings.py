"""What every page works with."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from shared.clock import Clock, local_date
from shared.db.engine import Database
from shared.db.letter_trials import TrialMail
from shared.db.system_settings import load_system_settings
from shared.evidence import WriteAgain
from shared.settings import Settings

if TYPE_CHECKING:
    from services.console.openid.provider import Provider


class CaughtMail(Protocol):
    """A mail that the demo's catcher keeps."""

    @property
    def recipient(self) -> str:
        """To whom."""

    @property
    def subject(self) -> str:
        """Its subject, decoded."""

    @property
    def order(self) -> str:
        """The write order's id."""

    @property
    def content(self) -> bytes:
        """The whole message."""


@dataclass(frozen=True)
class Surroundings:
    """The open database, the settings and the clock; with the demo's mails where there is a catcher."""

    database: Database
    settings: Settings
    clock: Clock
    mails: Sequence[CaughtMail] | None = None
    #: Sends a letter to a tester and returns the mail server's answer; given where a mail server is known.
    send_trial: Callable[[TrialMail], Awaitable[str]] | None = None
    #: Who vouches for company accounts; None: people sign in with passwords only.
    provider: "Provider | None" = None
    #: Opens what writes sent letters once more, for one evidence file; given where letters can be written.
    write_again: Callable[[], WriteAgain] | None = None
    #: Turns to make a list as a file: each takes a core, a connection of the database and room on the disk.
    exporting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    @property
    def now(self) -> datetime:
        """The current instant."""
        return self.clock.now()

    async def zone(self) -> ZoneInfo:
        """The system's time zone."""
        async with self.database.read() as connection:
            return (await load_system_settings(connection)).zone

    async def today(self) -> date:
        """Today in the system's time zone."""
        return local_date(self.clock, await self.zone())
