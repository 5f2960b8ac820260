"""The bus inside one process, on kombu's memory transport: doorbells are lost with the process, rows are not."""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeVar

from kombu.connection import Connection

from shared.bus.inbox import Inbox
from shared.bus.interface import Delivery, QueueDepth, Subscription
from shared.bus.messages import (
    JobDue,
    Message,
    UndecodableMessage,
    WriteOrderReady,
    decode,
    encode,
    headers_of,
    traceparent_in,
)
from shared.bus.topology import DEAD_LETTER_EXCHANGE, EXCHANGE, ROUTES, Route, entities, route_of
from shared.errors import Unavailable
from shared.metrics import DEAD_LETTERS

T = TypeVar("T")
#: Work handed over to kombu's thread at most; whoever has more waits.
_BOUND = 1000


class EmbeddedBus:
    """One thread owns the kombu connection; everything else hands work over to it and gets futures back.

    kombu keeps memory queues for the whole process: one bus at a time, and each starts with empty queues.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._room = asyncio.Semaphore(_BOUND)
        self._thread: threading.Thread | None = None
        self._broker: _KombuSide

    async def open(self) -> None:
        """Starts the thread and declares the topology."""
        self._broker = _KombuSide(asyncio.get_running_loop(), self._log)
        self._thread = threading.Thread(target=self._run, name="kombu", daemon=True)
        self._thread.start()
        await self.call(self._broker.declare)

    @property
    def ready(self) -> bool:
        """A process always reaches itself."""
        return self._thread is not None

    async def publish(self, messages: Sequence[Message], traceparents: Sequence[str] = ()) -> list[bool]:
        """See Bus.publish."""
        if not self.ready:
            return [False] * len(messages)
        await self.call(lambda: self._broker.put(messages, traceparents))
        return [True] * len(messages)

    async def subscribe(self, message: type[JobDue] | type[WriteOrderReady], prefetch: int) -> Subscription:
        """See Bus.subscribe."""
        subscription = EmbeddedSubscription(self, self._broker, route_of(message), prefetch)
        await self.call(lambda: self._broker.subscriptions.append(subscription))
        DEAD_LETTERS.labels(subscription.queue)  # from 0 on
        return subscription

    async def depths(self) -> list[QueueDepth]:
        """See Bus.depths; consumers are those of this process."""
        return await self.call(self._broker.depths)

    async def close(self) -> None:
        """Ends the thread after the work that it was given."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put(None)
            await asyncio.to_thread(thread.join)

    async def call(self, work: Callable[[], T]) -> T:
        """Runs `work` in kombu's thread; raises Unavailable when the bus is closed."""
        async with self._room:
            if self._thread is None:
                raise Unavailable("broker", "memory://", "the bus is closed")
            answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            self._work.put(_answering(answer, work))
            return await answer

    def _run(self) -> None:
        with Connection("memory://") as connection:
            self._broker.channel = connection.channel()
            # No polling: only work that is handed over here changes what there is to deliver.
            while (work := self._work.get()) is not None:
                work()
                self._broker.deliver()


class EmbeddedSubscription:
    """The receiving side of one queue; see Subscription."""

    def __init__(self, bus: EmbeddedBus, broker: "_KombuSide", route: Route, prefetch: int) -> None:
        self._bus, self._broker = bus, broker
        self.route, self.queue, self.prefetch = route, route.queue, prefetch
        self.inbox = Inbox()
        #: What is delivered and not answered, by tag; belongs to kombu's thread.
        self.unacked: dict[int, Any] = {}

    async def batch(self, limit: int, linger: float) -> list[Delivery]:
        """See Subscription.batch."""
        return await self.inbox.batch(min(limit, self.prefetch), linger)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See Subscription.ack."""
        if self._bus.ready:
            await self._bus.call(lambda: self._broker.ack(self, deliveries))

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """See Subscription.dead_letter."""
        if self._bus.ready:
            await self._bus.call(lambda: self._broker.dead_letter(self, delivery.tag, reason))

    async def close(self) -> None:
        """See Subscription.close."""
        if not self.inbox.closed and self._bus.ready:
            # In this order: what the thread has sent meanwhile arrives before its answer does.
            await self._bus.call(lambda: self._broker.subscriptions.remove(self))
            left = self.inbox.close()
            await self._bus.call(lambda: self._broker.give_back(self, left))
        self.inbox.close()


class _KombuSide:
    """What runs in kombu's thread, and only there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: Any) -> None:
        self._loop, self._log = loop, log
        self.channel: Any = None
        self.subscriptions: list[EmbeddedSubscription] = []
        self._tags = count(1)

    def declare(self) -> None:
        """The topology, empty."""
        for entity in entities():
            bound = entity(self.channel)
            bound.declare()
            bound.purge()

    def put(self, messages: Sequence[Message], traceparents: Sequence[str]) -> None:
        """Publishes."""
        for index, message in enumerate(messages):
            headers = headers_of(traceparents, index)
            self._publish(EXCHANGE.name, route_of(message).queue, encode(message), headers)

    def _publish(
        self, exchange: str, routing_key: str, body: bytes | str, headers: dict[str, str] | None = None
    ) -> None:
        message = self.channel.prepare_message(body, headers=headers)
        self.channel.basic_publish(message, exchange=exchange, routing_key=routing_key)

    def deliver(self) -> None:
        """Hands over to each subscription what its prefetch leaves room for."""
        for subscription in self.subscriptions:
            try:
                self._deliver_to(subscription)
            except Exception:
                # This thread serves everyone: it must outlive what it did not expect.
                self._log.exception("delivery_broken", action="delivery_broken", queue=subscription.queue)

    def _deliver_to(self, subscription: EmbeddedSubscription) -> None:
        arrived: list[Delivery] = []
        while len(subscription.unacked) < subscription.prefetch:
            raw = self.channel.basic_get(subscription.queue)
            if raw is None:
                break
            tag = next(self._tags)
            subscription.unacked[tag] = raw
            try:
                message = decode(raw.body, subscription.route.message)
                arrived.append(Delivery(message, tag, traceparent=traceparent_in(raw.headers)))
            except UndecodableMessage as exc:
                self.dead_letter(subscription, tag, str(exc))
        if arrived:
            self._loop.call_soon_threadsafe(subscription.inbox.put, arrived)

    def ack(self, subscription: EmbeddedSubscription, deliveries: Sequence[Delivery]) -> None:
        """Confirms; a second ack of the same delivery changes nothing."""
        for delivery in deliveries:
            if raw := subscription.unacked.pop(delivery.tag, None):
                raw.ack()

    def dead_letter(self, subscription: EmbeddedSubscription, tag: int, reason: str) -> None:
        """Moves one delivery to the dead-letter queue: the memory transport has none of its own."""
        if raw := subscription.unacked.pop(tag, None):
            self._publish(DEAD_LETTER_EXCHANGE.name, subscription.queue, raw.body)
            raw.ack()
            DEAD_LETTERS.labels(subscription.queue).inc()
            self._log.warning("dead_letter", action="dead_letter", queue=subscription.queue, reason=reason)

    def give_back(self, subscription: EmbeddedSubscription, deliveries: Sequence[Delivery]) -> None:
        """Puts deliveries back at the head of their queue, in their order."""
        for delivery in reversed(deliveries):
            subscription.unacked.pop(delivery.tag).reject(requeue=True)

    def depths(self) -> list[QueueDepth]:
        """The messages that wait in each queue."""
        names = [name for route in ROUTES for name in (route.queue, route.dead_queue)]
        readers = [subscription.queue for subscription in self.subscriptions]
        return [QueueDepth(name, self.channel._size(name), readers.count(name)) for name in names]


def _answering(answer: "asyncio.Future[T]", work: Callable[[], T]) -> Callable[[], None]:
    """`work`, with its result or exception brought to `answer` in the loop's thread."""
    loop = answer.get_loop()

    def run() -> None:
        try:
            result = work()
        except Exception as exc:
            loop.call_soon_threadsafe(_fail, answer, exc)
        else:
            loop.call_soon_threadsafe(_succeed, answer, result)

    return run


def _succeed(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", exc: Exception) -> None:
    if not future.done():
        future.set_exception(exc)
