"""Doorbells published with confirms to the quorum queue, beside pika alone."""

import asyncio
import time
from collections.abc import Callable

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from bench.figures import Results
from bench.site import Site
from shared.bus.interface import Bus
from shared.bus.messages import WriteOrderReady
from shared.bus.topology import EXCHANGE, route_of

#: What is published before its confirms are waited for, as the sweep does it.
_TOGETHER = 2000
_BODY = b'{"v":1,"type":"write_order_ready","order_id":%d}'

Tell = Callable[[str], None]


def measure_publishing(results: Results, site: Site, messages: int, rounds: int, tell: Tell) -> None:
    """Both to the same queue, in turns, emptied before each."""
    site.ring([1])  # the queue is there now
    for number in range(1, rounds + 1):
        tell(f"publishing, round {number} of {rounds}")
        _purge(site)
        results.add("raw pika", messages / asyncio.run(_raw(site.broker_url, messages)))
        _purge(site)
        results.add("published", messages / site.on_bus(lambda bus: _ours(bus, messages)))
    _purge(site)


async def _ours(bus: Bus, messages: int) -> float:
    began = time.perf_counter()
    for start in range(0, messages, _TOGETHER):
        taken = await bus.publish([WriteOrderReady(number) for number in range(start + 1, start + 1 + _TOGETHER)])
        assert all(taken)
    return time.perf_counter() - began


async def _raw(url: str, messages: int) -> float:
    """pika's asyncio connection and nothing else: same exchange, same size, confirms counted."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Channel] = loop.create_future()

    def on_open(connection: AsyncioConnection) -> None:
        connection.channel(on_open_callback=opened.set_result)

    connection = AsyncioConnection(pika.URLParameters(url), on_open_callback=on_open)
    channel = await opened
    confirmed, wanted = 0, asyncio.Event()
    goal = 0

    def on_confirm(frame: object) -> None:
        nonlocal confirmed
        confirmed = frame.method.delivery_tag if frame.method.multiple else confirmed + 1  # type: ignore[attr-defined]
        if confirmed >= goal:
            wanted.set()

    selected: asyncio.Future[object] = loop.create_future()
    channel.confirm_delivery(on_confirm, callback=selected.set_result)
    await selected
    properties = pika.BasicProperties(delivery_mode=2)
    key = route_of(WriteOrderReady).queue
    began = time.perf_counter()
    for start in range(0, messages, _TOGETHER):
        wanted.clear()
        goal = start + _TOGETHER
        for number in range(start + 1, goal + 1):
            channel.basic_publish(EXCHANGE.name, key, _BODY % number, properties, mandatory=True)
        await wanted.wait()
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def _purge(site: Site) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(site.broker_url))
    connection.channel().queue_purge(route_of(WriteOrderReady).queue)
    connection.close()
