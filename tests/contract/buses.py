"""Opening a bus and waiting for what it does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pika
import pytest
import structlog
from kombu import Connection

from shared.bus.connect import open_bus
from shared.bus.interface import Bus, Delivery, Subscription
from shared.bus.messages import Message, WriteOrderReady
from shared.bus.topology import EXCHANGE, route_of

ORDERS = route_of(WriteOrderReady).queue


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Bus]:
    bus = open_bus(url, structlog.get_logger())
    await bus.open()
    try:
        yield bus
    finally:
        await bus.close()


def orders(count: int) -> list[Message]:
    return [WriteOrderReady(number) for number in range(1, count + 1)]


def ids(deliveries: list[Delivery]) -> list[int]:
    return [delivery.message.order_id for delivery in deliveries if isinstance(delivery.message, WriteOrderReady)]


async def receive(subscription: Subscription, count: int, acking: bool = True) -> list[Delivery]:
    received: list[Delivery] = []
    async with asyncio.timeout(30):
        while len(received) < count:
            batch = await subscription.batch(limit=count - len(received), linger=0.02)
            received += batch
            if acking:
                await subscription.ack(batch)
    return received


async def nothing_more(subscription: Subscription) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await subscription.batch(limit=1, linger=0)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - the state is the broker's
            await asyncio.sleep(0.02)


async def depth(bus: Bus, queue: str) -> int:
    return next(depth.messages for depth in await bus.depths() if depth.queue == queue)


def put_garbage(url: str, body: bytes) -> None:
    """A body that is none of ours, put into the queue by other means than the bus."""
    if url == "memory://":
        with Connection(url) as connection:
            channel = connection.channel()
            channel.basic_publish(channel.prepare_message(body), exchange=EXCHANGE.name, routing_key=ORDERS)
        return
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().basic_publish(EXCHANGE.name, ORDERS, body)


async def has(bus: Bus, queue: str, messages: int) -> bool:
    return await depth(bus, queue) == messages
