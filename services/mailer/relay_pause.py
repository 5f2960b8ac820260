"""The memory that the relay is away, or refuses a sender: nobody hammers it, nothing is claimed in vain (C32, C37)."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from services.mailer.outcome import SENDER_REFUSALS

#: Seconds of the first pause and of the longest; each is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 900.0
#: Refused senders that are remembered; beyond, the one that was refused longest ago is forgotten.
MOST_SENDERS = 1000


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
