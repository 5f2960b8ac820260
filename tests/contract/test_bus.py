"""The same promises on every transport; then those that only a broker can break."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import chain

import pytest
import structlog
from prometheus_client import REGISTRY

from shared.bus.connect import open_bus
from shared.bus.interface import Bus
from shared.bus.messages import JobDue, WriteOrderReady, encode
from shared.bus.topology import entities, route_of
from shared.errors import InvalidSettings
from shared.metrics import DEAD_LETTERS
from tests.contract.buses import ORDERS, depth, has, ids, nothing_more, opened, orders, put_garbage, receive, until


@pytest.fixture(params=["rabbitmq", "embedded"])
def url(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "embedded" else request.getfixturevalue("amqp_url")


@pytest.fixture
async def bus(url: str) -> AsyncIterator[Bus]:
    async with opened(url) as bus:
        yield bus


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


UNREADABLE = [
    b"",
    b"\xff\x00",
    b"[]",
    b'{"v":1,"type":"order"}',
    b'{"v":2,"type":"write_order_ready","order_id":1}',
    encode(JobDue(1))[:-1],
    # Ours, on the wrong queue: whoever reads here must not stumble over it.
    encode(JobDue(1)),
    # More than the database's ids can be.
    encode(WriteOrderReady(2**63)),
    encode(WriteOrderReady(-1)),
    b"x" * 1_000_000,
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_c21_c55_what_cannot_be_read_becomes_a_dead_letter_and_holds_nobody_up(
    url: str, bus: Bus, body: bytes
) -> None:
    subscription = await bus.subscribe(WriteOrderReady, prefetch=1)
    put_garbage(url, body)
    await bus.publish(orders(3))
    assert ids(await receive(subscription, 3)) == [1, 2, 3]
    await until(lambda: has(bus, f"{ORDERS}.dead", 1))


async def test_dead_letters_are_counted_from_nought_on(bus: Bus) -> None:
    DEAD_LETTERS.clear()
    await bus.subscribe(JobDue, prefetch=1)
    told = REGISTRY.get_sample_value("kontaktpflege_dead_letters_total", {"queue": route_of(JobDue).queue})
    assert told == 0


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


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_i22_each_message_carries_its_own_trace_beside_it(bus: Bus) -> None:
    jobs, letters = await bus.subscribe(JobDue, prefetch=10), await bus.subscribe(WriteOrderReady, prefetch=10)
    others = [TRACE.replace("4bf9", f"{number:04x}") for number in range(1, 4)]
    assert await bus.publish([JobDue(1)], [TRACE]) == [True]
    assert await bus.publish(orders(3), others) == [True] * 3
    assert [delivery.traceparent for delivery in await receive(jobs, 1)] == [TRACE]
    assert [delivery.traceparent for delivery in await receive(letters, 3)] == others
    # Without traces nothing is carried.
    await bus.publish(orders(1))
    assert [delivery.traceparent for delivery in await receive(letters, 1)] == [None]


def test_i22_a_message_with_its_trace_stays_under_one_kib() -> None:
    assert len(encode(WriteOrderReady(2**63 - 1))) + len("traceparent") + len(TRACE) < 1024
