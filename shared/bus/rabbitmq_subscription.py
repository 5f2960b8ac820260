"""Consuming one queue, with explicit acks that never outlive their channel."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from pika import BasicProperties
from pika.channel import Channel
from pika.spec import Basic

from shared.bus.interface import Delivery
from shared.bus.messages import UndecodableMessage, decode
from shared.bus.rabbitmq_connection import BrokerChannel, BrokerConnection
from shared.bus.rabbitmq_link import BrokerLink
from shared.bus.rabbitmq_queues import declare
from shared.errors import Unavailable


class RabbitSubscription:
    """See Subscription. Each connection is a generation: tags count from 1 again on every channel."""

    def __init__(self, nodes: Sequence[str], queue: str, prefetch: int, log: Any) -> None:
        self._queue, self._prefetch, self._log = queue, prefetch, log
        self.link = BrokerLink(nodes, f"consume {queue}", self._prepare, self._lost, log)
        self._channel: BrokerChannel | None = None
        self._consumer_tag = ""
        self._generation = 0
        #: Tags of this generation that the broker waits for, oldest first; the values have no meaning.
        self._unacked: dict[int, None] = {}
        self._waiting: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
        self._limit = 1
        self._closed = False

    async def batch(self, limit: int, linger: float) -> list[Delivery]:
        """See Subscription.batch."""
        while not self._waiting:
            if self._closed:
                return []
            self._arrived.clear()
            await self._arrived.wait()
        if linger and len(self._waiting) < limit and not self._closed:
            await self._linger(limit, linger)
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        # The connection may have been lost meanwhile, and all that waited with it.
        return taken or await self.batch(limit, linger)

    async def _linger(self, limit: int, seconds: float) -> None:
        self._limit = min(limit, self._prefetch)
        self._enough.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._enough.wait()
        except TimeoutError:
            pass

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See Subscription.ack."""
        tags = self._known(deliveries)
        if not tags or self._channel is None:
            return
        for tag in tags:
            del self._unacked[tag]
        oldest_open = next(iter(self._unacked), tags[-1] + 1)
        together = [tag for tag in tags if tag < oldest_open]
        if together:
            self._channel.pika.basic_ack(together[-1], multiple=len(together) > 1)
        for tag in tags[len(together) :]:
            self._channel.pika.basic_ack(tag)

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """See Subscription.dead_letter."""
        for tag in self._known([delivery]):
            self._reject(tag, reason)

    async def close(self) -> None:
        """See Subscription.close: what waits here goes back at once, what was handed out when the bus closes."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._channel is not None and self._channel.is_open:
                await self._channel.call(self._channel.pika.basic_cancel, consumer_tag=self._consumer_tag)
        except Unavailable as exc:
            self._log.info("cancel_unanswered", action="cancel_unanswered", reason=str(exc))
        for tag in self._known(self._waiting):
            del self._unacked[tag]
            if self._channel is not None:
                # The only requeue there is: nobody has looked at these (it counts as a delivery up to RabbitMQ 4.2).
                self._channel.pika.basic_reject(tag, requeue=True)
        self._waiting.clear()
        self._arrived.set()
        self._enough.set()

    def _known(self, deliveries: Sequence[Delivery] | deque[Delivery]) -> list[int]:
        """Ascending tags that may still be answered: an unknown or doubled tag would cost the whole channel (406)."""
        if self._channel is None or not self._channel.is_open:
            return []
        tags = {delivery.tag for delivery in deliveries if delivery.generation == self._generation}
        return sorted(tag for tag in tags if tag in self._unacked)

    async def _prepare(self, connection: BrokerConnection) -> None:
        if self._closed:
            return
        await declare(connection, self._log)
        channel = await connection.channel()
        channel.closed.add_done_callback(lambda _: asyncio.ensure_future(connection.close()))
        # The broker cancels consumers of a deleted queue; a new connection declares it again.
        channel.pika.add_on_cancel_callback(lambda _: asyncio.ensure_future(connection.close()))
        await channel.call(channel.pika.basic_qos, prefetch_count=self._prefetch)
        self._generation += 1
        self._channel = channel
        self._unacked.clear()
        consuming = await channel.call(
            channel.pika.basic_consume, queue=self._queue, on_message_callback=self._on_message
        )
        self._consumer_tag = consuming.consumer_tag

    def _lost(self) -> None:
        self._channel = None
        self._unacked.clear()
        self._waiting.clear()

    def _on_message(self, _: Channel, method: Basic.Deliver, __: BasicProperties, body: bytes) -> None:
        tag = method.delivery_tag
        self._unacked[tag] = None
        try:
            message = decode(body)
        except UndecodableMessage as exc:
            return self._reject(tag, str(exc))
        self._waiting.append(Delivery(message, tag, self._generation, bool(method.redelivered)))
        self._arrived.set()
        if len(self._waiting) >= self._limit:
            self._enough.set()

    def _reject(self, tag: int, reason: str) -> None:
        """Hands the message to the dead-letter exchange."""
        if self._channel is not None:
            del self._unacked[tag]
            self._channel.pika.basic_reject(tag, requeue=False)
            self._log.warning("dead_letter", action="dead_letter", queue=self._queue, reason=reason)
