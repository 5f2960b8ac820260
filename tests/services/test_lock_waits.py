"""Who waits for whom, and who does not. PostgreSQL only: SQLite has one writer, who waits for the one before."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.tick import tick
from shared.db import person_commands as people
from shared.db.dispatch import StepResult
from shared.db.engine import Database
from shared.db.job_rows import load_job_row
from shared.db.jobs import delete_job
from shared.db.runs import NewRun, load_run, lock_lineage, record_run
from shared.db.tables import blocks, contact_jobs, dispatch_runs, metadata, write_orders
from shared.db.write_orders.interventions import lift_blocks
from tests.services.setup_files import apply
from tests.services.world import DAY, JOB, MORNING, World

#: Far longer than either takes alone, and the plan that is held open never ends by itself.
PATIENCE_SECONDS = 10

ANOTHER_JOB = """
jobs: [{name: Ein anderer, status: An, query: Geburtstag, letter: Ende, dispatch: rolling, time: "08:00"}]
"""


@pytest.fixture
async def postgres_world(postgres_url: str, tmp_path: Path) -> AsyncIterator[World]:
    database = Database(postgres_url, pool_size=4)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    world = World(database, tmp_path)
    await world.begin()
    yield world
    await database.close()


async def hold_a_run(connection: AsyncConnection) -> None:
    """What a step has locked while it resolves its recipients; `job run` has just recorded the run."""
    job = await load_job_row(connection, JOB)
    await lock_lineage(connection, job["lineage_id"])
    await record_run(connection, NewRun(job, DAY, MORNING, MORNING), MORNING)
    r = dispatch_runs.c
    run_id = (await connection.execute(select(r.id).where(r.occasion_day == DAY))).scalar_one()
    assert await load_run(connection, run_id, lock=True)


async def runs_of(world: World) -> set[tuple[str, date]]:
    """Job and day of every recorded run."""
    r = dispatch_runs.c
    async with world.database.begin() as connection:
        return {(name, day) for name, day in await connection.execute(select(r.job_name, r.occasion_day))}


async def test_d4_aus_does_not_wait_for_a_plan_on_postgresql(postgres_world: World) -> None:
    async with postgres_world.database.begin() as planning:
        await hold_a_run(planning)
        async with asyncio.timeout(PATIENCE_SECONDS):
            change = await postgres_world.change(status="Aus")
    assert [(field, new) for field, _, new in change.changes] == [("status", "Aus")]


async def test_the_tick_does_not_wait_for_a_plan_on_postgresql(postgres_world: World) -> None:
    world = postgres_world
    await apply(world.database, ANOTHER_JOB, now=MORNING)
    tomorrow = DAY + timedelta(days=1)
    async with world.database.begin() as planning:
        await hold_a_run(planning)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await tick(world.database, world.bus, world.clock, world.log)
        # It would hold the rows of all jobs as long as it waited.
        assert await runs_of(world) == {("Ein anderer", DAY)}
        world.clock.set(MORNING + timedelta(days=1))
    # The job whose plan was being made comes with the next tick, and misses no day.
    await tick(world.database, world.bus, world.clock, world.log)
    assert await runs_of(world) == {(name, day) for name in ("Ein anderer", JOB) for day in (DAY, tomorrow)}


async def test_i7_job_run_and_the_tick_record_one_run_without_a_deadlock_on_postgresql(
    postgres_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = postgres_world
    await world.applicants("A1,,Eins,a1@x.example,Neu,")
    asked: list[asyncio.Task[StepResult]] = []

    async def record_late(connection: AsyncConnection, new: NewRun, now: datetime) -> bool:
        # The tick has locked its jobs, and a person asks for the same run now.
        if not asked:
            asked.append(asyncio.create_task(world.run()))
            await asyncio.sleep(0.5)
            assert not asked[0].done()
        return await record_run(connection, new, now)

    monkeypatch.setattr("services.scheduler.tick.record_run", record_late)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await tick(world.database, world.bus, world.clock, world.log)
        assert (await asked[0]).released == 1
    assert await runs_of(world) == {(JOB, DAY)}


async def test_i8_t2_waits_for_a_switch_to_aus_under_way_on_postgresql(postgres_world: World) -> None:
    world = postgres_world
    await world.applicants("A1,,Eins,a1@x.example,Neu,")
    await world.run()
    (held,) = (await world.claim(*await world.turn())).orders
    async with world.database.begin() as switching:
        await switching.execute(update(contact_jobs).values(status="off", epoch=contact_jobs.c.epoch + 1))
        handing_over = asyncio.create_task(world.intend(held))
        await asyncio.sleep(0.5)
        assert not handing_over.done()
    # A plain look would have seen the job as it was when its statement began.
    assert await handing_over == set()


async def test_d35_a_job_is_deleted_after_whoever_is_unblocking_its_orders(postgres_world: World) -> None:
    database = postgres_world.database
    await postgres_world.applicants("A1,,Eins,a1@x.example,Neu,")
    await postgres_world.turn()
    who = {"author": "anna", "now": MORNING}
    await people.block(database, "A1", job=None, until=None, reason="asked", **who)
    async with database.begin() as connection:
        block_id = (await connection.execute(select(blocks.c.id))).scalar_one()
        await lift_blocks(connection, [block_id], **who)
        deletion = asyncio.create_task(delete_job(database, JOB, **who))
        await asyncio.sleep(0.5)
        assert not deletion.done()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await deletion == 1
    async with database.read() as connection:
        assert (await connection.execute(select(write_orders.c.state))).scalar_one() == "withdrawn"
