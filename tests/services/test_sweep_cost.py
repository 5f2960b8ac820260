"""The sweep looks every second at what is on its way, however many letters have ended or wait for it."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import contact_jobs, write_orders
from shared.db.write_orders import upkeep
from shared.db.write_orders.interventions import RESEND_AFTER
from shared.db.write_orders.upkeep import (
    choose_to_ring,
    release_manual_orders,
    resend_unclear,
    return_expired_claims,
    ring_lost_again,
    withdraw_expired,
)
from tests.services.setup_files import row
from tests.services.world import SETUP, World

#: Enough that no planner reads the whole table for a handful.
ENDED = 5000
#: Doorbells rung together.
BATCH = 100
Step = Callable[[AsyncConnection, World], Awaitable[Any]]
STEPS: dict[str, Step] = {
    "claims whose lease ran out": lambda c, w: return_expired_claims(c, w.clock.now()),
    "expired orders": lambda c, w: withdraw_expired(c, w.clock.now()),
    "manual orders": lambda c, w: release_manual_orders(c, w.clock.now()),
    "unclear orders": lambda c, w: resend_unclear(c, w.clock.now(), RESEND_AFTER),
    "doorbells": lambda c, w: choose_to_ring(c, w.clock.now(), 2000),
    "lost doorbells": lambda c, w: ring_lost_again(c, w.clock.now(), timedelta(minutes=2)),
}


async def many_ended(world: World) -> None:
    """Orders of many days that were sent, beside one that is queued."""
    (order,) = await world.queued("A1,,Eins,a1@x.example,Neu,")
    ended = {**await row(world.database, write_orders, id=order), "state": "sent", "ring_at": None}
    del ended["id"]
    first = date(1900, 1, 1)
    days = [{**ended, "occasion_day": first + timedelta(days=number)} for number in range(ENDED)]
    async with world.database.begin() as connection:
        await connection.execute(insert(write_orders), days)
    if world.database.dialect == "postgresql":  # where it happens by itself
        async with world.database.begin() as connection:
            await connection.execute(text("ANALYZE write_orders"))


async def test_i18_the_sweep_reads_no_letter_that_has_ended(world: World) -> None:
    await many_ended(world)
    for name, step in STEPS.items():
        assert await read_in_vain(world, step) == [], name


async def test_i18_a_batch_of_doorbells_reads_no_order_beyond_it_on_postgresql(world: World) -> None:
    (order,) = await world.queued("A1,,Eins,a1@x.example,Neu,")
    if world.database.dialect == "sqlite":  # counts no rows
        return
    # By hand, because of a job one person has one letter under way; all released in one moment, as a dispatch is.
    waits = {**await row(world.database, write_orders, id=order), "type": "manual", "lineage_id": None}
    del waits["id"]
    async with world.database.begin() as connection:
        await connection.execute(insert(write_orders), [{**waits, "ring_at": world.clock.now()}] * ENDED)
        await connection.execute(text("ANALYZE write_orders"))
    async with world.database.begin() as connection:
        before = await rows_read(connection, by_index=True)
        assert len(await choose_to_ring(connection, world.clock.now(), BATCH)) == BATCH
        # Once to choose and lock them, once to take them.
        assert await rows_read(connection, by_index=True) - before <= 3 * BATCH


async def test_i13_i18_lost_doorbells_are_wanted_again_part_by_part(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = await world.queued(*(f"A{number},,Eins,a{number}@x.example,Neu," for number in range(3)))
    monkeypatch.setattr(upkeep, "MOST_LOST", 2)
    world.bus.waiting = 0
    rung: list[int] = []
    for _ in range(3):
        world.clock.advance(timedelta(minutes=3))
        rung += await world.turn()
    # Those that are still not taken are rung for once more in their turn; nobody is forgotten.
    assert set(rung[:3]) <= set(orders) == set(rung)


async def test_d4_d19_the_sweep_reads_no_expired_order_of_a_job_that_is_aus(world: World) -> None:
    other = '  - {name: Anders, status: An, query: Neue, letter: Brief, dispatch: rolling, time: "09:00"}'
    (order,) = await world.queued(setup=f"{SETUP}{other}\n")
    await world.change(status="Aus")
    one = {**await row(world.database, write_orders, id=order), "state": "planned", "ring_at": None}
    del one["id"]
    first = date(1900, 1, 1)
    many = [{**one, "occasion_day": first + timedelta(days=day)} for day in range(ENDED)]
    an = (await row(world.database, contact_jobs, name="Anders"))["id"]
    async with world.database.begin() as connection:
        await connection.execute(insert(write_orders), many)
        if world.database.dialect == "postgresql":
            await connection.execute(text("ANALYZE write_orders"))
    world.clock.advance(timedelta(days=5))
    assert await read_in_vain(world, STEPS["expired orders"]) == []
    # One of another job and one of none, whom nobody has counted: beside those that stay they are found at once.
    late = [{**one, "job_id": job, "lineage_id": None, "type": "manual"} for job in (an, None)]
    for withdrawn in (0, 2):
        async with world.database.begin() as connection:
            if withdrawn:
                await connection.execute(insert(write_orders), late)
            before = await rows_read(connection, by_index=True)
            assert await withdraw_expired(connection, world.clock.now()) == withdrawn
            assert await rows_read(connection, by_index=True) - before <= 20
    stay = (write_orders.c.job_id == one["job_id"], write_orders.c.state == "planned")
    assert await world.count(write_orders, *stay) == ENDED


async def test_d19_expired_orders_are_withdrawn_part_by_part(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.queued(*(f"A{number},,Eins,a{number}@x.example,Neu," for number in range(3)))
    monkeypatch.setattr(upkeep, "MOST_EXPIRED", 2)
    world.clock.advance(timedelta(days=5))
    withdrawn = []
    for _ in range(3):
        async with world.database.begin() as connection:
            withdrawn.append(await withdraw_expired(connection, world.clock.now()))
    assert withdrawn == [2, 1, 0]


async def read_in_vain(world: World, step: Step) -> list[str]:
    """What a step of the sweep reads of the whole table."""
    said: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    engine = world.database._writer.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        async with world.database.begin() as connection:
            before = await rows_read(connection)
            said.clear()
            await step(connection, world)
            event.remove(engine, "before_cursor_execute", note)
            assert any("write_orders" in statement for statement, _ in said)
            return await whole_reads(connection, said, before)
    finally:
        if event.contains(engine, "before_cursor_execute", note):
            event.remove(engine, "before_cursor_execute", note)


async def rows_read(connection: AsyncConnection, by_index: bool = False) -> int:
    """What PostgreSQL counted on this connection; it may not have told yet of the connection's earlier transactions."""
    if connection.dialect.name != "postgresql":
        return 0
    counted = "seq_tup_read + idx_tup_fetch" if by_index else "seq_tup_read"
    read = text(f"SELECT {counted} FROM pg_stat_xact_user_tables WHERE relname = 'write_orders'")
    return int((await connection.execute(read)).scalar_one())


async def whole_reads(connection: AsyncConnection, said: list[tuple[str, Any]], before: int) -> list[str]:
    """What shows that the whole table was read: the statistics of PostgreSQL, the plans of SQLite."""
    if connection.dialect.name == "postgresql":
        count = await rows_read(connection) - before
        return [f"{count} rows read"] if count else []
    plans = []
    for statement, parameters in said:
        for plan in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
            detail = str(plan[-1])
            if detail.startswith("SCAN write_orders") and "USING" not in detail:
                plans.append(f"{detail}: {statement}")
    return plans
