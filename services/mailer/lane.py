"""One sender's way from letter to letter: the next one's envelope goes along with the dot of the one before.

RFC 2920 has the end of a mail begin a group of commands, so a server that offers PIPELINING answers both together. It
saves a write, a read and a wait for each letter. Nothing is handed over by it: T2 comes before the next dot, as always.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from services.mailer.ahead import Holding
from services.mailer.smtp_conversation import SmtpConversation
from services.mailer.smtp_transaction import Envelope, envelope
from shared.errors import KontaktpflegeError

#: Seconds for which a letter waits behind the one before it; then it is for whoever is free.
LONGEST_WAIT = 1.0


@dataclass(slots=True)
class Connection:
    """A connection of the pool."""

    conversation: SmtpConversation
    pipelining: bool
    smtputf8: bool
    opened_at: float
    used_at: float
    mails: int = 0


class Lane:
    """What one sender does next. `composed`: what all senders take from; None there tells one of them to end."""

    def __init__(self, composed: "asyncio.Queue[Holding | None]", *, ahead: bool = True) -> None:
        self._composed, self._ahead = composed, ahead
        #: The letter that is next in this lane, since when, and where its envelope is written already.
        self._next: Holding | None = None
        self._since = 0.0
        self._begun: tuple[bytes, Connection, Envelope] | None = None

    async def next(self) -> Holding | None:
        """The letter to deliver now."""
        if self._next is not None:
            holding, self._next = self._next, None
            return holding
        self.give_up()
        return await self._composed.get()

    def begin_next(self, connection: Connection) -> bytes:
        """The envelope of the letter that is next, to be written behind a dot; nothing if none is ready."""
        if not self._ahead or self._next is not None or self._composed.empty():
            return b""
        holding = self._composed.get_nowait()
        if holding is None:
            self._composed.put_nowait(None)
            return b""
        self._next, self._since = holding, monotonic()
        if (mail := holding.mail) is None:
            return b""
        # What cannot be written is told when it is the letter's turn.
        with suppress(KontaktpflegeError):
            commands = envelope(mail.envelope_from, mail.recipient, mail.content, smtputf8=connection.smtputf8)
            if isinstance(commands, Envelope):
                self._begun = mail.content, connection, commands
                return commands.mail + commands.rcpt + commands.data
        return b""

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
        holding, self._next = self._next, None
        if holding is not None and self._begun is not None:
            # The answer to the dot before it may still come: the connection is closed after that.
            self._begun = b"", *self._begun[1:]
        return holding

    def make_way(self) -> None:
        """Gives a letter that has waited for too long to whoever is free."""
        if self._next is not None and monotonic() - self._since > LONGEST_WAIT and not self._composed.full():
            holding = self.take_back()
            self._composed.put_nowait(holding)
