"""Connections to the relay: made by aiosmtplib (its only importer), kept in a pool, dropped on any doubt."""

import asyncio
import math
import ssl
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import aiosmtplib

from services.mailer.lane import LONGEST_WAIT, STEP_PAUSE, Connection, Lane, Step
from services.mailer.outcome import (
    ConnectFailure,
    Deferred,
    NotHandedOver,
    Outcome,
    Refused,
    Sent,
    judge_connect,
    judge_sender_refused,
    one_line,
)
from services.mailer.relay_pause import FIRST_PAUSE, RelayPause, RelayTrouble, SenderRefusals
from services.mailer.smtp_address import Relay
from services.mailer.smtp_conversation import ConnectionTrouble, SmtpConversation
from services.mailer.smtp_transaction import BeforeDot, Envelope, Transaction, cancel_again, envelope
from shared.domain.return_paths import common_sender
from shared.errors import Unavailable
from shared.metrics import RELAY_FAILURES

#: A connection is replaced after so many mails, so many seconds without one, and so many seconds of life.
MOST_MAILS, LONGEST_IDLE, LONGEST_LIFE = 1000, 20.0, 600.0
#: Seconds for a QUIT: whatever it answers no longer matters.
QUIT_TIMEOUT = 2.0


class ConnectFailed(Unavailable):
    """No connection to the mail server; `failure` says whether waiting or an operator helps."""

    def __init__(self, relay: Relay, failure: ConnectFailure, words: str) -> None:
        super().__init__("mail server", relay.address, words)
        self.failure = failure


class SmtpPool:
    """Up to `size` connections, each for one mail at a time; what a sender gets back is judged, never raised.

    `timeout` (seconds) holds for connecting and for everything before the dot, `final_timeout` for the answer to it.
    Later than `reply_lease` after T2 was asked for, no dot is written.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        size: int,
        timeout: float,
        final_timeout: float,
        reply_lease: float = math.inf,
        log: Any,
        max_mails: int = MOST_MAILS,
        max_idle: float = LONGEST_IDLE,
        max_age: float = LONGEST_LIFE,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._relay, self._timeout, self._final_timeout, self._log = relay, timeout, final_timeout, log
        self._reply_lease = reply_lease
        self._max_mails, self._max_idle, self._max_age = max_mails, max_idle, max_age
        self._tls = _tls_context(relay)
        self._permits = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._pause = RelayPause(first_pause)
        self._trouble = RelayTrouble(self._pause)
        self._refusals = SenderRefusals(first_pause)
        self._closing = False
        self._step = Step()
        self._busy = 0

    @property
    def address(self) -> str:
        """The relay as shown to people."""
        return self._relay.address

    async def wait_ready(self, stop: asyncio.Event) -> None:
        """Waits while the relay is known to be away, so that nothing is claimed in vain."""
        await self._pause.wait(stop)

    async def send(
        self, envelope_from: str, recipient: str, mail: bytes, before_dot: BeforeDot, lane: Lane | None = None
    ) -> Outcome | NotHandedOver:
        """One mail to one recipient. `before_dot` commits the intent (T2); without its yes no dot is written.

        `lane`: where this mail may be begun already, and what the next one's envelope is taken from.

        Cancelled after the dot it returns `Unclear`, or the answer if there is one, and the cancellation follows at the
        caller's next await: record the outcome before awaiting anything, and do not put a timeout around this call.
        """
        async with self._permits:
            begun = lane.take_begun(mail) if lane is not None else None
            if (rest := self._pause.rest) > 0:
                _close(begun)
                return Deferred("connect: the relay is away", None, True, counts=False, not_before_seconds=rest + 1)
            sender = common_sender(envelope_from)
            if (rest := self._refusals.rest(sender)) > 0:
                _close(begun)
                return Deferred("the mail server refuses this sender", counts=False, not_before_seconds=rest + 1)
            self._busy += 1
            try:
                outcome = await self._try(envelope_from, recipient, mail, before_dot, lane, begun)
            except ConnectFailed as exc:
                outcome = judge_connect(exc.failure, str(exc))
            finally:
                self._busy -= 1
            return self._weighed(sender, outcome)

    @property
    def connections(self) -> int:
        """Those in use and those kept open."""
        return self._busy + len(self._idle)

    @property
    def refuses_senders(self) -> bool:
        """Whether letters wait because the relay refuses their sender."""
        return self._refusals.any_waits

    async def close(self) -> None:
        """Says QUIT on idle connections; one that is sending is closed when its mail is done."""
        self._closing = True
        self._trouble.ends()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(connection.conversation) for connection in idle))

    async def _try(
        self,
        envelope_from: str,
        recipient: str,
        mail: bytes,
        before_dot: BeforeDot,
        lane: Lane | None,
        begun: tuple[Connection, Envelope] | None,
    ) -> Outcome | NotHandedOver:
        if begun is not None:
            connection, commands = begun
            outcome, in_step = await self._send_over(connection, commands, mail, before_dot, lane, begun=True)
            if in_step:
                return outcome
        while True:
            reused = self._take_idle()
            connection = reused or await self._connect()
            written = envelope(envelope_from, recipient, mail, smtputf8=connection.smtputf8)
            if not isinstance(written, Envelope):
                self._idle.append(connection)
                return Refused(written)
            outcome, _ = await self._send_over(connection, written, mail, before_dot, lane)
            # A server may close an idle connection at any time, just now too: then nothing was begun yet.
            if reused is None or connection.conversation.answered or not connection.conversation.lost:
                return outcome

    async def _send_over(
        self,
        connection: Connection,
        commands: Envelope,
        mail: bytes,
        before_dot: BeforeDot,
        lane: Lane | None,
        begun: bool = False,
    ) -> tuple[Outcome | NotHandedOver, bool]:
        """What came of it, and whether that is this mail's own: not what was meant for the one it was begun behind."""
        conversation = connection.conversation
        conversation.begin()
        transaction = Transaction(
            conversation,
            pipelining=connection.pipelining,
            timeout=self._timeout,
            final_timeout=self._final_timeout,
            reply_lease=self._reply_lease,
            begun=begun,
            behind_dot=partial(lane.begin_next, connection) if lane is not None and self._lasts(connection) else None,
        )
        try:
            outcome = await transaction.run(commands, mail, before_dot)
        except BaseException:
            # Cancelled, or T2 broke: the server must not go on waiting for a dot.
            conversation.abort()
            raise
        connection.slow = transaction.answered_after > LONGEST_WAIT / 2
        if begun and not transaction.asked and not (transaction.refused_itself and _is_rejection(outcome)):
            self._lose_step(conversation, outcome)
            return outcome, False
        if begun:
            self._step.hold()
        if lane is not None and lane.begun:
            # An answer in good order ends the letter: the server goes on with the next one, whatever the answer was.
            if isinstance(outcome, Sent) or _is_rejection(outcome):
                connection.mails += 1
            else:
                lane.give_up()
            return outcome, True
        try:
            await self._put_back(connection, outcome)
        except asyncio.CancelledError:
            # The connection is given up, the outcome stands.
            conversation.abort()
            cancel_again()
        except BaseException:
            conversation.abort()
            raise
        return outcome, True

    def _lose_step(self, conversation: SmtpConversation, outcome: Outcome | NotHandedOver) -> None:
        # A server that closes, or says that it is about to, says nothing about its order.
        closes = conversation.lost or (isinstance(outcome, Deferred) and outcome.relay_trouble)
        conversation.abort()
        if not closes and self._step.lose():
            self._log.warning("out_of_step", action="out_of_step", relay=self.address, seconds=STEP_PAUSE)

    def _weighed(self, sender: str, outcome: Outcome | NotHandedOver) -> Outcome | NotHandedOver:
        """What one outcome says about the relay and the sender, and they about the outcome (C36)."""
        if isinstance(outcome, Refused) and outcome.of_sender:
            outcome = judge_sender_refused(outcome, *self._refusals.count(sender))
            if isinstance(outcome, Deferred) and not outcome.relay_trouble:
                if self._refusals.begin_pause(sender):
                    RELAY_FAILURES.labels("sender").inc()
                    self._log.error(
                        "sender_refused", action="sender_refused", relay=self.address, reason=outcome.reason
                    )
                return replace(outcome, not_before_seconds=self._refusals.rest(sender) + 1)
        elif isinstance(outcome, Sent) or (isinstance(outcome, Refused) and outcome.code is not None):
            self._refusals.accepted(sender)
        if isinstance(outcome, Deferred) and outcome.relay_trouble:
            if self._pause.begin():
                self._trouble.begins(outcome.reason.partition(":")[0])
                say = self._log.warning if outcome.counts else self._log.error
                say("relay_away", action="relay_away", relay=self.address, reason=outcome.reason)
            return replace(outcome, not_before_seconds=self._pause.rest + 1)
        if isinstance(outcome, Sent | Refused):
            self._pause.end()
            self._trouble.ends()
        return outcome

    def _lasts(self, connection: Connection) -> bool:
        """Whether another letter may follow over this connection."""
        young = time.monotonic() - connection.opened_at < self._max_age
        return (
            connection.pipelining
            and not connection.slow
            and self._step.kept
            and young
            and connection.mails + 1 < self._max_mails
            and not self._closing
        )

    def _take_idle(self) -> Connection | None:
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            fresh = now - connection.used_at < self._max_idle and now - connection.opened_at < self._max_age
            if connection.conversation.usable and fresh and connection.mails < self._max_mails:
                return connection
            connection.conversation.abort()
        return None

    async def _put_back(self, connection: Connection, outcome: Outcome | NotHandedOver) -> None:
        conversation = connection.conversation
        clean = isinstance(outcome, Sent)
        if _is_rejection(outcome) and conversation.usable:
            clean = await self._reset(conversation)
        if clean and conversation.usable and not self._closing:
            connection.mails += 1
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        else:
            conversation.abort()

    async def _reset(self, conversation: SmtpConversation) -> bool:
        """The server said no in good order: after RSET the connection is as new."""
        with suppress(ConnectionTrouble, TimeoutError):
            conversation.write(b"RSET\r\n")
            async with asyncio.timeout(self._timeout):
                return (await conversation.reply()).code == 250
        return False

    async def _connect(self) -> Connection:
        client = await _greeted(self._relay, self._timeout, self._tls)
        transport = client.transport
        if transport is None:
            raise ConnectFailed(self._relay, ConnectFailure.AWAY, "connection closed")
        # Not an isinstance check: uvloop's transports are none of asyncio's classes.
        conversation = SmtpConversation(transport)  # type: ignore[arg-type]
        transport.set_protocol(conversation)
        # aiosmtplib's object lets go of the connection without closing it.
        client.protocol = client.transport = None
        now = time.monotonic()
        offers = client.supports_extension
        return Connection(conversation, offers("pipelining"), offers("smtputf8"), opened_at=now, used_at=now)


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the relay says for itself, and about senders: those that it refuses, with its words."""

    words: str
    refused: dict[str, str]


async def greet(relay: Relay, senders: Collection[str] = (), timeout: float = 5.0) -> Greeting:
    """Greets as the pool does and asks about senders (MAIL, then RSET: no letter begins); raises ConnectFailed."""
    client = await _greeted(relay, timeout, _tls_context(relay))
    offers = ", ".join(sorted(client.esmtp_extensions)) or "no extensions"
    refused = {}
    with suppress(aiosmtplib.SMTPException, OSError):
        for sender in senders:
            try:
                await client.mail(sender)
            except aiosmtplib.SMTPResponseException as exc:
                refused[sender] = one_line(f"{exc.code} {exc.message}")
            await client.rset()
        await client.quit()
    client.close()
    return Greeting(f"{relay.address} greets, TLS {relay.tls}, offers {offers}", refused)


async def _greeted(relay: Relay, timeout: float, tls: ssl.SSLContext | None) -> aiosmtplib.SMTP:
    """A connection after greeting, TLS and AUTH; raises ConnectFailed with the server's words."""
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        timeout=timeout,
        use_tls=relay.tls == "implicit",
        start_tls=False,
        tls_context=tls,
    )
    stage = ConnectFailure.AWAY
    try:
        await client.connect()
        await _hello(client)
        if relay.tls == "starttls":
            stage = ConnectFailure.TLS
            await client.starttls()
            await _hello(client)
        if relay.user is not None:
            stage = ConnectFailure.AUTH
            await client.login(relay.user, relay.password or "")
    except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
        client.close()
        words = one_line(str(exc)) or type(exc).__name__
        raise ConnectFailed(relay, _connect_failure(stage, exc), words) from exc
    except BaseException:
        client.close()
        raise
    return client


async def _hello(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        await client.helo()


def _connect_failure(stage: ConnectFailure, exc: Exception) -> ConnectFailure:
    if isinstance(exc, ssl.SSLError) or isinstance(exc.__cause__, ssl.SSLError):
        return ConnectFailure.TLS
    lost = isinstance(exc, ConnectionError | TimeoutError)
    closing = isinstance(exc, aiosmtplib.SMTPResponseException) and exc.code == 421
    return ConnectFailure.AWAY if lost or closing else stage


def _tls_context(relay: Relay) -> ssl.SSLContext | None:
    """Certificate and host name are verified, TLS 1.2 at least (S10)."""
    if relay.tls == "none":
        return None
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _quit(conversation: SmtpConversation) -> None:
    with suppress(ConnectionTrouble, TimeoutError):
        conversation.write(b"QUIT\r\n")
        async with asyncio.timeout(QUIT_TIMEOUT):
            await conversation.reply()
    conversation.transport.close()


def _close(begun: tuple[Connection, Envelope] | None) -> None:
    """Ends what a letter was begun on, without a dot."""
    if begun is not None:
        begun[0].conversation.abort()


def _is_rejection(outcome: Outcome | NotHandedOver) -> bool:
    match outcome:
        case Refused() | Deferred(code=int(), relay_trouble=False):
            return True
    return False
