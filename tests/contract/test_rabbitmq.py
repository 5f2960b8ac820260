"""What RabbitMQ adds to the contract: redelivery, refusals, cut connections, lost queues."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
import structlog

from shared.bus import rabbitmq_connection, rabbitmq_publisher
from shared.bus.connect import look, open_bus
from shared.bus.interface import Bus
from shared.bus.messages import JobDue, WriteOrderReady
from shared.bus.topology import DELIVERY_LIMIT, EXCHANGE, entities
from shared.errors import Unavailable
from tests.chaos.nodes import Broker
from tests.contract.buses import ORDERS, depth, ids, nothing_more, opened, orders, receive, until
from tests.servers.fresh import at_path
from tests.servers.processes import free_port
from tests.servers.relay import Relay


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


async def test_rabbitmq_acks_many_at_once_and_is_not_held_up_by_one(amqp_url: str) -> None:
    async with opened(amqp_url) as bus:
        await bus.publish(orders(300))
        subscription = await bus.subscribe(WriteOrderReady, prefetch=100)
        first, *others = await receive(subscription, 100, acking=False)
        # While the first one takes its time the others are acked in the end, and make room.
        for delivery in others:
            await subscription.ack([delivery])
        assert len(await receive(subscription, 70, acking=False)) == 70
        await subscription.ack([first])
    depth = {depth.queue: depth.messages for depth in await look(amqp_url)}[ORDERS]
    assert 200 <= depth <= 230


async def test_rabbitmq_keeps_messages_when_every_client_is_gone(amqp_url: str) -> None:
    async with opened(amqp_url) as first:
        await first.publish(orders(3))
    assert {depth.queue: depth.messages for depth in await look(amqp_url)}[ORDERS] == 3


async def test_rabbitmq_c13_answers_false_for_a_message_without_a_queue(amqp_url: str) -> None:
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


async def test_rabbitmq_c15_c23_answers_false_when_the_queue_refuses(amqp_url: str) -> None:
    entity = next(entity for entity in entities() if entity.name == ORDERS)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        full = {**entity.queue_arguments, "x-max-length": 1}
        connection.channel().queue_declare(ORDERS, durable=True, arguments=full)
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE.name, EXCHANGE.type, durable=True)
        channel.queue_bind(ORDERS, EXCHANGE.name, ORDERS)
    # Opening it at all shows that other arguments than ours are no obstacle.
    async with opened(amqp_url) as bus:
        answers = [True]
        end = time.monotonic() + 10
        while all(answers) and time.monotonic() < end:
            answers = await bus.publish(orders(5))
        assert not all(answers)
        assert await bus.publish([JobDue(1)]) == [True]


@pytest.fixture
async def relay(amqp_url: str) -> AsyncIterator[Relay]:
    relay = Relay(amqp_url)
    yield relay
    relay.shut()


async def test_rabbitmq_c17_cut_connection_redelivers_and_ignores_old_acks(relay: Relay) -> None:
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


async def test_rabbitmq_c16_a_confirm_that_never_comes_counts_as_not_taken(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_publisher, "CONFIRM_SECONDS", 1.0)
    monkeypatch.setattr(rabbitmq_publisher, "WINDOW", 3)
    log = Recorder()
    bus = open_bus(await relay.open(), log)
    await bus.open()
    try:
        relay.freeze()
        began = time.monotonic()
        assert await bus.publish(orders(3)) == [False] * 3
        assert 1.0 <= time.monotonic() - began < 10
        assert await says(log, "confirm_timeout")
        # What was given up takes no room: the next ones are written too.
        assert await bus.publish([WriteOrderReady(4)]) == [False]
        relay.thaw()
        # Confirms that come late after all say nothing about what is published next.
        subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
        assert sorted(ids(await receive(subscription, 4))) == [1, 2, 3, 4]
        assert await bus.publish([WriteOrderReady(99)]) == [True]
        assert ids(await receive(subscription, 1)) == [99]
    finally:
        await bus.close()


async def test_rabbitmq_c17_a_half_open_connection_is_noticed_by_its_heartbeat_and_left_behind(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_connection, "HEARTBEAT_SECONDS", 1)
    log = Recorder()
    bus = open_bus(await relay.open(), log)
    await bus.open()
    try:
        subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
        await bus.publish(orders(4))
        before = await receive(subscription, 4, acking=False)
        relay.freeze()
        # Nobody closes anything: only silence tells.
        await until(lambda: is_down(bus))
        await until(lambda: loses(log, "publish", "consume"))
        assert await bus.publish(orders(1)) == [False]
        relay.thaw()
        after = await receive(subscription, 4, acking=False)
        assert sorted(ids(after)) == [1, 2, 3, 4] and all(delivery.redelivered for delivery in after)
        await subscription.ack(before)
        await until(lambda: publishes(bus))
        await subscription.ack(after)
        assert ids(await receive(subscription, 1)) == [99]
        await nothing_more(subscription)
    finally:
        await bus.close()


async def loses(log: "Recorder", *links: str) -> bool:
    lost = [values["link"] for event, values in log.lines if event == "broker_lost"]
    return all(any(one.startswith(link) for one in lost) for link in links)


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


async def test_rabbitmq_c10_what_was_confirmed_before_a_kill_is_there_and_the_rest_can_be_published_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A queue that recovers may keep a publisher waiting: then it is asked again.
    monkeypatch.setattr(rabbitmq_publisher, "CONFIRM_SECONDS", 5.0)
    broker = await asyncio.to_thread(Broker)
    try:
        async with opened(broker.url) as bus, asyncio.timeout(120):
            # RabbitMQ 3.10 does not have a queue on disk yet that was declared a moment ago.
            await asyncio.sleep(8)
            missing = orders(10000)
            publishing = asyncio.create_task(bus.publish(missing))
            await until(lambda: has_some(bus))
            await asyncio.to_thread(broker.kill)
            answers = await publishing
            assert False in answers and True in answers
            await asyncio.to_thread(broker.start)
            while missing := [message for message, taken in zip(missing, answers, strict=True) if not taken]:
                await asyncio.sleep(0.2)
                answers = await bus.publish(missing)
            subscription = await bus.subscribe(WriteOrderReady, prefetch=1000)
            arrived: set[int] = set()
            while len(arrived) < 10000:
                batch = await subscription.batch(limit=1000, linger=0.02)
                arrived |= set(ids(batch))
                await subscription.ack(batch)
    finally:
        await asyncio.to_thread(broker.close)


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


async def test_rabbitmq_c10_a_queue_whose_files_a_kill_has_lost_is_made_anew() -> None:
    broker = await asyncio.to_thread(Broker)
    try:
        async with opened(broker.url) as bus:
            assert await bus.publish(orders(3)) == [True] * 3
        await asyncio.to_thread(broker.stop)
        # What a kill soon after the queue was declared can leave behind: it is listed, and has no files.
        (config,) = [path for path in broker.folder.glob("data/*/quorum/*/*/config") if queue_in(path) == ORDERS]
        config.unlink()
        await asyncio.to_thread(broker.start)
        log = Recorder()
        bus = open_bus(broker.url, log)
        await bus.open()
        subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
        await until(lambda: says(log, "queue_remade"))
        await until(lambda: publishes(bus))
        assert ids(await receive(subscription, 1)) == [99]
        await bus.close()
    finally:
        await asyncio.to_thread(broker.close)


async def test_rabbitmq_c10_without_its_workers_for_dead_letters_the_broker_serves_weaker_queues() -> None:
    broker = await asyncio.to_thread(Broker)
    try:
        log = Recorder()
        bus = open_bus(broker.url, log)
        await bus.open()
        await asyncio.to_thread(broker.end_dead_letter_workers)
        await asyncio.to_thread(broker.delete_queue, ORDERS)
        subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
        due = await bus.subscribe(JobDue, prefetch=10)
        await until(lambda: publishes(bus))
        assert ids(await receive(subscription, 1)) == [99]
        # A new queue of the declared kind breaks like the old one; its own reader makes it anew, nobody else's.
        assert remade(log) == [ORDERS, ORDERS]
        assert await bus.publish([JobDue(7)]) == [True]
        assert [delivery.message for delivery in await receive(due, 1)] == [JobDue(7)]
        # Unreadable messages end up where they do otherwise.
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            connection.channel().basic_publish(EXCHANGE.name, ORDERS, b"?")
        await until(lambda: dead(bus))
        await bus.close()
    finally:
        await asyncio.to_thread(broker.close)


async def dead(bus: Bus) -> bool:
    return {depth.queue: depth.messages for depth in await bus.depths()}[f"{ORDERS}.dead"] == 1


def remade(log: Recorder) -> list[str]:
    return [values["queue"] for event, values in log.lines if event == "queue_remade"]


def queue_in(config: Path) -> str:
    """The queue that a folder of the broker's is about."""
    return next((name for name in (ORDERS, f"{ORDERS}.dead") if f"_{name}'" in config.read_text()), "")


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


async def test_rabbitmq_c57_what_a_crash_loop_leaves_behind_is_a_dead_letter_and_the_row_decides(relay: Relay) -> None:
    url = await relay.open()
    async with opened(url) as bus:
        subscription = await bus.subscribe(WriteOrderReady, prefetch=10)
        await bus.publish(orders(1))
        for _ in range(DELIVERY_LIMIT + 1):
            # Taken and never acked: its mailer dies each time.
            await receive(subscription, 1, acking=False)
            relay.cut()
        await until(lambda: has_dead_letter(bus))
        # The sweep rings again for a queued order; the new doorbell is as good as the first one.
        await until(lambda: publishes_one(bus))
        assert ids(await receive(subscription, 1)) == [1]


async def has_dead_letter(bus: Bus) -> bool:
    try:
        return await depth(bus, f"{ORDERS}.dead") == 1
    except Unavailable:
        return False


async def publishes_one(bus: Bus) -> bool:
    return await bus.publish(orders(1)) == [True]
