"""The frequency cap over all jobs: at planning, at release and at the claim (D27)."""

from datetime import timedelta

import pytest

from shared.db.system_settings import save_system_settings
from tests.services.world import DAY, JOB, MORNING, SETUP, World

ONE = "A1,,Eins,a1@x.example,Neu,"
EIGHT = MORNING + timedelta(hours=1)


def two_jobs(priority: int) -> str:
    """The job of the setup (priority 10) and another one at the same time."""
    rest = f'letter: Brief, dispatch: rolling, time: "08:00", priority: {priority}, repeat_guard_days: 1'
    return f"{SETUP}  - {{name: Zweiter, status: An, query: Neue, {rest}}}\n"


async def cap(world: World, days: int) -> None:
    async with world.database.begin() as connection:
        await save_system_settings(connection, {"frequency_cap_days": days})


@pytest.mark.parametrize(("priority", "first"), [(10, JOB), (11, "Zweiter"), (9, JOB)])
async def test_d27_two_letters_that_wait_at_once_do_not_stop_each_other(
    world: World, priority: int, first: str
) -> None:
    await world.begin(ONE, setup=two_jobs(priority))
    world.clock.set(EIGHT)
    queued = await world.turn()
    assert len(queued) == 2
    await cap(world, 7)
    held = [order for order_id in queued for order in (await world.claim(order_id)).orders]
    assert [order.job_name for order in held] == [first]
    states = {row["job_name"]: row["state"] for row in await world.rows()}
    assert sorted(states.values()) == ["sending", "withdrawn"] and states[first] == "sending"


@pytest.mark.parametrize(("days", "later", "gets"), [(7, 6, False), (7, 7, True), (1, 1, True), (0, 0, True)])
async def test_d27_a_letter_of_another_job_counts_for_the_days_of_the_cap(
    world: World, days: int, later: int, gets: bool
) -> None:
    await world.begin(ONE, setup=two_jobs(10))
    await world.change("Zweiter", status="Aus")
    world.clock.set(EIGHT)
    await world.send(*await world.turn())
    await world.change(status="Aus")
    await cap(world, days)
    await world.change("Zweiter", status="An")
    day = DAY + timedelta(days=later)
    world.clock.set(EIGHT + timedelta(days=later))
    await world.run("Zweiter", day)
    assert [row["state"] for row in await world.rows(day) if row["job_name"] == "Zweiter"] == ["queued"] * gets


@pytest.mark.parametrize("state", ["queued", "sending", "sent", "unclear", "failed", "no_address"])
async def test_d27_what_is_on_its_way_counts_and_what_ended_without_a_letter_does_not(world: World, state: str) -> None:
    await world.begin(ONE if state != "no_address" else "A1,,Eins,,Neu,", setup=two_jobs(10))
    await world.change("Zweiter", status="Aus")
    await cap(world, 7)
    world.clock.set(EIGHT)
    queued = await world.turn()
    held = (await world.claim(*queued)).orders if state != "queued" else []
    if state in ("sent", "unclear", "failed"):
        await world.intend(*held)
        await world.settle(held[0], state, reason="x")
    await world.change("Zweiter", status="An")
    await world.run("Zweiter", DAY)
    there = [row for row in await world.rows(DAY) if row["job_name"] == "Zweiter"]
    assert len(there) == (state in ("failed", "no_address"))
