"""Keeping a plan current costs what changed: the log of people, who reads it, and what it must never miss (D14)."""

import random
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from shared.db.person_changes import MANY
from shared.db.service_tables import person_changes
from shared.db.tables import applications, dispatch_runs, persons
from tests.services.plan_changes import Changes
from tests.services.plan_looks import Looks, again, forget, log, open_runs, planned, rehearsed, seen
from tests.services.setup_files import apply
from tests.services.test_agreement import CONDITIONS, STATUSES, begin
from tests.services.world import DAY, MORNING, SETUP, World
from tests.sizes import size

CONDITIONS_ON_FIELDS = [one for one in CONDITIONS if "custom" in one]
#: J has three plans at a time, each of which the ones before guard; K goes before it, and both are capped.
JOBS = """
jobs:
  - {name: J, status: An, query: Q, letter: Brief, dispatch: rolling, time: '08:00', lead_days: 2,
     repeat_guard_days: 2, priority: 5}
  - {name: K, status: An, query: Q, letter: Brief, dispatch: rolling, time: '20:00', repeat_guard_days: 1, priority: 9}
"""


@pytest.mark.parametrize("seed", range(size(2, 6)))
async def test_d14_looking_at_the_changed_people_is_looking_at_everybody(
    world: World, tmp_path: Path, looks: Looks, seed: int
) -> None:
    rng = random.Random(seed)
    await begin(world, rng, tmp_path)
    filters = ", ".join([*rng.sample(CONDITIONS, rng.randint(1, 2)), *(CONDITIONS_ON_FIELDS if seed % 3 == 0 else ())])
    setup = f"{STATUSES}queries: [{{name: Q, filters: [{filters}]}}]\n{JOBS}"
    capped = setup.replace("settings: {", "settings: {frequency_cap_days: 2, ")
    await apply(world.database, capped if seed % 2 else setup, now=MORNING - timedelta(days=1))
    world.clock.set(MORNING)
    await world.turn()
    changes, told, few = Changes(world, rng), [], 0
    for _ in range(14):
        told += [await changes.happen() for _ in range(rng.randint(1, 3))]
        await world.sweep()
        for run_id in await open_runs(world):
            looks.clear()
            some = await rehearsed(world, run_id, whole=False)
            assert some == await rehearsed(world, run_id, whole=True), told
            assert looks[1] is None
            few += looks[0] is not None
        await again(world, "J")
    assert few > 20  # of some forty: a change of settings or jobs is about everybody


async def test_d14_with_nothing_changed_nobody_is_looked_at(world: World, looks: Looks) -> None:
    await planned(world)
    await again(world)
    await again(world)
    # Nor those for whom the first look made orders.
    assert seen(world, looks) == [None, 0, 0]
    async with world.database.read() as connection:
        assert (await connection.execute(select(dispatch_runs.c.recipients))).scalar_one() == 2


async def test_d14_one_change_is_one_person_s(world: World, looks: Looks) -> None:
    await planned(world)
    await world.applicants("A2,,Zwei,a2@x.example,Absage,", "A3,,Drei,a3@x.example,Neu,")
    await again(world)
    assert await world.orders(DAY) == {"A1": "planned", "A2": "withdrawn", "A3": "planned"}
    await again(world)
    assert seen(world, looks) == ([None, 2, 0] if world.database.dialect == "sqlite" else [None, 0, 0])


async def test_d14_a_change_that_commits_late_is_not_missed_on_postgresql(world: World, looks: Looks) -> None:
    await planned(world)
    if world.database.dialect == "sqlite":  # there is one writer: nobody commits in between
        return
    a = applications.c
    pool = update(applications).where(a.external_id == "A1").values(kind="pool", status_id=None)
    async with world.database.begin() as slow:
        await slow.execute(pool)
        await world.applicants("A2,,Zwei,a2@x.example,Absage,")  # a later transaction, committed before
        await again(world)
        assert await world.orders(DAY) == {"A1": "planned", "A2": "withdrawn"}
        await again(world)
    await again(world)
    assert await world.orders(DAY) == {"A1": "withdrawn", "A2": "withdrawn"}
    assert None not in looks[1:]


EVERYBODY = {
    "the query": "queries: [{name: Neue, filters: [{field: meta_status, in: [new, pool]}]}]",
    "what a status means": "statuses: [{name: Pool, meta: new}]",
    "the cap": "settings: {frequency_cap_days: 3}",
    "leap days": "settings: {leap_day_birthday: february_28}",
    "the job": "jobs: [{name: Gruß, query: Neue, letter: Brief, dispatch: rolling, time: '08:00', priority: 3}]",
}


@pytest.mark.parametrize("what", EVERYBODY)
async def test_d14_what_is_not_about_people_is_about_everybody(world: World, looks: Looks, what: str) -> None:
    query = "{name: Neue, filters: [{field: meta_status, in: [new]}, {field: birthday_in_days, from: 0, to: 300}]}"
    await world.begin("A1,,Eins,a1@x.example,Neu,1990-12-01")
    await apply(world.database, f"queries: [{query}]", now=MORNING - timedelta(hours=11))
    await world.turn()
    await again(world)
    await apply(world.database, EVERYBODY[what], now=MORNING)
    await again(world)
    assert seen(world, looks) == [None, 0, None]


async def test_d14_d27_another_job_that_comes_to_go_before_is_about_everybody(world: World, looks: Looks) -> None:
    other = "  - {name: K, status: Aus, query: Neue, letter: Brief, dispatch: rolling, time: '08:00', priority: 1}\n"
    await world.begin(
        "A1,,Eins,a1@x.example,Neu,", setup=SETUP.replace("{time_zone", "{frequency_cap_days: 3, time_zone") + other
    )
    await world.turn()
    await world.change("K", priority="99")
    await again(world)
    assert looks == [None, None]


async def test_d14_the_send_moment_does_not_rely_on_the_log(world: World, looks: Looks) -> None:
    await planned(world)
    async with world.database.begin() as connection:
        changed = update(applications).where(applications.c.external_id == "A1")
        await connection.execute(changed.values(status_id=None))
    await forget(world)  # as if nobody had told
    looks.clear()
    world.clock.set(MORNING + timedelta(hours=1))
    assert len(await world.turn()) == 1
    assert await world.orders(DAY) == {"A1": "withdrawn", "A2": "queued"}
    assert looks == []


async def test_d14_job_run_does_not_rely_on_the_log(world: World, looks: Looks) -> None:
    await planned(world)
    async with world.database.begin() as connection:
        changed = update(applications).where(applications.c.external_id == "A1")
        await connection.execute(changed.values(status_id=None))
    await forget(world)
    looks.clear()
    assert (await world.run()).released == 1
    assert looks == []


async def test_d14_a_change_of_very_many_is_about_everybody(world: World, looks: Looks) -> None:
    await planned(world)
    new = [{"id": 100 + n, "identity": f"one:B{n}"} for n in range(MANY + 1)]
    theirs = [{"external_id": f"B{n}", "person_id": 100 + n, "kind": "other"} for n in range(MANY + 1)]
    async with world.database.begin() as connection:
        await connection.execute(insert(persons), new)
        await connection.execute(insert(applications), theirs)
        await connection.execute(person_changes.delete())
        await connection.execute(update(applications).where(applications.c.kind == "other").values(kind="pool"))
    if world.database.dialect == "postgresql":
        assert await log(world) == [None]
    await again(world)
    assert looks == [None, None]
