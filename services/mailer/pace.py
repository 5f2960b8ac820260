"""A letter goes at its slot under a rate limit, not before (I16)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from shared.clock import Clock
from shared.db.engine import Database
from shared.db.send_slots import take_domain_slots, take_relay_slots
from shared.errors import Unavailable
from shared.retry import retry_conflicts

#: Limits remembered before those that bind nobody any more are dropped.
MOST_PACED = 1000
#: A letter that is later than this at its slot has lost it.
LATE = timedelta(seconds=0.25)
#: Seconds to wait for a database that is away.
AWAY_SECONDS = 1.0

#: A slot that all mailers agree on and True, or when to ask again and False.
Slot = tuple[datetime, bool]


class Pace:
    """When the next letter of each limit may go, in this mailer."""

    def __init__(self, clock: Clock, database: Database) -> None:
        self._clock, self._database = clock, database
        self._next: dict[str, datetime] = {}

    async def at_relay(self, relay: str, at: datetime, rate: float) -> None:
        """Waits for a slot of the relay; `rate` in letters a second."""
        await self._wait("relay", at, rate, partial(self._take_relay_slot, relay, rate))

    async def at_domain(self, domain: str, at: datetime, rate: float) -> None:
        """Waits for a slot of a recipient domain."""
        await self._wait(f"domain {domain}", at, rate, partial(self._take_domain_slot, domain, rate))

    async def _wait(self, scope: str, at: datetime, rate: float, take: Callable[[], Awaitable[Slot]]) -> None:
        """Waits for the slot; one that a stall has made late, before or meanwhile, is let go for a new one.

        Each mailer by itself would catch up at the whole rate. What is a little late is spaced.
        """
        while True:
            if self._clock.now() - at > LATE:
                at = await self._another(take)
            at = self._spaced(scope, at, rate)
            if (rest := (at - self._clock.now()).total_seconds()) > 0:
                await asyncio.sleep(rest)
            if self._clock.now() - at <= LATE:
                return

    def _spaced(self, scope: str, at: datetime, rate: float) -> datetime:
        now = self._clock.now()
        at = max(at, now, self._next.get(scope, now))
        if len(self._next) > MOST_PACED:
            self._next = {name: until for name, until in self._next.items() if until > now}
        self._next[scope] = at + timedelta(seconds=1 / rate)
        return at

    async def _another(self, take: Callable[[], Awaitable[Slot]]) -> datetime:
        while True:
            try:
                at, mine = await retry_conflicts(take)
            except Unavailable:
                await asyncio.sleep(AWAY_SECONDS)
                continue
            if mine:
                return at
            await asyncio.sleep(max(0.0, (at - self._clock.now()).total_seconds()))

    async def _take_relay_slot(self, relay: str, rate: float) -> Slot:
        async with self._database.begin() as connection:
            first, taken = await take_relay_slots(connection, relay, rate, 1, self._clock.now())
        return first, taken > 0

    async def _take_domain_slot(self, domain: str, rate: float) -> Slot:
        async with self._database.begin() as connection:
            found = await take_domain_slots(connection, [domain], rate, self._clock.now())
        return found[0]
