"""The bus inside one process, on kombu's memory transport: doorbells are lost with the process, rows are not."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kombu.connection import Connection

from shared.bus.interface import Delivery, QueueDepth, Subscription
from shared.bus.messages import JobDue, Message, UndecodableMessage, WriteOrderReady, decode, encode
from shared.bus.topology import DEAD_LETTER_EXCHANGE, EXCHANGE, ROUTES, entities, route_of

T = TypeVar("T")
#: Seconds between looks into the queues; a publish of this process is seen at once.
POLL_SECONDS = 0.02
#: Work handed over to kombu's thread at most.
_BOUND = 1000


class EmbeddedBus:
    """One thread owns the kombu connection; everything else hands work over to it and gets futures back."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=_BOUND)
        self._thread: threading.Thread | None = None
        self._subscriptions: list[_EmbeddedSubscription] = []
        self._channel: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Starts the thread and declares the topology, empty: kombu keeps memory queues for the whole process."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="kombu", daemon=True)
        self._thread.start()
        await self._call(self._declare)

    @property
    def ready(self) -> bool:
        """A process always reaches itself."""
        return self._channel is not None

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Puts the messages into their queues."""
        if not self.ready:
            return [False] * len(messages)
        await self._call(lambda: self._put_all(messages))
        return [True] * len(messages)

    async def subscribe(self, message: type[JobDue] | type[WriteOrderReady], prefetch: int) -> Subscription:
        """Starts to receive one kind of message."""
        subscription = _EmbeddedSubscription(self, route_of(message).queue, prefetch)
        await self._call(lambda: self._subscriptions.append(subscription))
        return subscription

    async def depths(self) -> list[QueueDepth]:
        """The depth of every queue; consumers are those of this process."""
        return await self._call(self._depths)

    async def close(self) -> None:
        """Ends the thread."""
        if self._thread is None:
            return
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)
        self._thread = self._channel = None

    async def _call(self, work: Callable[[], T]) -> T:
        """Runs `work` in kombu's thread."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        def run() -> None:
            try:
                result = work()
            except Exception as exc:
                loop.call_soon_threadsafe(_fail, answer, exc)
            else:
                loop.call_soon_threadsafe(_answer, answer, result)

        while True:
            try:
                self._work.put_nowait(run)
                break
            except queue.Full:
                await asyncio.sleep(POLL_SECONDS)
        return await answer  # type: ignore[no-any-return]

    # Everything below runs in kombu's thread.

    def _run(self) -> None:
        with Connection("memory://", transport_options={"polling_interval": POLL_SECONDS}) as connection:
            self._channel = connection.channel()
            while True:
                try:
                    work = self._work.get(timeout=POLL_SECONDS if self._subscriptions else None)
                except queue.Empty:
                    work = _nothing
                if work is None:
                    return
                work()
                for subscription in self._subscriptions:
                    self._feed(subscription)

    def _declare(self) -> None:
        for entity in entities():
            bound = entity(self._channel)
            bound.declare()
            bound.purge()

    def _put_all(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.put_body(EXCHANGE.name, route_of(message).queue, encode(message))

    def put_body(self, exchange: str, routing_key: str, body: bytes) -> None:
        """A raw body by way of an exchange."""
        self._channel.basic_publish(self._channel.prepare_message(body), exchange=exchange, routing_key=routing_key)

    def _feed(self, subscription: "_EmbeddedSubscription") -> None:
        fed: list[Delivery] = []
        while subscription.unacked_count < subscription.prefetch:
            raw = self._channel.basic_get(subscription.queue)
            if raw is None:
                break
            try:
                message = decode(bytes(raw.body) if not isinstance(raw.body, str) else raw.body.encode())
            except UndecodableMessage as exc:
                self.to_dead(subscription.queue, raw.delivery_tag, str(exc))
                continue
            subscription.unacked_count += 1
            fed.append(Delivery(message, raw.delivery_tag))
        if fed and self._loop is not None:
            self._loop.call_soon_threadsafe(subscription.arrived, fed)

    def to_dead(self, name: str, tag: Any, reason: str) -> None:
        """Moves a message of queue `name` to its dead-letter queue."""
        held = self._channel.qos.get(tag)
        body = held.body if isinstance(held.body, bytes) else str(held.body).encode()
        self.put_body(DEAD_LETTER_EXCHANGE.name, name, body)
        self._channel.basic_ack(tag)
        self._log.warning("dead_letter", action="dead_letter", queue=name, reason=reason)

    def forget(self, subscription: "_EmbeddedSubscription", tags: Sequence[Any]) -> None:
        """Ends a subscription and puts back what it had not acked."""
        self._subscriptions.remove(subscription)
        for tag in tags:
            self._channel.basic_reject(tag, requeue=True)

    def ack(self, subscription: "_EmbeddedSubscription", tags: Sequence[Any]) -> None:
        """Confirms deliveries and makes room for new ones."""
        for tag in tags:
            self._channel.basic_ack(tag)
        subscription.unacked_count -= len(tags)

    def _depths(self) -> list[QueueDepth]:
        names = [name for route in ROUTES for name in (route.queue, route.dead_queue)]
        counts = {name: sum(s.queue == name for s in self._subscriptions) for name in names}
        return [QueueDepth(name, self._channel._size(name), counts[name]) for name in names]


class _EmbeddedSubscription:
    """The receiving side of one queue."""

    def __init__(self, bus: EmbeddedBus, name: str, prefetch: int) -> None:
        self._bus, self.queue, self.prefetch = bus, name, prefetch
        self.unacked_count = 0
        self._open_tags: set[Any] = set()
        self._ready: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def arrived(self, deliveries: Sequence[Delivery]) -> None:
        """New deliveries, in the loop's thread."""
        self._ready.extend(deliveries)
        self._open_tags.update(delivery.tag for delivery in deliveries)
        self._changed.set()

    async def batch(self, limit: int, linger: float) -> list[Delivery]:
        """See Subscription.batch."""
        while not self._ready:
            if self._closed:
                return []
            self._changed.clear()
            await self._changed.wait()
        if linger and len(self._ready) < limit:
            await asyncio.sleep(linger)
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See Subscription.ack."""
        tags = [delivery.tag for delivery in deliveries if delivery.tag in self._open_tags]
        self._open_tags.difference_update(tags)
        await self._bus._call(lambda: self._bus.ack(self, tags))

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """See Subscription.dead_letter."""
        if delivery.tag in self._open_tags:
            self._open_tags.discard(delivery.tag)
            await self._bus._call(lambda: self._bus.to_dead(self.queue, delivery.tag, reason))
            self.unacked_count -= 1

    async def close(self) -> None:
        """See Subscription.close: what was not handed out yet goes back at once."""
        if self._closed:
            return
        self._closed = True
        waiting = [delivery.tag for delivery in self._ready]
        self._ready.clear()
        self._open_tags.difference_update(waiting)
        await self._bus._call(lambda: self._bus.forget(self, waiting))
        self._changed.set()


def _nothing() -> None:
    """Only a look into the queues."""


def _answer(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", exc: Exception) -> None:
    if not future.done():
        future.set_exception(exc)
