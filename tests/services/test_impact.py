"""What a change would mean for the next dispatch, before it is saved (D22)."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from shared.db.engine import Database
from shared.db.impact import Impact
from shared.db.jobs import rehearse_job
from shared.db.plan_effect import MovedPlan, PlanEffect
from shared.db.tables import metadata
from tests.services.setup_files import apply
from tests.services.world import DAY, JOB, MORNING, SETUP, World

PEOPLE = (
    "A1,,Eins,a1@x.example,Neu,1990-11-23",
    "A2,,Zwei,a2@x.example,Neu,1990-05-05",
    "A3,S3,Drei,a3@x.example,Pool,1990-11-23",
    "A4,S3,Drei,a3@x.example,Pool,1990-11-23",
    "A5,,Fünf,,Absage,1990-11-24",
)


async def rehearsed(world: World, **pairs: str) -> list[Impact]:
    change = await rehearse_job(world.database, JOB, pairs, author="anna", now=world.clock.now())
    return change.impact


async def rows_of_each_table(database: Database) -> dict[str, Any]:
    async with database.read() as connection:
        return {
            table.name: [repr(row) for row in (await connection.execute(select(table))).all()]
            for table in metadata.sorted_tables
        }


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({"query": "Geburtstag"}, Impact(JOB, DAY, 2, 2, 1, 1, ("A4",), ("A2",))),
        ({"status": "Aus"}, Impact(JOB, DAY, 2, 0, 0, 2, (), ("A1", "A2"))),
        ({"letter": "Ende"}, Impact(JOB, DAY, 2, 2, 0, 0, (), (), letters_changed=2)),
        ({"letter": "Ende", "query": "Geburtstag"}, Impact(JOB, DAY, 2, 2, 1, 1, ("A4",), ("A2",), letters_changed=2)),
        ({"dispatch": "every_months=1 anchor=2026-01-31"}, Impact(JOB, date(2026, 11, 30), 2, 2, 0, 0, (), ())),
    ],
    ids=["query", "Aus", "letter", "letter and query", "dispatch"],
)
async def test_d22_a_change_of_a_job_shows_who_joins_and_who_falls_out(
    world: World, pairs: dict[str, str], expected: Impact
) -> None:
    await world.begin(*PEOPLE)
    await world.turn()
    before = await rows_of_each_table(world.database)
    assert await rehearsed(world, **pairs) == [expected]
    assert await rows_of_each_table(world.database) == before


async def test_d22_switching_on_shows_whom_the_next_dispatch_writes_to(world: World) -> None:
    await world.begin(*PEOPLE)
    await world.change(status="Aus")
    assert await rehearsed(world, status="An") == [Impact(JOB, DAY, 0, 2, 2, 0, ("A1", "A2"), ())]
    assert await rehearsed(world, note="nichts") == []


async def test_d22_a_setup_file_shows_the_impact_on_every_job_it_concerns(world: World) -> None:
    second = '  - {name: Zweiter, status: An, query: Geburtstag, letter: Brief, dispatch: rolling, time: "09:00"}\n'
    await world.begin(*PEOPLE, setup=SETUP + second)
    before = await rows_of_each_table(world.database)
    changed = (SETUP + second).replace("in: [Neu]", "in: [Neu, Pool]").replace("from: 0, to: 0", "from: 0, to: 1")
    difference = await apply(world.database, changed, now=world.clock.now(), dry_run=True)
    assert difference.impact == [
        Impact(JOB, DAY, 2, 3, 1, 0, ("A4",), ()),
        Impact("Zweiter", DAY, 2, 3, 1, 0, ("A5",), ()),
    ]
    assert await rows_of_each_table(world.database) == before


async def test_d22_the_impact_is_what_saving_then_brings(world: World) -> None:
    await world.begin(*PEOPLE)
    (impact,) = await rehearsed(world, query="Geburtstag")
    await world.change(query="Geburtstag")
    world.clock.set(MORNING + timedelta(hours=1))
    assert len(await world.turn()) == impact.after
    assert set(impact.added_samples) <= set(await world.orders())


async def test_d22_a_job_in_its_guard_counts_only_whom_it_may_write_to(world: World) -> None:
    await world.queued(*PEOPLE[:2])
    world.clock.set(MORNING + timedelta(hours=2))
    await world.turn()
    (impact,) = await rehearsed(world, status="Aus")
    assert (impact.on, impact.before) == (DAY + timedelta(days=1), 0)
    async with world.database.read() as connection:
        assert (
            await connection.execute(select(func.count()).select_from(metadata.tables["write_orders"]))
        ).scalar() == 2


async def test_d22_a_rehearsal_tells_what_becomes_of_the_letters_that_are_planned(world: World) -> None:
    await world.begin(*PEOPLE)
    await world.turn()
    before = await rows_of_each_table(world.database)

    async def plan(**pairs: str) -> PlanEffect:
        return (await rehearse_job(world.database, JOB, pairs, author="anna", now=world.clock.now())).plan

    eight, nine = MORNING + timedelta(hours=1), MORNING + timedelta(hours=2)
    assert await plan(note="nichts") == PlanEffect(2)
    assert await plan(time="09:00") == PlanEffect(2, (MovedPlan(DAY, 2, eight, nine),))
    monthly = "every_months=1 anchor=2026-01-31"
    assert await plan(dispatch=monthly) == PlanEffect(2, (MovedPlan(DAY, 2, eight, None),))
    assert await rows_of_each_table(world.database) == before
    # What another schedule took away comes back with the old one.
    await world.change(dispatch=monthly)
    assert await plan(dispatch="rolling") == PlanEffect(0, (MovedPlan(DAY, 2, None, eight),))
