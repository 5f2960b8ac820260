"""Who does not wait for whom. PostgreSQL only: SQLite has one writer, who always waits for the one before."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.tick import tick
from shared.db.engine import Database
from shared.db.job_rows import load_job_row
from shared.db.runs import NewRun, load_run, record_run
from shared.db.tables import contact_jobs, dispatch_runs, metadata
from tests.services.world import DAY, JOB, MORNING, World

#: Far longer than either takes alone, and the plan that is held open never ends by itself.
PATIENCE_SECONDS = 10


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
    await record_run(connection, NewRun(job, DAY, MORNING, MORNING), MORNING)
    r = dispatch_runs.c
    run_id = (await connection.execute(select(r.id).where(r.occasion_day == DAY))).scalar_one()
    assert await load_run(connection, run_id, lock=True)


async def test_d4_aus_does_not_wait_for_a_plan_on_postgresql(postgres_world: World) -> None:
    async with postgres_world.database.begin() as planning:
        await hold_a_run(planning)
        async with asyncio.timeout(PATIENCE_SECONDS):
            change = await postgres_world.change(status="Aus")
    assert [(field, new) for field, _, new in change.changes] == [("status", "Aus")]


async def test_the_tick_does_not_wait_for_a_plan_on_postgresql(postgres_world: World) -> None:
    world = postgres_world
    await tick(world.database, world.bus, world.clock, world.log)
    before = await world.count(dispatch_runs)
    world.clock.set(MORNING + timedelta(days=1))
    async with world.database.begin() as planning:
        await hold_a_run(planning)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await tick(world.database, world.bus, world.clock, world.log)
        # It would hold the rows of all jobs as long as it waited.
        assert await world.count(dispatch_runs) > before


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
