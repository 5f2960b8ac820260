"""What has arrived for a subscription and was not handed out yet; the same for both transports."""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from shared.bus.interface import Delivery


class Inbox:
    """Deliveries in the order of arrival, used in the loop's thread only."""

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        #: The event is set at this many: whoever lingers is not woken by each single arrival.
        self._wanted = 1
        self.closed = False

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """New arrivals."""
        self._waiting.extend(deliveries)
        if len(self._waiting) >= self._wanted:
            self._changed.set()

    async def batch(self, limit: int, linger: float) -> list[Delivery]:
        """See Subscription.batch."""
        while True:
            await self._reaches(1)
            if linger and not self.closed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(linger):
                        await self._reaches(limit)
            taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
            # Nothing, though something had arrived: its connection was lost meanwhile, and it comes again.
            if taken or self.closed:
                return taken

    async def _reaches(self, count: int) -> None:
        while len(self._waiting) < count and not self.closed:
            self._wanted = count
            self._changed.clear()
            await self._changed.wait()

    def clear(self) -> None:
        """Forgets what waits: the broker delivers it again."""
        self._waiting.clear()

    def close(self) -> list[Delivery]:
        """Ends every wait; returns what was not handed out."""
        left = list(self._waiting)
        self._waiting.clear()
        self.closed = True
        self._changed.set()
        return left
