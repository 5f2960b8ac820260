"""What RabbitMQ does with a dead letter that it cannot hand over: nothing is lost."""

import asyncio

import pika
from prometheus_client import REGISTRY

from shared.bus.messages import WriteOrderReady
from shared.bus.topology import DEAD_LETTER_EXCHANGE
from shared.metrics import DEAD_LETTERS
from tests.contract.buses import ORDERS, has, opened, put_garbage, until


async def refused() -> bool:
    return REGISTRY.get_sample_value("kontaktpflege_dead_letters_total", {"queue": ORDERS}) == 1


async def test_rabbitmq_keeps_a_dead_letter_that_has_no_way_until_there_is_one(amqp_url: str) -> None:
    dead = f"{ORDERS}.dead"
    DEAD_LETTERS.clear()
    async with opened(amqp_url) as bus:
        await bus.subscribe(WriteOrderReady, prefetch=10)
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            channel = connection.channel()
            channel.queue_unbind(dead, DEAD_LETTER_EXCHANGE.name, ORDERS)
            put_garbage(amqp_url, b"none of ours")
            await until(refused)
            # The broker's own way from there.
            await asyncio.sleep(0.5)
            assert await has(bus, ORDERS, 0) and await has(bus, dead, 0)
            channel.queue_bind(dead, DEAD_LETTER_EXCHANGE.name, ORDERS)
        # A broker that is not set up by these tests tries again after three minutes.
        await until(lambda: has(bus, dead, 1), 240)
