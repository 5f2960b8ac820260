"""The topology on a RabbitMQ node: declared where we may, looked at where we may not."""

from typing import Any

from shared.bus.interface import QueueDepth
from shared.bus.rabbitmq_connection import BrokerChannel, BrokerConnection, BrokerRefused
from shared.bus.topology import ROUTES, entities

_ACCESS_REFUSED, _ARGUMENTS_DIFFER = 403, 406


async def declare(connection: BrokerConnection, log: Any) -> None:
    """Declares every exchange, queue and binding; raises Unavailable.

    What exists with other arguments, or may not be declared by us, is used as it is, with a warning: a differing
    policy never keeps a service from starting.
    """
    channel = await connection.channel()
    for entity in entities():
        try:
            await _declare_one(channel, entity)
        except BrokerRefused as exc:
            if exc.code not in (_ACCESS_REFUSED, _ARGUMENTS_DIFFER):
                exc.queue = entity.name
                raise
            log.warning("topology_differs", action="topology_differs", queue=entity.name, reason=exc.reason)
            channel = await connection.channel()
            await channel.call(channel.pika.queue_declare, queue=entity.name, passive=True)
    await channel.close()


async def declare_weaker(channel: BrokerChannel, queue: str) -> None:
    """Declares one queue with dead letters that the broker does not confirm; raises Unavailable.

    The worker of the broker that confirms them can be gone for good, and RabbitMQ 3.10 then serves no such queue.
    """
    entity: Any = next(entity for entity in entities() if entity.name == queue)
    del entity.queue_arguments["x-dead-letter-strategy"]
    await _declare_one(channel, entity)


async def _declare_one(channel: BrokerChannel, entity: Any) -> None:
    exchange = entity.exchange
    await channel.call(
        channel.pika.exchange_declare,
        exchange=exchange.name,
        exchange_type=exchange.type,
        durable=exchange.durable,
    )
    await channel.call(
        channel.pika.queue_declare, queue=entity.name, durable=entity.durable, arguments=entity.queue_arguments
    )
    await channel.call(
        channel.pika.queue_bind, queue=entity.name, exchange=exchange.name, routing_key=entity.routing_key
    )


async def depths(connection: BrokerConnection) -> list[QueueDepth]:
    """Every queue's depth (messages that wait; the unacknowledged are not told) on a short channel of its own.

    Raises Unavailable, also for a queue that is missing.
    """
    channel = await connection.channel()
    found = []
    for name in (name for route in ROUTES for name in (route.queue, route.dead_queue)):
        answer = await channel.call(channel.pika.queue_declare, queue=name, passive=True)
        found.append(QueueDepth(name, answer.message_count, answer.consumer_count))
    await channel.close()
    return found
