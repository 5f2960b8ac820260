"""Plans that are looked at again, and the log of people that says at whom."""

from typing import Any

from sqlalchemy import null, select, update

from services.evaluator.evaluate import evaluate
from shared.db.dispatch import synchronise
from shared.db.service_tables import person_changes
from shared.db.tables import dispatch_runs, write_orders
from tests.services.world import DAY, JOB, World

Looks = list[int | None]


async def open_runs(world: World, job: str = "J") -> list[int]:
    """Plans that stand, earliest day first."""
    r = dispatch_runs.c
    which = select(r.id).where(r.job_name == job, r.state == "open", r.send_at > world.clock.now())
    async with world.database.read() as connection:
        return list((await connection.execute(which.order_by(r.occasion_day))).scalars())


async def again(world: World, job: str = JOB) -> None:
    """Five minutes later each plan is looked at again."""
    for run_id in await open_runs(world, job):
        await evaluate(world.database, world.bus, world.clock, run_id, world.log)


async def rehearsed(world: World, run_id: int, *, whole: bool) -> tuple[Any, list[Any]]:
    """What a look at the plan would leave: recipients, and every order."""
    o, r = write_orders.c, dispatch_runs.c
    columns = (o.person_id, o.application_id, o.run_id, o.occasion_day, o.state, o.reason, o.withdrawn_by, o.job_id)
    async with world.database.begin() as connection:
        if whole:
            await connection.execute(update(dispatch_runs).where(r.id == run_id).values(basis=null()))
        await synchronise(connection, run_id, world.clock.now())
        count = (await connection.execute(select(r.recipients).where(r.id == run_id))).scalar_one()
        rows = (await connection.execute(select(*columns))).all()
        await connection.rollback()
    return count, sorted(map(str, rows))


async def log(world: World) -> list[Any]:
    """The people of each row of the log."""
    async with world.database.read() as connection:
        rows = await connection.execute(select(person_changes.c.people).order_by(person_changes.c.id))
        return list(rows.scalars())


async def forget(world: World) -> None:
    async with world.database.begin() as connection:
        await connection.execute(person_changes.delete())


async def planned(world: World, *applicants: str) -> None:
    """The job's plan stands, with these applicants, and everybody has been looked at."""
    await world.begin(*(applicants or ("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")))
    await world.turn()
    assert set((await world.orders(DAY)).values()) == {"planned"}


def seen(world: World, looks: Looks) -> Looks:
    """The looks, without the people whom other tests' transactions on the same server kept in sight."""
    return looks if world.database.dialect == "sqlite" else [look and 0 for look in looks]
