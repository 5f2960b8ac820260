"""Consuming one queue, with explicit acks that never outlive their channel."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from pika import BasicProperties
from pika.channel import Channel
from pika.spec import Basic

from shared.bus.inbox import Inbox
from shared.bus.interface import Delivery
from shared.bus.messages import UndecodableMessage, decode, traceparent_in
from shared.bus.rabbitmq_connection import BrokerChannel, BrokerConnection, BrokerRefused
from shared.bus.rabbitmq_link import BrokerLink
from shared.bus.rabbitmq_queues import declare
from shared.bus.rabbitmq_repair import QueueRepair
from shared.bus.topology import Route
from shared.errors import Unavailable
from shared.metrics import DEAD_LETTERS

#: A subscription with room for so many unacked messages may hold some acks back.
MANY = 100


class RabbitSubscription:
    """See Subscription. Each connection is a generation: tags count from 1 again on every channel."""

    def __init__(self, nodes: Sequence[str], route: Route, prefetch: int, log: Any) -> None:
        self._route, self._queue, self._prefetch, self._log = route, route.queue, prefetch, log
        self.link = BrokerLink(nodes, f"consume {route.queue}", self._prepare, self._lost, log)
        self._channel: BrokerChannel | None = None
        self._consumer_tag = ""
        self._generation = 0
        #: Tags of this generation that the broker waits for, oldest first; the values have no meaning.
        self._unacked: dict[int, None] = {}
        #: Those of them that are dealt with: acked as soon as one frame can ack many.
        self._answered: set[int] = set()
        self._held_back = prefetch // 4 if prefetch >= MANY else 0
        self._inbox = Inbox()
        self._repair = QueueRepair(nodes, route.queue, log)
        DEAD_LETTERS.labels(route.queue)  # from 0 on: what appears as 1 has not increased for Prometheus

    async def batch(self, limit: int, linger: float) -> list[Delivery]:
        """See Subscription.batch."""
        return await self._inbox.batch(min(limit, self._prefetch), linger)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See Subscription.ack."""
        self._answered.update(self._known(deliveries))
        if self._channel is None or not self._answered:
            return
        together = list(takewhile(self._answered.__contains__, self._unacked))
        if together:
            self._channel.pika.basic_ack(together[-1], multiple=True)
            self._forget(together)
        # One that takes long holds up the acks behind it, but never the messages that they make room for.
        if len(self._answered) > self._held_back or self._inbox.closed:
            for tag in sorted(self._answered):
                self._channel.pika.basic_ack(tag)
            self._forget(list(self._answered))

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """See Subscription.dead_letter."""
        for tag in self._known([delivery]):
            self._reject(tag, reason)

    async def close(self) -> None:
        """See Subscription.close: what waits here goes back at once, what was handed out when the bus closes."""
        if self._inbox.closed:
            return
        waiting = self._inbox.close()
        try:
            if self._channel is not None and self._channel.is_open:
                await self._channel.call(self._channel.pika.basic_cancel, consumer_tag=self._consumer_tag)
        except Unavailable as exc:
            self._log.info("cancel_unanswered", action="cancel_unanswered", reason=str(exc))
        for tag in self._known(waiting):
            del self._unacked[tag]
            if self._channel is not None:
                # The only requeue there is: nobody has looked at these (it counts as a delivery up to RabbitMQ 4.2).
                self._channel.pika.basic_reject(tag, requeue=True)

    def _known(self, deliveries: Sequence[Delivery]) -> list[int]:
        """Ascending tags that may still be answered: an unknown or doubled tag would cost the whole channel (406)."""
        if self._channel is None or not self._channel.is_open:
            return []
        tags = {delivery.tag for delivery in deliveries if delivery.generation == self._generation}
        return sorted(tag for tag in tags if tag in self._unacked and tag not in self._answered)

    def _forget(self, tags: Sequence[int]) -> None:
        for tag in tags:
            del self._unacked[tag]
        self._answered.difference_update(tags)

    async def _prepare(self, connection: BrokerConnection) -> None:
        if self._inbox.closed:
            return
        await self._repair.when_broken(connection)
        try:
            await self._consume(connection)
        except BrokerRefused as exc:
            self._repair.broke(exc)
            raise
        self._repair.served()

    async def _consume(self, connection: BrokerConnection) -> None:
        await declare(connection, self._log)
        channel = await connection.channel()
        channel.closed.add_done_callback(lambda _: connection.end())
        # The broker cancels consumers of a deleted queue; a new connection declares it again.
        channel.pika.add_on_cancel_callback(lambda _: connection.end())
        await channel.call(channel.pika.basic_qos, prefetch_count=self._prefetch)
        self._lost()
        self._generation += 1
        self._channel = channel
        consuming = await channel.call(
            channel.pika.basic_consume, queue=self._queue, on_message_callback=self._on_message
        )
        self._consumer_tag = consuming.consumer_tag
        if self._inbox.closed:  # meanwhile
            connection.end()

    def _lost(self) -> None:
        self._channel = None
        self._unacked.clear()
        self._answered.clear()
        self._inbox.clear()

    def _on_message(self, _: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        tag = method.delivery_tag or 0
        self._unacked[tag] = None
        try:
            message = decode(body, self._route.message)
        except UndecodableMessage as exc:
            self._reject(tag, str(exc))
            return
        traceparent = traceparent_in(properties.headers)
        self._inbox.put([Delivery(message, tag, self._generation, bool(method.redelivered), traceparent)])

    def _reject(self, tag: int, reason: str) -> None:
        """Hands the message to the dead-letter exchange."""
        if self._channel is not None:
            del self._unacked[tag]
            self._channel.pika.basic_reject(tag, requeue=False)
            DEAD_LETTERS.labels(self._queue).inc()
            self._log.warning("dead_letter", action="dead_letter", queue=self._queue, reason=reason)
