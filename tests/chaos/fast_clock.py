"""A clock that every process of a run shares and that runs faster than the machine's."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class FastClock:
    """`start` at the machine's time `began` (time.time()), then `speed` seconds for each real one.

    `skew` (seconds of its own time) makes one process's clock differ from the others'.
    """

    start: datetime
    began: float
    speed: float = 1.0
    skew: float = 0.0

    def now(self) -> datetime:
        """See Clock.now."""
        return self.start + timedelta(seconds=(time.time() - self.began) * self.speed + self.skew)
