"""The same promises on every transport; then those that only a broker can break."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
import structlog
from kombu import Connection

from shared.bus.connect import look, open_bus
from shared.bus.interface import Bus, Delivery, Subscription
from shared.bus.messages import JobDue, Message, WriteOrderReady, encode
from shared.bus.topology import EXCHANGE, entities, route_of
from shared.errors import InvalidSettings, Unavailable
from tests.servers.fresh import at_path
from tests.servers.processes import free_port
from tests.servers.relay import Relay

pytestmark = pytest.mark.timeout(120)
ORDERS = route_of(WriteOrderReady).queue


@pytest.fixture(params=["rabbitmq", "embedded"])
def url(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "embedded" else request.getfixturevalue("amqp_url")


@pytest.fixture
async def bus(url: str) -> AsyncIterator[Bus]:
    async with opened(url) as bus:
        yield bus


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


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
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


async def test_each_message_arrives_once_and_in_batches(bus: Bus) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=100)
    assert await bus.publish(orders(250)) == [True] * 250
    received = await receive(subscription, 250)
    assert sorted(ids(received)) == list(range(1, 251))
    await nothing_more(subscription)


async def test_a_batch_never_exceeds_its_limit(bus: Bus) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=100)
    await bus.publish(orders(20))
    assert len(await subscription.batch(limit=7, linger=1.0)) == 7


async def test_each_kind_of_message_has_its_own_queue(bus: Bus) -> None:
    jobs = await bus.subscribe(JobDue, prefetch=10)
    await bus.publish([WriteOrderReady(1), JobDue(2)])
    assert [delivery.message for delivery in await jobs.batch(limit=10, linger=0.1)] == [JobDue(2)]


async def test_publishing_nothing_is_nothing(bus: Bus) -> None:
    assert await bus.publish([]) == []


async def test_no_more_than_prefetch_is_out_without_an_ack(bus: Bus) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=5)
    await bus.publish(orders(12))
    held = await receive(subscription, 5, acking=False)
    await nothing_more(subscription)
    await subscription.ack(held[:2])
    assert len(await receive(subscription, 2, acking=False)) == 2
    await nothing_more(subscription)


async def test_acks_out_of_order_and_doubled_are_safe(bus: Bus) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=6)
    await bus.publish(orders(12))
    held = await receive(subscription, 6, acking=False)
    await subscription.ack([held[4]])
    assert ids(await receive(subscription, 1)) == [7]
    for some in ([held[1], held[0]], held, held):
        await subscription.ack(some)
    assert ids(await receive(subscription, 5)) == [8, 9, 10, 11, 12]
    await nothing_more(subscription)


async def test_closing_a_subscription_gives_back_what_nobody_took(bus: Bus) -> None:
    first = await bus.subscribe(WriteOrderReady, prefetch=10)
    await bus.publish(orders(10))
    taken = await receive(first, 4, acking=False)
    await first.close()
    second = await bus.subscribe(WriteOrderReady, prefetch=10)
    assert sorted(ids(await receive(second, 6))) == sorted(set(range(1, 11)) - set(ids(taken)))
    await first.ack(taken)
    await nothing_more(second)


async def test_batch_ends_empty_once_the_subscription_is_closed(bus: Bus) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
    waiting = asyncio.create_task(subscription.batch(limit=10, linger=0.1))
    await asyncio.sleep(0)
    await subscription.close()
    async with asyncio.timeout(5):
        assert await waiting == []
        assert await subscription.batch(limit=10, linger=0.1) == []


async def test_a_dead_letter_is_moved_and_seen_in_the_depths(bus: Bus) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
    await bus.publish(orders(2))
    bad, good = await receive(subscription, 2, acking=False)
    await subscription.dead_letter(bad, "the test says so")
    await subscription.ack([good, bad])
    await until(lambda: has(bus, f"{ORDERS}.dead", 1))
    assert await depth(bus, ORDERS) == 0


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"[]", b'{"v":1,"type":"order"}', encode(JobDue(1))[:-1]])
async def test_what_cannot_be_read_becomes_a_dead_letter_and_holds_nobody_up(url: str, bus: Bus, body: bytes) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=1)
    put_garbage(url, body)
    await bus.publish(orders(3))
    assert ids(await receive(subscription, 3)) == [1, 2, 3]
    await until(lambda: has(bus, f"{ORDERS}.dead", 1))


async def has(bus: Bus, queue: str, messages: int) -> bool:
    return await depth(bus, queue) == messages


async def test_depths_name_every_queue_with_messages_and_readers(bus: Bus) -> None:
    await bus.publish(orders(3))
    await bus.subscribe(JobDue, prefetch=1)
    await until(lambda: has(bus, ORDERS, 3))
    found = {depth.queue: (depth.messages, depth.consumers) for depth in await bus.depths()}
    assert set(found) == {entity.name for entity in entities()}
    assert found[ORDERS] == (3, 0)
    assert found[route_of(JobDue).queue] == (0, 1)


async def test_several_subscriptions_share_the_work(bus: Bus) -> None:
    subscriptions = [await bus.subscribe(WriteOrderReady, prefetch=5) for _ in range(3)]
    await bus.publish(orders(60))
    received: list[list[int]] = [[], [], []]

    async def work(number: int) -> None:
        while batch := await subscriptions[number].batch(limit=5, linger=0):
            received[number] += ids(batch)
            await subscriptions[number].ack(batch)
            await asyncio.sleep(0)

    workers = [asyncio.create_task(work(number)) for number in range(3)]
    await until(lambda: all_received(received, 60))
    for subscription in subscriptions:
        await subscription.close()
    await asyncio.gather(*workers)
    assert sorted(chain.from_iterable(received)) == list(range(1, 61))
    assert all(received)


async def all_received(received: list[list[int]], count: int) -> bool:
    return sum(map(len, received)) == count


async def test_five_thousand_messages_take_seconds_only(bus: Bus) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=400)
    started = time.monotonic()
    publishing = asyncio.create_task(bus.publish(orders(5000)))
    received = await receive(subscription, 5000)
    assert all(await publishing)
    assert sorted(ids(received)) == list(range(1, 5001))
    assert time.monotonic() - started < 15


async def test_several_publish_calls_at_once_each_get_their_own_answers(bus: Bus) -> None:
    answers = await asyncio.gather(*(bus.publish(orders(count)) for count in (1, 1200, 40)))
    assert answers == [[True] * 1, [True] * 1200, [True] * 40]


async def test_the_loop_goes_on_while_a_large_batch_is_published(bus: Bus) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    await bus.publish(orders(5000))
    watching.cancel()
    assert 0 < longest < 0.5


async def test_two_buses_one_after_the_other_start_and_end_cleanly(url: str) -> None:
    async with opened(url) as first:
        assert await first.publish(orders(1)) == [True]
    assert not first.ready
    assert await first.publish(orders(1)) == [False]
    async with opened(url) as second:
        assert await second.publish(orders(1)) == [True]


async def test_embedded_starts_empty_whatever_an_earlier_bus_of_the_process_left() -> None:
    async with opened("memory://") as first:
        await first.publish(orders(3))
    async with opened("memory://") as second:
        assert await depth(second, ORDERS) == 0


@pytest.mark.parametrize("url", ["redis://127.0.0.1", "filesystem://", "", "amqp://host:port/"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="BROKER_URL"):
        open_bus(url, structlog.get_logger())


# What only a broker can do.


async def test_rabbitmq_redelivers_what_was_taken_and_not_acked(amqp_url: str) -> None:
    async with opened(amqp_url) as first:
        await first.publish(orders(4))
        subscription = await first.subscribe(WriteOrderReady, prefetch=10)
        taken = await receive(subscription, 4, acking=False)
        assert not any(delivery.redelivered for delivery in taken)
        await subscription.ack([taken[3], taken[1]])
    async with opened(amqp_url) as second:
        again = await receive(await second.subscribe(WriteOrderReady, prefetch=10), 2)
    assert sorted(ids(again)) == [1, 3]
    assert all(delivery.redelivered for delivery in again)


async def test_rabbitmq_keeps_messages_when_every_client_is_gone(amqp_url: str) -> None:
    async with opened(amqp_url) as first:
        await first.publish(orders(3))
    assert {depth.queue: depth.messages for depth in await look(amqp_url)}[ORDERS] == 3


async def test_rabbitmq_answers_false_for_a_message_without_a_queue(amqp_url: str) -> None:
    async with opened(amqp_url) as bus:
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            connection.channel().queue_delete(ORDERS)
        assert await bus.publish([WriteOrderReady(1), JobDue(2), WriteOrderReady(3)]) == [False, True, False]
        assert await bus.publish([JobDue(4)]) == [True]


async def test_rabbitmq_answers_false_and_recovers_when_the_exchange_is_gone(amqp_url: str) -> None:
    async with opened(amqp_url) as bus:
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            connection.channel().exchange_delete(EXCHANGE.name)
        assert await bus.publish(orders(3)) == [False] * 3
        await until(lambda: publishes(bus))


async def publishes(bus: Bus) -> bool:
    return await bus.publish([WriteOrderReady(99)]) == [True]


async def test_rabbitmq_answers_false_when_the_queue_refuses(amqp_url: str) -> None:
    entity = next(entity for entity in entities() if entity.name == ORDERS)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        full = {**entity.queue_arguments, "x-max-length": 1}
        connection.channel().queue_declare(ORDERS, durable=True, arguments=full)
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE.name, EXCHANGE.type, durable=True)
        channel.queue_bind(ORDERS, EXCHANGE.name, ORDERS)
    # Opening it at all shows that other arguments than ours are no obstacle.
    async with opened(amqp_url) as bus:
        async with asyncio.timeout(30):
            while all(await bus.publish(orders(5))):
                pass
        assert await bus.publish([JobDue(1)]) == [True]


@pytest.fixture
async def relay(amqp_url: str) -> AsyncIterator[Relay]:
    relay = Relay(amqp_url)
    yield relay
    relay.shut()


async def test_rabbitmq_cut_connection_redelivers_and_ignores_old_acks(relay: Relay) -> None:
    async with opened(await relay.open()) as bus:
        subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
        await bus.publish(orders(4))
        before = await receive(subscription, 4, acking=False)
        relay.cut()
        after = await receive(subscription, 4, acking=False)
        await subscription.ack(before)
        await subscription.dead_letter(before[0], "too late")
        await nothing_more(subscription)
        relay.cut()
        assert sorted(ids(await receive(subscription, 4))) == sorted(ids(after)) == [1, 2, 3, 4]
        await until(lambda: publishes(bus))
        assert ids(await receive(subscription, 1)) == [99]


async def test_rabbitmq_answers_false_while_it_is_away_and_goes_on_when_it_comes_back(relay: Relay) -> None:
    async with opened(await relay.open()) as bus:
        subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
        relay.shut()
        await until(lambda: is_down(bus))
        async with asyncio.timeout(5):
            assert await bus.publish(orders(3)) == [False] * 3
        with pytest.raises(Unavailable):
            await bus.depths()
        await relay.open()
        await until(lambda: publishes(bus))
        assert ids(await receive(subscription, 1)) == [99]


async def is_down(bus: Bus) -> bool:
    return not bus.ready


async def test_rabbitmq_loss_in_the_middle_of_a_batch_answers_at_once(relay: Relay) -> None:
    async with opened(await relay.open()) as bus:
        publishing = asyncio.create_task(bus.publish(orders(20000)))
        await until(lambda: has_some(bus))
        relay.shut()
        async with asyncio.timeout(10):
            answers = await publishing
        assert False in answers
        # What was answered True is there: nothing that we took for safe is lost.
        await relay.open()
        await until(lambda: publishes(bus))
        assert await depth(bus, ORDERS) >= answers.count(True)


async def has_some(bus: Bus) -> bool:
    return await depth(bus, ORDERS) > 0


async def test_rabbitmq_open_waits_for_a_broker_that_is_not_there_yet(relay: Relay) -> None:
    address = await relay.open()
    relay.shut()
    log = Recorder()
    bus = open_bus(address, log)
    opening = asyncio.create_task(bus.open())
    await until(lambda: says(log, "waiting"))
    assert "127.0.0.1" in repr(log.lines)
    assert f":{urlsplit(address).password}@" not in repr(log.lines)
    await relay.open()
    async with asyncio.timeout(60):
        await opening
    assert await bus.publish(orders(1)) == [True]
    await bus.close()


class Recorder:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **values: self.lines.append((event, values))


async def says(log: Recorder, event: str) -> bool:
    return any(line[0] == event for line in log.lines)


async def test_rabbitmq_open_can_be_given_up(relay: Relay) -> None:
    address = await relay.open()
    relay.shut()
    bus = open_bus(address, structlog.get_logger())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await bus.open()
    await bus.close()


async def test_rabbitmq_deleted_queue_is_made_again_and_consumed(amqp_url: str) -> None:
    async with opened(amqp_url) as bus:
        subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            connection.channel().queue_delete(ORDERS)
        await until(lambda: publishes(bus))
        assert ids(await receive(subscription, 1)) == [99]


async def test_rabbitmq_any_of_several_nodes_will_do(amqp_url: str) -> None:
    account, _, rest = amqp_url.rpartition("@")
    several = f"{account}@127.0.0.1:{free_port()},{rest}"
    async with opened(several) as bus:
        assert await bus.publish(orders(1)) == [True]
    assert len(await look(several)) == 4


async def test_look_says_what_is_wrong_without_the_password(amqp_url: str) -> None:
    with pytest.raises(Unavailable, match="refused") as nobody:
        await look(f"amqp://guest:geheim@127.0.0.1:{free_port()}/")
    with pytest.raises(Unavailable, match="ProbableAuthentication") as wrong:
        await look(amqp_url.replace("guest:guest", "guest:geheim"))
    with pytest.raises(Unavailable, match="404"):
        await look(amqp_url)
    with pytest.raises(Unavailable):
        await look(at_path(amqp_url, "no such vhost"))
    assert "geheim" not in f"{nobody.value}{wrong.value}"
