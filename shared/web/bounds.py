"""What one user, or one address, may do only so often."""

import time
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

#: Keys that are remembered. Beyond them those are forgotten that have been quiet for the time of the bound.
MOST = 10_000


class Bound:
    """So many of something for each key within some seconds, in this process."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._done: dict[str, deque[float]] = {}

    def allows(self, key: str) -> bool:
        """Whether one more is allowed now; it is counted."""
        now = self._clock()
        if len(self._done) > MOST:
            self._forget(now)
        done = self._done.setdefault(key, deque())
        while done and done[0] <= now - self._seconds:
            done.popleft()
        if len(done) >= self._most:
            return False
        done.append(now)
        return True

    def _forget(self, now: float) -> None:
        self._done = {key: done for key, done in self._done.items() if done and done[-1] > now - self._seconds}
        if len(self._done) > MOST:  # so many at once: they begin anew rather than fill the memory
            self._done.clear()


def household_of(host: str) -> str:
    """Whom a client's address stands for: a line with IPv6 has a whole /64 of them."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64)) if address.ipv4_mapped is None else str(address.ipv4_mapped)
    return str(address)
