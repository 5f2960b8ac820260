"""Messages that nobody of ours has sent, and ours again and again: they make no letter and change no order (S14).

On RabbitMQ, by somebody who may publish there: the worst that they can do is to ask the mailer to look at a row.
"""

import asyncio
import json
import pickle
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pika

from services.evaluator.evaluate import run_evaluator
from services.mailer.service import run_mailer
from shared.bus.interface import Bus
from shared.bus.messages import JobDue, WriteOrderReady, encode
from shared.bus.topology import EXCHANGE, route_of
from shared.clock import ShiftedClock
from shared.db.order_commands import block
from shared.db.tables import dispatch_runs, write_orders
from shared.settings import Settings
from tests.contract.buses import depth, opened
from tests.services.running import settings_for
from tests.services.setup_files import rows
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle

EVIL = "evil@evil.example"
#: E has none.
ADDRESSES = ("a@x.example", "b@x.example", "c@x.example", "d@x.example", "", "f@x.example")
PEOPLE = tuple(f"{name},,Name,{address},Neu," for name, address in zip("ABCDEF", ADDRESSES, strict=True))
DEADLINE = 60.0


class Surprise:
    """Unpickled it would write a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self._path, "unpickled")


def garbage(order_id: int, trap: Path) -> list[bytes]:
    """What is no message of ours, in ways that a careless reader would take for one."""
    fields = {"v": 1, "type": "write_order_ready", "order_id": order_id}
    variants: list[dict[str, Any]] = [
        fields | {"to": EVIL},
        fields | {"email": EVIL, "subject": "x", "html": "<b>"},
        fields | {"order_id": str(order_id)},
        fields | {"order_id": float(order_id)},
        fields | {"order_id": True},
        fields | {"order_id": [order_id]},
        fields | {"order_id": {"id": order_id}},
        fields | {"order_id": None},
        fields | {"order_id": 0},
        fields | {"order_id": 2**80},
        fields | {"order_id": "1 OR 1=1"},
        fields | {"v": "1"},
        fields | {"v": 0},
        fields | {"v": 999},
        fields | {"type": "job_due"},
        fields | {"type": "WriteOrderReady"},
        fields | {"type": "__class__"},
        fields | {"__class__": "os.system", "order_id": order_id},
        {"v": 1, "type": "write_order_ready"},
        {"order_id": order_id},
    ]
    return [
        *(json.dumps(one).encode() for one in variants),
        b'{"v":1,"type":"write_order_ready","order_id":1e999}',
        b'{"v":1,"type":"write_order_ready","order_id":NaN}',
        b"[" * 50_000,
        b'{"v":1,"type":"write_order_ready","order_id":%b}' % (b"9" * 5000),
        pickle.dumps(Surprise(trap)),
        b"!!python/object/apply:os.system ['id']",
        b"\xff\xfe\x00",
        b"order_id=1",
        json.dumps(fields).encode("utf-16"),
        json.dumps([fields] * 1000).encode(),
    ]


@asynccontextmanager
async def services(world: World, bus: Bus, settings: Settings) -> AsyncIterator[None]:
    """A mailer and an evaluator at this broker."""
    stop, clock = asyncio.Event(), ShiftedClock(world.clock.now())
    async with asyncio.TaskGroup() as group:
        group.create_task(run_mailer(world.database, bus, clock, settings, world.log, stop))
        group.create_task(run_evaluator(world.database, bus, clock, world.log, stop))
        yield
        stop.set()


def publish(url: str, queue: str, bodies: list[bytes], **properties: Any) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for body in bodies:
            channel.basic_publish(EXCHANGE.name, queue, body, pika.BasicProperties(**properties))


async def ended(world: World) -> dict[str, int]:
    """An order in each state in which a letter must not go out, by the person it is to."""
    released = await world.queued(*PEOPLE)
    ids = {row["external_id"]: row["id"] for row in await world.rows()}
    assert set(released) == set(ids.values())
    await world.send(ids["A"])
    for name, state in (("B", "unclear"), ("C", "failed")):
        (order,) = (await world.claim(ids[name])).orders
        await world.intend(order)
        await world.settle(order, state, reason="so it is")
    await block(world.database, ids["D"], scope="letter", reason="no", until=None, now=world.clock.now(), author="anna")
    await world.claim(ids["E"])
    await world.change(status="Aus")
    await world.claim(ids["F"])
    states = {"A": "sent", "B": "unclear", "C": "failed", "D": "blocked", "E": "no_address", "F": "planned"}
    assert await world.orders() == states
    return ids


async def until(look: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    end = time.monotonic() + DEADLINE
    while (seen := await look()) != wanted:
        assert time.monotonic() < end, f"{seen}, not {wanted}"
        await asyncio.sleep(0.05)


async def test_s14_forged_foreign_and_replayed_messages_send_nothing_and_change_nothing(
    world: World, amqp_url: str, tmp_path: Path
) -> None:
    jobs, orders = route_of(JobDue).queue, route_of(WriteOrderReady).queue
    ids, trap = await ended(world), tmp_path / "trap"
    before = await rows(world.database, write_orders)
    (run,) = await rows(world.database, dispatch_runs)
    replayed = [encode(WriteOrderReady(one)) for one in (*ids.values(), 999_999, 2**63 - 1)] * 3
    forged = garbage(ids["F"], trap)
    async with (
        SmtpOracle(tmp_path / "ledger") as oracle,
        opened(amqp_url) as bus,
        services(world, bus, settings_for(tmp_path, oracle.url)),
    ):
        publish(amqp_url, orders, replayed)
        publish(amqp_url, orders, replayed[: len(ids)], headers={"to": EVIL}, reply_to="evil", priority=9)
        publish(amqp_url, orders, forged, content_type="application/x-python-serialize", content_encoding="binary")
        publish(amqp_url, jobs, [encode(JobDue(run["id"])), encode(JobDue(10**9))] * 3)
        publish(amqp_url, jobs, [*forged, replayed[0]])

        async def waiting() -> list[int]:
            return [await depth(bus, queue) for queue in (jobs, orders, f"{jobs}.dead", f"{orders}.dead")]

        all_is_read = [0, 0, len(forged) + 1, len(forged)]
        await until(waiting, all_is_read)
        # What came before it in its queue has been dealt with when a letter of ours arrives, rung for thrice.
        await world.change(status="An")
        await world.run()
        (due,) = await world.turn()
        publish(amqp_url, orders, [encode(WriteOrderReady(due))] * 3)

        async def state() -> str:
            return str((await world.order("F"))["state"])

        await until(state, "sent")
        publish(amqp_url, orders, [encode(WriteOrderReady(due))] * 3)
        await until(waiting, all_is_read)
    assert [mail.recipient for mail in oracle.mails] == ["f@x.example"]
    assert not trap.exists()
    after = await rows(world.database, write_orders)
    assert [row for row in after if row["id"] != due] == [row for row in before if row["id"] != due]
