"""The memory that the relay is away: nobody hammers it, and nothing is claimed in vain meanwhile (C32, C37)."""

import asyncio
import time
from contextlib import suppress

#: Seconds of the first pause and of the longest; each is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 900.0


class RelayPause:
    """A pause after trouble with the relay, twice as long each time, forgotten after a success."""

    def __init__(self, first: float = FIRST_PAUSE) -> None:
        self._first, self._longest = first, LONGEST_PAUSE / FIRST_PAUSE * first
        self._length = 0.0
        self._until = 0.0

    @property
    def rest(self) -> float:
        """Seconds still to wait; 0 when sending may be tried."""
        return max(0.0, self._until - time.monotonic())

    def begin(self) -> bool:
        """There was trouble; False if a pause is running, for many connections fail at the same moment."""
        if self.rest > 0:
            return False
        self._length = min(max(self._length * 2, self._first), self._longest)
        self._until = time.monotonic() + self._length
        return True

    def end(self) -> None:
        """The relay works: the next trouble starts with the first pause again."""
        self._length = 0.0

    async def wait(self, stop: asyncio.Event) -> None:
        """Waits until sending may be tried, or `stop`."""
        while (rest := self.rest) > 0 and not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rest)
