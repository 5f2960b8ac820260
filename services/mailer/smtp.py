"""Connections to the relay: made by aiosmtplib (its only importer), kept in a pool, dropped on any doubt."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import aiosmtplib

from services.mailer.outcome import Deferred, NotHandedOver, Outcome, Refused, Sent, Stage, one_line
from services.mailer.smtp_transaction import ConnectionTrouble, SmtpConversation, transact
from shared.domain.mail_addresses import ascii_domain_address
from shared.errors import InvalidSettings, Unavailable
from shared.settings import is_loopback

#: Seconds: after a failed connect others wait, doubling from the first to the last.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 900.0
#: A connection is replaced after so many mails, or so many idle seconds.
MOST_MAILS, LONGEST_IDLE = 1000, 20.0
_SCHEMES: dict[str, tuple[Literal["none", "implicit", "starttls"], int]] = {
    "smtp": ("none", 25),
    "smtps": ("implicit", 465),
    "smtp+starttls": ("starttls", 587),
}


@dataclass(frozen=True, slots=True)
class Relay:
    """The mail server that takes every letter."""

    host: str
    port: int
    tls: Literal["none", "implicit", "starttls"]
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Relay({self.host}:{self.port}, tls={self.tls})"

    @property
    def address(self) -> str:
        """Host and port, as shown to people."""
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class _Connection:
    conversation: SmtpConversation
    pipelining: bool
    smtputf8: bool
    used_at: float


def parse_smtp_url(url: str, password: str | None = None) -> Relay:
    """The relay of an SMTP_URL; raises InvalidSettings. TLS that is asked for is required, never optional (S10)."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise InvalidSettings(
            "setting SMTP_URL: give smtp://HOST, smtps://HOST or smtp+starttls://HOST, with :PORT if unusual"
        )
    tls, usual_port = _SCHEMES[parts.scheme]
    user = unquote(parts.username) if parts.username else None
    secret = password or (unquote(parts.password) if parts.password else None)
    if user and tls == "none" and not is_loopback(url):
        raise InvalidSettings("setting SMTP_URL: a password is never sent in clear; use smtps:// or smtp+starttls://")
    try:
        port = parts.port or usual_port
    except ValueError:
        raise InvalidSettings("setting SMTP_URL: the port must be a number below 65536") from None
    return Relay(parts.hostname, port, tls, user, secret)


class SmtpPool:
    """Up to as many connections as there are senders; each sender holds one at a time."""

    def __init__(self, relay: Relay, *, size: int, timeout: float, final_timeout: float, log: Any) -> None:
        self._relay, self._size, self._timeout, self._final_timeout = relay, size, timeout, final_timeout
        self._log = log
        self._idle: list[_Connection] = []
        self._pause = 0.0
        self._down_until = 0.0

    @property
    def address(self) -> str:
        """The relay as shown to people."""
        return self._relay.address

    async def wait_ready(self, stop: asyncio.Event) -> None:
        """Waits while the relay is known to be away, so that nothing is claimed in vain."""
        while (rest := self._down_until - time.monotonic()) > 0 and not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rest)

    async def send(
        self, envelope_from: str, recipient: str, mail: bytes, before_dot: Callable[[], Awaitable[bool]]
    ) -> Outcome | NotHandedOver:
        """One mail to one recipient. `before_dot` commits the intent (T2); without its yes no dot is written."""
        rest = self._down_until - time.monotonic()
        if rest > 0:
            return Deferred("connect: the relay is away", relay_trouble=True, not_before_seconds=rest + 1)
        connection = self._take_idle()
        if connection is None:
            try:
                connection = await self._connect()
            except Unavailable as exc:
                self._trouble()
                return Deferred(
                    f"{Stage.CONNECT}: {one_line(str(exc))}", relay_trouble=True, not_before_seconds=self._pause + 1
                )
        try:
            return await self._send_over(connection, envelope_from, recipient, mail, before_dot)
        except asyncio.CancelledError:
            connection.conversation.abort()
            raise

    async def _send_over(
        self,
        connection: _Connection,
        envelope_from: str,
        recipient: str,
        mail: bytes,
        before_dot: Callable[[], Awaitable[bool]],
    ) -> Outcome | NotHandedOver:
        commands = _commands(envelope_from, recipient, connection.smtputf8)
        if commands is None:
            self._idle.append(connection)
            return Refused("the address needs SMTPUTF8, which the relay does not offer, or holds forbidden characters")
        outcome = await transact(
            connection.conversation,
            commands,
            mail,
            before_dot,
            pipelining=connection.pipelining,
            timeout=self._timeout,
            final_timeout=self._final_timeout,
        )
        if isinstance(outcome, Deferred) and outcome.relay_trouble:
            self._trouble()
            outcome = Deferred(outcome.reason, outcome.code, True, self._pause + 1)
        elif not isinstance(outcome, NotHandedOver):
            self._pause = 0.0
        await self._put_back(connection, clean=isinstance(outcome, Sent), rejected=_is_rejection(outcome))
        return outcome

    async def close(self) -> None:
        """Says QUIT on idle connections; whatever they answer no longer matters."""
        idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(ConnectionTrouble, TimeoutError):
                connection.conversation.write(b"QUIT\r\n")
                async with asyncio.timeout(2):
                    await connection.conversation.reply()
            connection.conversation.transport.close()

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            fresh = time.monotonic() - connection.used_at < LONGEST_IDLE
            if connection.conversation.usable and fresh and connection.conversation.mails < MOST_MAILS:
                return connection
            connection.conversation.abort()
        return None

    async def _put_back(self, connection: _Connection, *, clean: bool, rejected: bool) -> None:
        conversation = connection.conversation
        if rejected and conversation.usable:
            # The server answered in order and said no: after RSET the connection is as new.
            with suppress(ConnectionTrouble, TimeoutError):
                conversation.write(b"RSET\r\n")
                async with asyncio.timeout(self._timeout):
                    clean = (await conversation.reply()).code == 250
        if clean and conversation.usable:
            conversation.mails += 1
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        else:
            conversation.abort()

    def _trouble(self) -> None:
        now = time.monotonic()
        if now < self._down_until:
            return  # one failure of many at the same moment
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        self._down_until = now + self._pause
        self._log.warning("relay_away", action="relay_away", relay=self.address, pause_seconds=self._pause)

    async def _connect(self) -> _Connection:
        client = await _greeted(self._relay, self._timeout)
        transport = client.transport
        if not isinstance(transport, asyncio.Transport):
            raise Unavailable("mail server", self.address, "connection closed")
        conversation = SmtpConversation(transport)
        transport.set_protocol(conversation)
        # aiosmtplib's object lets go of the connection without closing it.
        client.protocol = client.transport = None
        offers = client.supports_extension
        return _Connection(conversation, offers("pipelining"), offers("smtputf8"), time.monotonic())


async def _greeted(relay: Relay, timeout: float) -> aiosmtplib.SMTP:
    """A connection after greeting, TLS and AUTH; raises Unavailable with the server's words."""
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        timeout=timeout,
        use_tls=relay.tls == "implicit",
        start_tls=relay.tls == "starttls",
        tls_context=_tls_context() if relay.tls != "none" else None,
    )
    try:
        await client.connect()
        await client.ehlo()
        if relay.user is not None:
            await client.login(relay.user, relay.password or "")
    except (aiosmtplib.SMTPException, ssl.SSLError, OSError, TimeoutError) as exc:
        client.close()
        raise Unavailable("mail server", relay.address, one_line(str(exc)) or type(exc).__name__) from exc
    return client


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def greet(relay: Relay, timeout: float = 5.0) -> str:
    """What the relay says for itself, for `doctor`; raises Unavailable."""
    client = await _greeted(relay, timeout)
    offers = ", ".join(sorted(client.esmtp_extensions)) or "no extensions"
    with suppress(aiosmtplib.SMTPException, OSError):
        await client.quit()
    return f"{relay.address} greets, TLS {relay.tls}, offers {offers}"


def _commands(envelope_from: str, recipient: str, smtputf8: bool) -> tuple[bytes, bytes, bytes] | None:
    """The envelope as commands; None for addresses that cannot be written safely (S6, S9)."""
    addresses = [ascii_domain_address(envelope_from), ascii_domain_address(recipient)]
    if any(_FORBIDDEN & set(address) or not address.isprintable() for address in addresses):
        return None
    utf8 = not all(address.isascii() for address in addresses)
    if utf8 and not smtputf8:
        return None
    option = " SMTPUTF8" if utf8 else ""
    sender, receiver = addresses
    return (
        f"MAIL FROM:<{sender}>{option}\r\n".encode(),
        f"RCPT TO:<{receiver}>\r\n".encode(),
        b"DATA\r\n",
    )


_FORBIDDEN = set("<> \t\r\n\x00")


def _is_rejection(outcome: Outcome | NotHandedOver) -> bool:
    match outcome:
        case Refused():
            return True
        case Deferred(code=int(), relay_trouble=False):
            return True
    return False
