"""Claimed letters on their way to the senders, composed while those wait for T2."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from services.mailer.group_commit import GroupCommit
from services.mailer.letters import Letters, Mail, Writing
from shared.db.write_orders.claims import ClaimedOrder
from shared.traces import NOTHING, Span

#: Bytes of a mail beyond which its letter is composed when a sender is free, not before: few are to be in memory.
MOST_BYTES = 64 * 1024
#: Seconds of composing in a row: one letter after the other takes less, and nobody waits for long.
AT_ONCE_SECONDS = 0.0002


@dataclass(slots=True)
class Holding:
    """A claimed order and what its letter is written from. `release` is called when it is dealt with."""

    order: ClaimedOrder
    writing: Writing
    release: Callable[[], None]
    #: Its slot under the relay's rate limit, if there is one.
    send_at: datetime | None = None
    #: Its letter, where that was composed before a sender was free for it.
    mail: Mail | None = None
    #: Its step of a trace.
    span: Span = NOTHING

    def compose(self, letters: Letters) -> Mail:
        """Its letter, composed now."""
        with self.span.step("compose"):
            return letters.write(self.order, self.writing)


class Composed(asyncio.Queue["Holding | None"]):
    """Letters that are ready, two at most for each of `senders`; None there tells a sender to end.

    Letters beyond the first for each sender are composed while `intents` has a group under way, for which all may wait:
    before that, answers from mail servers are more urgent.
    """

    def __init__(self, senders: int, intents: GroupCommit[Any, Any]) -> None:
        super().__init__(maxsize=2 * senders)
        self._senders, self._intents = senders, intents
        #: Set when another letter is to be composed.
        self.wanted = asyncio.Event()
        self.wanted.set()
        intents.on_begin = self.wanted.set

    def _get(self) -> "Holding | None":
        # How asyncio's queue says that one is taken.
        taken: Holding | None = super()._get()
        if self.qsize() < self._senders:
            self.wanted.set()
        return taken

    def look(self) -> None:
        """Notes whether there is enough for now."""
        if self.qsize() >= self._senders and not self._intents.under_way:
            self.wanted.clear()


async def compose_ahead(
    letters: Letters,
    claimed: asyncio.Queue[Holding],
    composed: Composed,
    in_hand: deque[Holding],
) -> None:
    """Has letters ready as `composed` wants them. Cancelled, it leaves in `in_hand` what it has begun."""
    large: set[tuple[int, int]] = set()
    began = monotonic()
    while True:
        await composed.wanted.wait()
        holding = await claimed.get()
        in_hand.append(holding)
        version = (holding.order.letter_id, holding.order.letter_version)
        if version not in large:
            # What fails here fails at its sender again, who knows what to do about it.
            with suppress(Exception):
                holding.mail = holding.compose(letters)
                if len(holding.mail.content) > MOST_BYTES:
                    large.add(version)
        await composed.put(holding)
        in_hand.clear()
        composed.look()
        if monotonic() - began > AT_ONCE_SECONDS:
            # Answers from the database and the mail server come first.
            await asyncio.sleep(0)
            began = monotonic()
