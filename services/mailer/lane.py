"""One sender's way from letter to letter: the next one's envelope goes along with the dot of the one before.

RFC 2920 has the end of a mail begin a group of commands, so a server that offers PIPELINING answers both together. It
saves a write, a read and a wait for each letter. Nothing is handed over by it: T2 comes before the next dot, as always.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from services.mailer.ahead import Holding
from services.mailer.smtp_conversation import SmtpConversation
from services.mailer.smtp_transaction import Envelope, envelope

#: Seconds for which a letter waits behind the one before it; then it is for whoever is free.
LONGEST_WAIT = 1.0
#: So many letters in a row that met no order behind a dot stop it, for so many seconds.
OUT_OF_STEP, STEP_PAUSE = 3, 600.0


class Step:
    """Whether a mail server keeps commands and answers in order behind a dot; one that does not is given none there."""

    def __init__(self) -> None:
        self._failures, self._until = 0, 0.0

    @property
    def kept(self) -> bool:
        """Whether letters may be begun behind a dot."""
        return monotonic() >= self._until

    def hold(self) -> None:
        """A begun letter came to its body, or was refused itself."""
        self._failures = 0

    def lose(self) -> bool:
        """A begun letter met what may have been meant for another one, or nothing; True if a pause begins by it."""
        self._failures += 1
        if self._failures < OUT_OF_STEP or not self.kept:
            return False
        self._failures, self._until = 0, monotonic() + STEP_PAUSE
        return True


@dataclass(slots=True)
class Connection:
    """A connection of the pool."""

    conversation: SmtpConversation
    pipelining: bool
    smtputf8: bool
    opened_at: float
    used_at: float
    mails: int = 0
    #: Whether its last dot was answered so late that a letter behind it would have waited for too long.
    slow: bool = False


class Lanes:
    """The lanes of all senders. `composed`: what they take from; None there tells one of them to end.

    `ahead`: whether a letter may be begun behind the one before it.
    """

    def __init__(self, composed: "asyncio.Queue[Holding | None]", count: int, *, ahead: bool = True) -> None:
        self.composed, self.ahead = composed, ahead
        #: How many senders wait for a letter; when a letter behind a dot was last asked whether it waits for too long.
        self.idle, self.looked_at = 0, 0.0
        self.all: Sequence[Lane] = [Lane(self) for _ in range(count)]

    def take_overdue(self) -> Holding | None:
        """The letter that has waited longest behind another one, if that is too long."""
        first = min(self.all, key=lambda lane: lane.since)
        return first.take_back() if monotonic() - first.since > LONGEST_WAIT else None

    async def make_way(self) -> None:
        """Gives letters that have waited for too long to senders that have nothing to do."""
        for _ in range(self.idle):
            if (holding := self.take_overdue()) is None:
                return
            # Somebody waits for one, so there is room.
            self.composed.put_nowait(holding)

    def take_back(self) -> list[Holding]:
        """All letters that wait in lanes: they are not delivered there."""
        return [holding for lane in self.all if (holding := lane.take_back()) is not None]


class Lane:
    """What one sender does next."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        #: The letter that is next in this lane, and where its envelope is written already.
        self._next: Holding | None = None
        self._begun: tuple[bytes, Connection, Envelope] | None = None
        #: When the letter came here; later than any moment if there is none, earlier if it gains nothing by waiting.
        self.since = float("inf")

    async def next(self) -> Holding | None:
        """The letter to deliver now."""
        if self._next is not None:
            holding, self._next, self.since = self._next, None, float("inf")
            return holding
        self.give_up()
        if (late := self._lanes.take_overdue()) is not None:
            return late
        self._lanes.idle += 1
        try:
            return await self._lanes.composed.get()
        finally:
            self._lanes.idle -= 1

    def begin_next(self, connection: Connection) -> bytes:
        """The envelope of the letter that is next, to be written behind a dot; nothing if none is ready."""
        composed = self._lanes.composed
        if not self._lanes.ahead or self._lanes.idle or self._next is not None or composed.empty():
            return b""
        holding = self._late() or composed.get_nowait()
        if holding is None:
            composed.put_nowait(None)
            return b""
        self._next, self.since = holding, float("-inf")
        # Whatever is wrong with it is told when it is its turn: the letter before it has its T2 by now.
        with suppress(Exception):
            return self._begin(holding, connection)
        return b""

    def _late(self) -> Holding | None:
        # With a backlog nobody is ever free. Not for each letter: it costs a hundredth of one.
        if (now := monotonic()) - self._lanes.looked_at < LONGEST_WAIT / 4:
            return None
        self._lanes.looked_at = now
        return self._lanes.take_overdue()

    def _begin(self, holding: Holding, connection: Connection) -> bytes:
        if (mail := holding.mail) is None:
            return b""
        commands = envelope(mail.envelope_from, mail.recipient, mail.content, smtputf8=connection.smtputf8)
        if not isinstance(commands, Envelope):
            return b""
        written = commands.mail + commands.rcpt + commands.data
        self._begun, self.since = (mail.content, connection, commands), monotonic()
        return written

    @property
    def begun(self) -> bool:
        """Whether the next letter's envelope is written."""
        return self._begun is not None

    def take_begun(self, mail: bytes) -> tuple[Connection, Envelope] | None:
        """Where this letter is begun, if it is; what another one was begun on is closed, without a dot."""
        begun, self._begun = self._begun, None
        if begun is None:
            return None
        content, connection, commands = begun
        if content is mail:
            return connection, commands
        connection.conversation.abort()
        return None

    def give_up(self) -> None:
        """Closes the connection on which a letter is begun, if one is: that letter is not delivered here."""
        if self._begun is not None:
            self._begun[1].conversation.abort()
            self._begun = None

    def take_back(self) -> Holding | None:
        """The letter that waits here, if one does: it is not delivered here."""
        holding, self._next, self.since = self._next, None, float("inf")
        if holding is not None and self._begun is not None:
            # The answer to the dot before it may still come: the connection is closed after that.
            self._begun = b"", *self._begun[1:]
        return holding
