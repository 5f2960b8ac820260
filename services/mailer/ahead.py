"""Claimed letters on their way to the senders, composed while those wait for T2."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from services.mailer.letters import Letters, Mail, Writing
from shared.db.write_orders.claims import ClaimedOrder
from shared.traces import NOTHING, Span

#: Bytes of a mail beyond which its letter is composed when a sender is free, not before: few are to be in memory.
MOST_BYTES = 64 * 1024


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


async def compose_ahead(
    letters: Letters,
    claimed: asyncio.Queue[Holding],
    composed: asyncio.Queue[Holding | None],
    in_hand: deque[Holding],
) -> None:
    """Has as many letters ready as `composed` has room for. Cancelled, it leaves in `in_hand` what it has begun."""
    large: set[tuple[int, int]] = set()
    while True:
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
        # Answers from the database and the mail server come first.
        await asyncio.sleep(0)
