"""The bus over RabbitMQ (3.10 and newer). pika is imported by the rabbitmq modules only."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from shared.bus.interface import QueueDepth, Subscription
from shared.bus.messages import JobDue, Message, WriteOrderReady
from shared.bus.rabbitmq_connection import BrokerConnection, nodes_of
from shared.bus.rabbitmq_examination import Topology, examine
from shared.bus.rabbitmq_publisher import Publisher
from shared.bus.rabbitmq_queues import depths
from shared.bus.rabbitmq_subscription import RabbitSubscription
from shared.bus.topology import route_of
from shared.errors import Unavailable

T = TypeVar("T")


class RabbitBus:
    """See Bus. One connection publishes, each subscription has one of its own; each of them repairs itself."""

    def __init__(self, url: str, log: Any) -> None:
        """`url` may name several nodes, comma-separated; raises InvalidSettings."""
        self._nodes, self._log = nodes_of(url), log
        self._publisher: Publisher | None = None
        self._subscriptions: list[RabbitSubscription] = []

    async def open(self) -> None:
        """See Bus.open."""
        # pika reports one refused connection in some twenty lines; ours says it in one, with the reason.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self._publisher = Publisher(self._nodes, self._log)
        await self._publisher.link.open()

    @property
    def ready(self) -> bool:
        """See Bus.ready."""
        return self._publisher is not None and self._publisher.ready

    async def publish(self, messages: Sequence[Message], traceparents: Sequence[str] = ()) -> list[bool]:
        """See Bus.publish."""
        return await self._publisher.publish(messages, traceparents) if self._publisher else [False] * len(messages)

    async def subscribe(self, message: type[JobDue] | type[WriteOrderReady], prefetch: int) -> Subscription:
        """See Bus.subscribe."""
        subscription = RabbitSubscription(self._nodes, route_of(message), prefetch, self._log)
        self._subscriptions.append(subscription)
        await subscription.link.open()
        return subscription

    async def depths(self) -> list[QueueDepth]:
        """See Bus.depths."""
        connection = self._publisher.link.connection if self._publisher else None
        if connection is None:
            raise Unavailable("broker", self._nodes[0].rpartition("@")[2], "not connected")
        return await depths(connection)

    async def close(self) -> None:
        """See Bus.close."""
        links = [subscription.link for subscription in self._subscriptions]
        if self._publisher is not None:
            links.append(self._publisher.link)
        await asyncio.gather(*(subscription.close() for subscription in self._subscriptions))
        await asyncio.gather(*(link.close() for link in links))
        self._subscriptions, self._publisher = [], None


async def look(url: str, timeout: float = 3.0) -> list[QueueDepth]:
    """Queue depths, asked once on a short connection (seconds per node); raises Unavailable."""
    return await _asked(url, timeout, depths)


async def examine_topology(url: str, role: str, timeout: float = 3.0) -> Topology:
    """What `doctor` wants to know for a role, asked in the same way; raises Unavailable."""
    return await _asked(url, timeout, lambda connection: examine(connection, role))


async def _asked(url: str, timeout: float, ask: Callable[[BrokerConnection], Awaitable[T]]) -> T:
    """The answer of the first node that can be reached."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    failure = Unavailable("broker", url.rpartition("@")[2], "no node is named")
    for node in nodes_of(url):
        try:
            connection = await BrokerConnection.to(node, "look", timeout)
        except Unavailable as exc:
            failure = exc
            continue
        try:
            async with asyncio.timeout(timeout):
                return await ask(connection)
        except TimeoutError:
            failure = Unavailable("broker", connection.address, f"no answer within {timeout:g} s")
        finally:
            await connection.close()
    raise failure
