"""A letter goes at its slot under a rate limit, not before (I16)."""

import asyncio
from datetime import datetime, timedelta

from shared.clock import Clock

#: Limits remembered before those that bind nobody any more are dropped.
MOST_PACED = 1000


class Pace:
    """When the next letter of each limit may go, in this mailer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, datetime] = {}

    async def wait(self, scope: str, at: datetime, rate: float) -> None:
        """Waits for the slot; slots that a stall has made late are not made up for all at once.

        `rate`: letters a second under the limit `scope`.
        """
        now = self._clock.now()
        at = max(at, now, self._next.get(scope, now))
        if len(self._next) > MOST_PACED:
            self._next = {name: until for name, until in self._next.items() if until > now}
        self._next[scope] = at + timedelta(seconds=1 / rate)
        if (rest := (at - now).total_seconds()) > 0:
            await asyncio.sleep(rest)
