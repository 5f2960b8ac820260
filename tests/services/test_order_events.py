"""The history of orders tells what happened, also when two transactions meet over one (I17)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import attempts, events, write_orders
from shared.db.write_orders.intents import Intent, intend
from shared.db.write_orders.interventions import block_person, withdraw_open_orders_of_job
from shared.db.write_orders.upkeep import resend_unclear, withdraw_expired
from tests.services.setup_files import row, rows
from tests.services.world import SETUP, World

QUARTER = timedelta(minutes=15)
RESENDS = SETUP.replace("valid_days: 2", "valid_days: 2, on_unclear: resend")
Step = Callable[[AsyncConnection], Awaitable[Any]]


async def meet(world: World, first: Step, second: Step) -> tuple[Any, Any]:
    """The answers of two transactions: the second begins while the first has done its work, but not its commit."""

    async def later() -> Any:
        async with world.database.begin() as connection:
            return await second(connection)

    async with world.database.begin() as connection:
        answer = await first(connection)
        task = asyncio.create_task(later())
        await asyncio.sleep(0.3)
    return answer, await task


async def told(world: World) -> list[tuple[str, str, str]]:
    found = await rows(world.database, events, noun="order")
    return [(one["action"], one["old"], one["new"]) for one in found]


async def test_i17_two_sweeps_that_meet_tell_of_one_expiry(world: World) -> None:
    await world.queued()
    world.clock.advance(timedelta(days=5))

    def sweep(connection: AsyncConnection) -> Awaitable[int]:
        return withdraw_expired(connection, world.clock.now())

    assert await meet(world, sweep, sweep) == (1, 0)
    assert await told(world) == [("expire", "queued", "withdrawn")]


async def test_i17_two_sweeps_that_meet_tell_of_one_resend(world: World) -> None:
    (order,) = await world.queued(setup=RESENDS)
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.settle(held, "unclear", reason="answer unknown")
    world.clock.advance(QUARTER * 2)

    def sweep(connection: AsyncConnection) -> Awaitable[int]:
        return resend_unclear(connection, world.clock.now(), QUARTER)

    assert await meet(world, sweep, sweep) == (1, 0)
    assert await told(world) == [("resend", "unclear", "queued")]


@pytest.mark.parametrize("what", ["block", "withdraw"])
async def test_i17_c53_what_comes_too_late_for_a_letter_is_not_in_its_history(world: World, what: str) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    now = world.clock.now()

    async def stop(connection: AsyncConnection) -> Any:
        if what == "block":
            return await block_person(connection, 1, None, reason="asked", until=None, now=now, author="anna")
        # As `job delete` does, but for the lock of the job, which T2 shares.
        return await withdraw_open_orders_of_job(connection, held.job_id or 0, now=now, author="anna")

    intent = Intent(order, held.token, held.job_id, 1, "")
    granted, stopped = await meet(world, lambda c: intend(c, [intent], 60, now), stop)
    assert granted == {order} and stopped == ((0, 1) if what == "block" else 0)
    await world.settle(held, "sent")
    assert (await world.state(order), await told(world)) == ("sent", [])


async def test_i4_i17_an_attempt_whose_order_is_stopped_has_an_outcome_though_its_mailer_dies(world: World) -> None:
    (order,) = await world.queued()
    await world.claim(order)
    job_id = (await row(world.database, write_orders, id=order))["job_id"]
    async with world.database.begin() as connection:
        assert await withdraw_open_orders_of_job(connection, job_id, now=world.clock.now(), author="anna") == 1
    (attempt,) = await rows(world.database, attempts, order_id=order)
    assert attempt["outcome"] == "stopped: job deleted" and attempt["settled_at"] == world.clock.now()
