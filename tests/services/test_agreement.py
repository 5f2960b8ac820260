"""List, plan, last look, why, impact and simulation say the same of the same people, on random data."""

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.db.engine import Database
from shared.db.job_rows import load_job_row
from shared.db.jobs import copy_job, delete_job, rehearse_job
from shared.db.order_commands import block, unblock
from shared.db.queries import QueryDay, load_query
from shared.db.query_answers import answer_query
from shared.db.recipients import ORDER_IDS, last_look
from shared.db.system_settings import ensure_instance_id, load_system_settings, save_system_settings
from shared.db.tables import applications, blocks, persons
from shared.db.why import explain
from shared.db.write_orders.claims import rules_of
from shared.importing import import_applications, import_contacts
from shared.simulation import private_copy, simulate
from tests.data_generator import write_files
from tests.services.recipients_model import BERLIN
from tests.services.setup_files import apply
from tests.services.world import DAY, MORNING, World
from tests.sizes import size

STATUSES = """
settings: {time_zone: Europe/Berlin, sender: "HR <hr@firma.example>"}
statuses:
  - {name: Neu online, meta: new}
  - {name: Neu manuell, meta: new}
  - {name: Zustellung Fachbereich, meta: in_process}
  - {name: Interview vereinbart, meta: interview}
  - {name: Angebot, meta: offer}
  - {name: Absage ohne Gespräch, meta: rejected}
  - {name: Absage, meta: rejected}
  - {name: Bewerber-Pool, meta: pool}
  - {name: Eingestellt, meta: hired}
users: [{name: a.weber, display_name: A, email: a@x.example, role: edit}, {name: m.schulz, display_name: M, role: view}]
letters: [{name: Brief, subject: "Guten Tag", text: "Guten Tag"}]
"""
#: Conditions of which a query has some; each leaves many people in.
CONDITIONS = [
    "{field: has_email, is: true}",
    "{field: meta_status, not_in: [hired, rejected]}",
    "{field: days_since_last_contact, more_than: 20}",
    "{field: days_since_last_contact, at_most: 200, negate: true}",
    "{field: dwell_months, more_than: 3}",
    "{field: birthday_in_days, from: 0, to: 180}",
    "{field: department, in: [it, vertrieb, technik, pflege]}",
    "{field: custom.skills, contains: x, negate: true}",
    "{field: received_on, from: 2020-01-01, to: 2027-12-31}",
    "{field: in_pool, is: false}",
]


def a_setup(rng: random.Random) -> str:
    filters = ", ".join(rng.sample(CONDITIONS, rng.randint(1, 3)))
    job = "{name: J, status: An, query: Q, letter: Brief, dispatch: rolling, time: '08:00', lead_days: 1}"
    return f"{STATUSES}queries: [{{name: Q, filters: [{filters}]}}]\njobs: [{job}]\n"


async def begin(world: World, rng: random.Random, folder: Path) -> None:
    async with world.database.begin() as connection:
        await ensure_instance_id(connection)
    await apply(world.database, a_setup(rng), now=MORNING - timedelta(days=2))
    paths = write_files(folder, 120, 3, rng.randint(1, 10_000))
    for path, take in zip(paths, (import_applications, import_contacts), strict=True):
        await take(world.database, path, author="anna", now=MORNING)
    async with world.database.begin() as connection:
        people = list((await connection.execute(select(persons.c.id))).scalars())
        gone, quiet = rng.sample(people, 10), rng.sample(people, 25)
        await connection.execute(update(persons).where(persons.c.id.in_(gone)).values(opted_out_at=MORNING))
        block = {"scope": "all", "reason": "Ruhe", "author": "anna", "created_at": MORNING}
        await connection.execute(blocks.insert(), [block | {"person_id": person_id} for person_id in quiet])


async def blocked(database: Database) -> set[str]:
    async with database.read() as connection:
        statement = select(applications.c.external_id).join(blocks, blocks.c.person_id == applications.c.person_id)
        return set((await connection.execute(statement)).scalars())


async def held_by_the_last_look(world: World, day: date) -> set[str]:
    rows = await world.rows(day)
    async with world.database.read() as connection:
        job = {str(key): value for key, value in (await load_job_row(connection, "J")).items()}
        rules = rules_of(job, await load_system_settings(connection))
        statement = last_look(await load_query(connection, "Q"), QueryDay(day, BERLIN), rules)
        found = await statement.fetch(connection, **{ORDER_IDS: [row["id"] for row in rows]})
        hold = {row.order_id for row in found}
    return {row["external_id"] for row in rows if row["id"] in hold}


@pytest.mark.parametrize("seed", range(size(2, 5)))
async def test_d12_d22_d23_d25_all_views_agree(world: World, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    await begin(world, rng, tmp_path)
    async with world.database.read() as connection:
        listed = await answer_query(connection, "Q", DAY, DAY)
    chosen = {one["application"] for one in listed["recipients"]}
    expected = chosen - await blocked(world.database)
    assert expected
    async with private_copy(world.database) as connection:
        ahead = await simulate(connection, DAY, DAY)
    await world.turn()
    planned = {row["external_id"] for row in await world.rows(DAY) if row["state"] == "planned"}
    assert planned == expected
    assert await held_by_the_last_look(world, DAY) == expected
    ends = {one.application for one in ahead.skipped if one.reason.startswith("no_address")}
    assert {one.application for one in ahead.letters} | ends == expected
    assert {one.application for one in ahead.skipped if one.reason == "blocked"} == chosen - expected
    (impact,) = (await rehearse_job(world.database, "J", {"status": "Aus"}, author="a", now=world.clock.now())).impact
    assert (impact.on, impact.before) == (DAY, len(expected))
    await _why_agrees(world, rng, chosen, expected, listed)


async def one_dispatch(world: World, rng: random.Random) -> None:
    """A day's letters: most sent, some refused, some blocked before; afterwards half of all blocks are lifted."""
    await world.turn()
    planned = [row["id"] for row in await world.rows(DAY) if row["state"] == "planned"]
    for order_id in rng.sample(planned, min(4, len(planned))):
        scope = rng.choice(("letter", "job", "all"))
        await block(world.database, order_id, scope=scope, reason="Ruhe", until=None, author="a", now=world.clock.now())
    world.clock.set(MORNING + timedelta(hours=2))
    for order in (await world.claim(*await world.turn())).orders:
        assert await world.intend(order) == {order.id}
        await world.settle(order, "failed" if rng.random() < 0.2 else "sent")
    async with world.database.begin() as connection:
        standing = list((await connection.execute(select(blocks.c.id).order_by(blocks.c.id))).scalars())
        lifted = update(blocks).where(blocks.c.id.in_(rng.sample(standing, len(standing) // 2)))
        await connection.execute(lifted.values(lifted_at=world.clock.now(), lifted_by="anna"))
        await save_system_settings(connection, {"frequency_cap_days": rng.choice((0, 2))})
    await world.change("J", repeat_guard_days=str(rng.choice((1, 2, 30))))


@pytest.mark.parametrize("seed", range(size(2, 5)))
async def test_d13_d22_d27_d32_all_views_agree_on_the_day_after_a_dispatch(
    world: World, tmp_path: Path, seed: int
) -> None:
    rng, day = random.Random(100 + seed), DAY + timedelta(days=1)
    await begin(world, rng, tmp_path)
    await one_dispatch(world, rng)
    world.clock.set(MORNING + timedelta(days=1))
    (impact,) = (await rehearse_job(world.database, "J", {"status": "Aus"}, author="a", now=world.clock.now())).impact
    async with world.database.read() as connection:
        listed = await answer_query(connection, "Q", day, day)
    async with private_copy(world.database) as connection:
        ahead = await simulate(connection, day, day)
    await world.turn()
    planned = {row["external_id"] for row in await world.rows(day) if row["state"] == "planned"}
    chosen = {one["application"] for one in listed["recipients"]}
    assert planned and planned <= chosen
    assert (impact.on, impact.before) == (day, len(planned))
    assert await held_by_the_last_look(world, day) == planned
    ends = {one.application for one in ahead.skipped if one.reason.startswith("no_address")}
    assert {one.application for one in ahead.letters} | ends == planned
    await _why_agrees(world, rng, chosen, planned, listed, day)


async def the_wrong_job_is_replaced(world: World, rng: random.Random) -> None:
    """Planned, then copied, deleted and the copy set An; some letters were blocked before, half of them come back."""
    await world.change("J", lead_days="3", repeat_guard_days="2")
    await world.turn()
    who: dict[str, Any] = {"author": "a", "now": world.clock.now()}
    planned = [row["id"] for row in await world.rows(DAY) if row["state"] == "planned"]
    stopped = rng.sample(planned, min(6, len(planned)))
    for order_id in stopped:
        await block(world.database, order_id, scope="letter", reason="Ruhe", until=None, **who)
    await copy_job(world.database, "J", "K", **who)
    await delete_job(world.database, "J", **who)
    await world.change("K", status="An")
    for order_id in stopped[::2]:
        await unblock(world.database, order_id, **who)


@pytest.mark.parametrize("seed", range(size(1, 3)))
async def test_d2_d14_d22_all_views_agree_after_copying_and_deleting_a_planned_job(
    world: World, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(200 + seed)
    await begin(world, rng, tmp_path)
    await the_wrong_job_is_replaced(world, rng)
    async with world.database.read() as connection:
        listed = await answer_query(connection, "Q", DAY, DAY)
    async with private_copy(world.database) as connection:
        ahead = await simulate(connection, DAY, DAY)
    ends = {one.application for one in ahead.skipped if one.reason.startswith("no_address")}
    expected = {one.application for one in ahead.letters} | ends
    # Before the plan is made, and after.
    chosen = {one["application"] for one in listed["recipients"]}
    await _why_agrees(world, rng, chosen, expected, listed)
    await world.turn()
    rows = await world.rows(DAY)
    assert {row["external_id"] for row in rows if row["state"] == "planned"} == expected
    assert {row["job_name"] for row in rows if row["state"] == "planned"} == {"K"}
    await _why_agrees(world, rng, chosen, expected, listed)


async def _why_agrees(
    world: World,
    rng: random.Random,
    chosen: set[str],
    expected: set[str],
    listed: dict[str, Any],
    day: date = DAY,
) -> None:
    collapsed = {name for one in listed["recipients"] for name in one["duplicates_collapsed"]}
    async with world.database.read() as connection:
        everybody = sorted((await connection.execute(select(applications.c.external_id))).scalars())
        asked = {*rng.sample(everybody, 4), *rng.sample(sorted(expected), min(2, len(expected)))}
        for name in sorted(asked | set(sorted(collapsed)[:2])):
            found = await explain(connection, "Q", name, day, day)
            assert found["matches"] == (name in chosen or name in collapsed), name
            assert (found["matches"] and found["stands_for_person"] == name) == (name in chosen), name
            (job,) = found["jobs"]
            gets = name in chosen and job["stopped_by"] is None
            assert gets == (name in expected), name
            assert (job["first_letter_on"] == day.isoformat()) == gets, name
