"""Who confirms a dispatch confirms what they were shown, on both databases (D36)."""

from datetime import timedelta

import pytest

from shared.db.dispatch import run_now
from shared.db.job_basis import Shown, basis_of
from shared.db.jobs import set_job
from shared.db.run_commands import release_held
from shared.db.tables import contact_jobs, dispatch_runs
from shared.errors import Outdated, Refused
from tests.services.setup_files import apply, row
from tests.services.test_dispatch import held_dispatch
from tests.services.world import DAY, JOB, MORNING, SETUP, World

EIGHT = MORNING + timedelta(hours=1)
TOMORROW = DAY + timedelta(days=1)
THREE = [f"A{n},,Name{n},a{n}@x.example,Neu," for n in range(3)]


async def _basis(world: World) -> str:
    job = await row(world.database, contact_jobs, name=JOB)
    async with world.database.read() as connection:
        return await basis_of(connection, job["id"])


async def _run(world: World, shown: Shown) -> int:
    async with world.database.begin() as connection:
        result, _ = await run_now(connection, JOB, DAY, world.clock.now(), "anna", shown)
    return result.released


async def test_a_run_sends_at_most_what_was_shown(world: World) -> None:
    await world.begin(*THREE)
    basis = await _basis(world)
    for shown in (Shown(basis, 2), Shown("", 0), Shown(basis + "0", 3)):
        with pytest.raises(Outdated):
            await _run(world, shown)
    assert await world.rows() == []
    assert await _run(world, Shown(basis, 3)) == 3


async def test_another_query_or_another_job_asks_again(world: World) -> None:
    await world.begin(*THREE)
    seen = await _basis(world)
    await world.change(repeat_guard_days="3")
    changed = await _basis(world)
    with pytest.raises(Outdated):
        await _run(world, Shown(seen, 3))
    with pytest.raises(Outdated):
        await set_job(
            world.database, JOB, {"status": "Aus"}, author="anna", now=world.clock.now(), basis=seen
        )  # fmt: skip
    assert (await row(world.database, contact_jobs, name=JOB))["status"] == "on"
    other = SETUP.replace("in: [Neu]", "in: [Neu, Pool]")
    assert other != SETUP
    await apply(world.database, other)
    assert await _basis(world) not in (seen, changed)


async def _let_go(world: World, count: int) -> int:
    shown = Shown(await _basis(world), count)
    return await release_held(world.database, JOB, author="anna", now=world.clock.now(), shown=shown)


async def test_d36_a_release_approves_the_number_shown_and_no_more(world: World) -> None:
    await held_dispatch(world)
    for count in (0, 59):
        with pytest.raises(Outdated):
            await _let_go(world, count)
    assert await _let_go(world, 60) == 1
    with pytest.raises(Refused, match="no held dispatch"):
        await _let_go(world, 60)
    await world.applicants(*[f"C{n},,Name{n},c{n}@x.example,Neu," for n in range(20)])
    world.clock.advance(timedelta(seconds=1))
    assert await world.turn() == []
    run = await row(world.database, dispatch_runs, occasion_day=TOMORROW)
    assert (run["reason"], run["unheld"], run["state"]) == ("held: 80 > 30", False, "open")
    # Held it stays until somebody approves the new number.
    world.clock.advance(timedelta(minutes=5))
    assert await world.turn() == []
    assert await _let_go(world, 80) == 1
    world.clock.advance(timedelta(seconds=1))
    assert len(await world.turn()) == 70
    run = await row(world.database, dispatch_runs, occasion_day=TOMORROW)
    assert (run["reason"], run["state"]) == (None, "dispatched")
