"""Rows of the fault matrix that need no process of their own: clocks, doubled work, queries that break, locks."""

import asyncio
import sqlite3
import threading
import time
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import func, select, update

from services.evaluator.evaluate import evaluate
from services.mailer.outcome import Deferred
from services.mailer.smtp import SmtpPool
from services.mailer.smtp_address import parse_smtp_url
from services.scheduler.tick import tick
from shared.bus.messages import JobDue
from shared.clock import FixedClock
from shared.db.engine import Database
from shared.db.tables import application_queries, dispatch_runs, metadata, write_orders
from shared.retry import retry_conflicts
from tests.services.setup_files import row
from tests.services.test_lock_waits import postgres_world
from tests.services.world import MORNING, World

EIGHT = MORNING + timedelta(hours=1)
ONE = "A1,,Eins,a1@x.example,Neu,"
__all__ = ["postgres_world"]


async def test_c44_i21_a_clock_that_jumps_doubles_and_loses_no_dispatch(world: World) -> None:
    await world.begin(ONE)
    for jump in (timedelta(hours=1), timedelta(hours=-1), timedelta(hours=2), timedelta(hours=-3), timedelta(hours=2)):
        world.clock.advance(jump)
        await world.send(*await world.turn())
    assert [(found["occasion_day"].day, found["state"]) for found in await world.rows()] == [(23, "sent")]
    world.clock.set(EIGHT + timedelta(days=31))
    await world.send(*await world.turn())
    assert [found["state"] for found in await world.rows()] == ["sent", "sent"]


async def test_c44_i21_leases_run_by_the_databases_clock(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order, lease=60)).orders
    world.clock.advance(timedelta(hours=20))
    await world.sweep()
    assert await world.state(order) == "sending"
    assert await world.intend(held) == {order}


async def test_c47_i7_two_schedulers_five_minutes_apart_make_one_run(world: World) -> None:
    await world.begin(ONE)
    for minutes in (-2, 3, -2, 3):
        clock = FixedClock(EIGHT + timedelta(minutes=minutes))
        await asyncio.gather(*(tick(world.database, world.bus, clock, world.log) for _ in range(2)))
        for message in world.bus.taken():
            if isinstance(message, JobDue):
                await evaluate(world.database, world.bus, clock, message.run_id, world.log)
    assert await world.count(dispatch_runs, dispatch_runs.c.occasion_day == EIGHT.date()) == 1
    assert await world.count(write_orders) == 1


async def test_c48_i6_three_evaluators_with_the_same_run_make_one_set_of_orders(world: World) -> None:
    await world.begin(ONE, "A2,,Zwei,a2@x.example,Neu,")
    world.clock.set(EIGHT)
    await tick(world.database, world.bus, world.clock, world.log)
    (doorbell,) = (one for one in world.bus.taken() if isinstance(one, JobDue))
    steps = (evaluate(world.database, world.bus, world.clock, doorbell.run_id, world.log) for _ in range(3))
    assert sorted(result.released for result in await asyncio.gather(*steps)) == [0, 0, 2]
    assert await world.orders() == {"A1": "queued", "A2": "queued"}


async def test_c49_i3_five_mailers_with_the_same_doorbell_claim_it_once(world: World) -> None:
    (order,) = await world.queued()
    claims = await asyncio.gather(*(world.claim(order, mailer=f"m{number}") for number in range(5)))
    assert sum(len(claim.orders) for claim in claims) == 1


async def test_c54_d21_a_query_that_breaks_shows_on_the_run_and_is_tried_again(world: World) -> None:
    await world.begin(ONE)
    broken = [{"field": "shoe_size", "is": 42}]
    async with world.database.begin() as connection:
        good = (await connection.execute(select(application_queries.c.filters))).scalars().first()
        mine = update(application_queries).where(application_queries.c.name == "Neue")
        await connection.execute(mine.values(filters=broken))
    world.clock.set(EIGHT)
    assert await world.turn() == []
    run = await row(world.database, dispatch_runs)
    assert run["state"] == "open" and run["reason"].startswith("failed: ") and "shoe_size" in run["reason"]
    async with world.database.begin() as connection:
        await connection.execute(mine.values(filters=good))
    world.clock.advance(timedelta(minutes=6))
    assert len(await world.turn()) == 1
    assert (await row(world.database, dispatch_runs))["reason"] is None


async def test_c43_a_mail_server_without_a_name_is_the_relays_trouble_and_fails_no_letter() -> None:
    relay = parse_smtp_url("smtp://nowhere.invalid:25")
    pool = SmtpPool(relay, size=1, timeout=10, final_timeout=10, log=structlog.get_logger())

    async def granted() -> bool:
        return True

    outcome = await pool.send("a@x.example", "b@x.example", b"Subject: x\r\n\r\nx\r\n", granted)
    await pool.close()
    assert isinstance(outcome, Deferred) and outcome.relay_trouble and outcome.counts


async def test_c29_a_second_writer_of_the_sqlite_file_is_waited_for(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    world = World(database, tmp_path)
    (order,) = await world.queued()
    locked = threading.Event()

    def write_for_a_while() -> None:
        other = sqlite3.connect(tmp_path / "x.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        locked.set()
        time.sleep(1.5)
        other.execute("COMMIT")
        other.close()

    writer = threading.Thread(target=write_for_a_while)
    writer.start()
    await asyncio.to_thread(locked.wait)
    began = time.monotonic()
    assert len((await world.claim(order)).orders) == 1
    assert time.monotonic() - began > 0.5
    writer.join()
    await database.close()


async def test_c28_a_deadlock_costs_a_second_try_and_nothing_else(postgres_world: World) -> None:
    world = postgres_world
    await world.applicants(ONE)
    o, both_hold = dispatch_runs.c, asyncio.Barrier(2)
    for day in (1, 2):
        world.clock.set(MORNING + timedelta(days=day))
        await world.turn()
    async with world.database.read() as connection:
        first, second = (await connection.execute(select(o.id).order_by(o.id).limit(2))).scalars()
    tries: list[int] = []

    async def both(one: int, other: int) -> None:
        async def step() -> None:
            tries.append(one)
            async with world.database.begin() as connection:
                for number in (one, other):
                    mine = update(dispatch_runs).where(o.id == number)
                    await connection.execute(mine.values(released_orders=o.released_orders + 1))
                    if number == one and len(tries) <= 2:
                        await both_hold.wait()

        await retry_conflicts(step)

    await asyncio.gather(both(first, second), both(second, first))
    async with world.database.read() as connection:
        total = await connection.execute(select(func.sum(o.released_orders)).where(o.id.in_((first, second))))
        assert total.scalar_one() == 4
    assert len(tries) == 3
