"""One connection to one RabbitMQ node, with pika's callbacks turned into awaitable calls and our errors."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pika import URLParameters
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosed, ConnectionClosedByBroker

from shared.errors import InvalidSettings, Unavailable
from shared.settings import without_password

HEARTBEAT_SECONDS = 30
#: How long the broker may hold our publishes back (memory or disk alarm) before the connection counts as lost.
BLOCKED_SECONDS = 300
#: For every answer of the broker but publisher confirms.
ANSWER_SECONDS = 30.0
#: For an orderly goodbye; after that the process just leaves.
GOODBYE_SECONDS = 5.0


class BrokerRefused(Unavailable):
    """The broker refuses a request and closed its channel, or the connection."""

    def __init__(self, address: str, code: int, reason: str) -> None:
        super().__init__("broker", address, f"{code} {reason}")
        self.code, self.reason = code, reason
        #: The queue that was to be declared, if it was about one.
        self.queue = ""


def nodes_of(url: str) -> list[str]:
    """The address of every node: `amqp://u:p@one:5672,two:5672/vhost` or whole addresses, comma-separated.

    Raises InvalidSettings for what is no AMQP address.
    """
    whole = url.split(",")
    if all("://" in part for part in whole):
        nodes = [part.strip() for part in whole]
    else:
        parts = urlsplit(url)
        account, at, hosts = parts.netloc.rpartition("@")
        nodes = [urlunsplit(parts._replace(netloc=account + at + host.strip())) for host in hosts.split(",")]
    for node in nodes:
        _parameters(node, "check")
    return nodes


def _parameters(node: str, name: str) -> URLParameters:
    try:
        parameters = URLParameters(node)
    except (ValueError, TypeError):
        # What pika says quotes a part of the password where that has a / in it.
        raise InvalidSettings(
            f"setting BROKER_URL: {without_password(node)} is no address like amqp://user@host:5672/vhost; "
            "percent-encode special characters of the password"
        ) from None
    parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.blocked_connection_timeout = BLOCKED_SECONDS
    parameters.client_properties = {"connection_name": f"kontaktpflege {name}"}
    return parameters


class BrokerConnection:
    """An open connection; `lost` is done, with the reason, once it is gone."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.blocked = False
        self._opened: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._pika: AsyncioConnection

    @classmethod
    async def to(cls, node: str, name: str, timeout: float) -> "BrokerConnection":
        """Connects to one node within `timeout` seconds; raises Unavailable."""
        self = cls(without_password(node))
        self._pika = AsyncioConnection(
            _parameters(node, name),
            on_open_callback=lambda _: settle(self._opened, None),
            on_open_error_callback=lambda _, exc: settle(self._opened, exc),
            on_close_callback=lambda _, exc: settle(self.lost, reason_of(exc)),
        )
        try:
            async with asyncio.timeout(timeout):
                failure = await self._opened
            if failure is not None:
                raise failure
        except BaseException as exc:
            self.end()
            if isinstance(exc, Exception):
                raise Unavailable("broker", self.address, reason_of(exc)) from exc
            raise
        self._pika.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        self._pika.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))
        return self

    def _set_blocked(self, blocked: bool) -> None:
        self.blocked = blocked

    async def channel(self) -> "BrokerChannel":
        """A new channel; raises Unavailable."""
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        self._check()
        self._pika.channel(on_open_callback=lambda channel: settle(opened, channel))
        await first_of(opened, self.lost)
        if not opened.done():
            self._check()
            raise Unavailable("broker", self.address, "no channel is opened")
        return BrokerChannel(self, opened.result())

    def end(self) -> None:
        """Begins to close it; `lost` tells when it is gone. Safe to call at any time."""
        if not (self._pika.is_closed or self._pika.is_closing):
            self._pika.close()

    async def close(self) -> None:
        """Says goodbye; safe to call at any time."""
        self.end()
        await asyncio.wait({self.lost}, timeout=GOODBYE_SECONDS)

    def _check(self) -> None:
        if self.lost.done() or not self._pika.is_open:
            raise Unavailable("broker", self.address, self.lost.result() if self.lost.done() else "closing")


class BrokerChannel:
    """An open channel; `closed` is done once it is gone, alone or with its connection."""

    def __init__(self, connection: BrokerConnection, channel: Channel) -> None:
        self.pika = channel
        self.address = connection.address
        self.closed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        channel.add_on_close_callback(lambda _, exc: settle(self.closed, exc))

    @property
    def is_open(self) -> bool:
        """Whether something can be sent on it."""
        return self.pika.is_open

    async def call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """One request and its answer; raises BrokerRefused (the channel is gone then) or Unavailable."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            method(callback=lambda frame: settle(answer, frame), **arguments)
        except AMQPError as exc:
            raise Unavailable("broker", self.address, reason_of(exc)) from exc
        await first_of(answer, self.closed)
        if answer.done():
            return answer.result().method
        if not self.closed.done():
            raise Unavailable("broker", self.address, f"no answer within {ANSWER_SECONDS:.0f} s")
        reason = self.closed.result()
        if isinstance(reason, ChannelClosed | ConnectionClosedByBroker):
            raise BrokerRefused(self.address, reason.reply_code, reason.reply_text)
        raise Unavailable("broker", self.address, reason_of(reason))

    async def close(self) -> None:
        """Closes the channel; safe when it is gone."""
        if self.pika.is_open:
            self.pika.close()
            await asyncio.wait({self.closed}, timeout=GOODBYE_SECONDS)


def settle(future: "asyncio.Future[Any]", value: Any) -> None:
    """Answers a future that may have been given up meanwhile."""
    if not future.done():
        future.set_result(value)


async def first_of(*futures: "asyncio.Future[Any]") -> None:
    """Waits for the first of them, or for as long as an answer may take."""
    await asyncio.wait(futures, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)


def reason_of(exc: BaseException) -> str:
    """The innermost reason, in a few words; pika wraps it up to four times."""
    inner: Sequence[Any] = getattr(exc, "exceptions", None) or [getattr(exc, "exception", None), *exc.args]
    for candidate in reversed(inner):
        if isinstance(candidate, BaseException):
            return reason_of(candidate)
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    text = getattr(exc, "reply_text", None) or str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
