"""The memory that the relay is away, or refuses a sender: nobody hammers it, nothing is claimed in vain (C32, C37)."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from services.mailer.outcome import SENDER_REFUSALS
from shared.metrics import RELAY_AWAY, RELAY_FAILURES

#: Seconds of the first pause and of the longest; each is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 900.0
#: Refused senders that are remembered; beyond, the one that was refused longest ago is forgotten.
MOST_SENDERS = 1000
#: Seconds after a pause in which its letters are surely tried again, if there are any.
TRIED_AGAIN = 300.0


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

    @property
    def lately(self) -> bool:
        """Whether it runs, or ended so lately that its letters may still be on their way to another try."""
        return self._until > 0 and time.monotonic() - self._until < TRIED_AGAIN

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


class RelayTrouble:
    """Tells Prometheus where the relay fails, from the first failure until it works again, or is not tried again here.

    What failed here may be tried by another mailer, which tells of it then. Counted and not set: a console that sends
    test letters may be in the same process.
    """

    def __init__(self, pause: RelayPause) -> None:
        self._pause = pause
        self._stage: str | None = None
        self._forgets: asyncio.TimerHandle | None = None

    def begins(self, stage: str) -> None:
        """It cannot be used, and the pause has begun; what failed before, if something else did, is passed."""
        self.ends()
        self._stage = stage
        self._forgets = asyncio.get_running_loop().call_later(self._pause.rest + TRIED_AGAIN, self.ends)
        RELAY_FAILURES.labels(stage).inc()
        RELAY_AWAY.labels(stage).inc()

    def ends(self) -> None:
        """It works, or nobody asks any more."""
        if self._forgets is not None:
            self._forgets.cancel()
            self._forgets = None
        if self._stage is not None:
            RELAY_AWAY.labels(self._stage).dec()
            self._stage = None


@dataclass(slots=True)
class _Refused:
    times: int
    pause: RelayPause


class SenderRefusals:
    """Refusals in a row of each envelope sender, and of all: one that is set up wrongly holds up no other (C36)."""

    def __init__(self, first_pause: float = FIRST_PAUSE) -> None:
        self._first_pause = first_pause
        self._of_any = 0
        self._senders: dict[str, _Refused] = {}

    def rest(self, sender: str) -> float:
        """Seconds for which this sender's letters still wait."""
        known = self._senders.get(sender)
        return known.pause.rest if known else 0.0

    @property
    def any_waits(self) -> bool:
        """Whether letters wait because their sender is refused; one that no letter has any more is passed over."""
        return any(known.pause.lately for known in self._senders.values())

    def count(self, sender: str) -> tuple[int, int]:
        """It was refused once more: how often in a row, and how often any sender was."""
        known = self._senders.pop(sender, None) or _Refused(0, RelayPause(self._first_pause))
        self._senders[sender] = known
        if len(self._senders) > MOST_SENDERS:
            del self._senders[next(iter(self._senders))]
        # One that is known to be wrong says nothing about the others.
        self._of_any += known.times < SENDER_REFUSALS
        known.times += 1
        return known.times, self._of_any

    def begin_pause(self, sender: str) -> bool:
        """Its letters wait now; False if they do already."""
        return self._senders[sender].pause.begin()

    def accepted(self, sender: str) -> None:
        """The relay takes this sender."""
        self._of_any = 0
        self._senders.pop(sender, None)
