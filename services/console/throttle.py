"""Guessing passwords is slow: each failure doubles the wait, for the name and for the address it comes from."""

import time
from collections.abc import Callable

from shared.domain.text import fold

#: Failures that cost nothing, the first wait and the longest one in seconds, and how many keys are remembered.
FREE, FIRST_SECONDS, LONGEST_SECONDS, MOST = 5, 2.0, 900.0, 10_000


class Throttle:
    """Failures by key, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}

    def seconds_to_wait(self, name: str | None, client: str) -> float:
        """Until the next attempt is looked at; 0: now."""
        return max(self._wait(key) for key in _keys(name, client))

    def failed(self, name: str | None, client: str) -> None:
        """Counts a failure."""
        if len(self._failures) > MOST:
            self._failures = {key: one for key, one in self._failures.items() if self._wait(key) > 0}
        for key in _keys(name, client):
            self._failures[key] = (self._failures.get(key, (0, 0.0))[0] + 1, self._clock())

    def forgive(self, name: str | None, client: str) -> None:
        """Takes back one failure that was none."""
        for key in _keys(name, client):
            count, at = self._failures.get(key, (1, 0.0))
            self._failures[key] = (count - 1, at)

    def succeeded(self, name: str | None, client: str) -> None:
        """Forgets the failures."""
        for key in _keys(name, client):
            self._failures.pop(key, None)

    def _wait(self, key: str) -> float:
        count, at = self._failures.get(key, (0, 0.0))
        # Many people share an address (a company's proxy): it is slowed down later than a name.
        beyond = count - (FREE if key.startswith("name ") else 10 * FREE)
        if beyond < 0:
            return 0.0
        return max(0.0, at + min(FIRST_SECONDS * 2.0 ** min(beyond, 20), LONGEST_SECONDS) - self._clock())


def _keys(name: str | None, client: str) -> tuple[str, ...]:
    """Without a name (a company account's is not known before it is proved) the address alone is counted."""
    # Folded as users are looked up: else every spelling of a name that means the same user had failures of its own.
    by_name = () if name is None else (f"name {fold(name)[:200]}",)
    return *by_name, f"client {client}"
