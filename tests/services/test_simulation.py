"""The simulation against the services: the same letters on the same days, and nothing live touched."""

import asyncio
import random
from datetime import date, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.mailer.letters import Letters
from shared.db.dispatch import run_now
from shared.db.engine import Database
from shared.db.job_rows import load_job_row, schedule_of
from shared.db.system_settings import ensure_instance_id, load_system_settings
from shared.db.tables import applications, metadata, write_orders
from shared.db.write_orders.claims import Claimant, claim
from shared.db.write_orders.intents import Intent, intend
from shared.db.write_orders.outcomes import Settlement, settle
from shared.errors import NotFound
from shared.importing import import_applications, import_contacts
from shared.setup import apply_setup, read_setup
from shared.simulation import Simulation, private_copy, simulate
from tests.data_generator import write_files
from tests.services.competing_jobs import a_setup, invented, live_through
from tests.services.import_files import Files, lines
from tests.services.world import DAY, JOB, MORNING, SETUP, World
from tests.sizes import size

#: Today, a month's end, a leap day, the days around a year's turn and a clock change, and others.
TWENTY_DAYS = [
    date.fromisoformat(day)
    for day in (
        *("2026-11-23", "2026-11-24", "2026-11-29", "2026-11-30", "2026-12-24", "2026-12-31", "2027-01-01"),
        *("2027-01-31", "2027-02-28", "2027-03-01", "2027-03-27", "2027-03-28", "2027-05-31", "2027-06-30"),
        *("2027-07-15", "2027-10-31", "2027-11-01", "2028-02-28", "2028-02-29", "2028-03-01"),
    )
]
#: The sample's jobs, by the time at which they send.
IN_TURN = ("Geburtstagsgrüße", "Prozesshänger", "Endgültige Absage Pool")
Found = set[tuple[date, str, str]]


async def ahead(world: World, first: date, last: date, *jobs: str, after: datetime | None = None) -> Simulation:
    async with private_copy(world.database) as connection:
        return await simulate(connection, first, last, jobs, after)


def letters(found: Simulation) -> Found:
    return {(one.on, one.job, one.application) for one in found.letters}


async def sample_like_data(world: World, folder: Path) -> None:
    async with world.database.begin() as connection:
        await ensure_instance_id(connection)
    with as_file(files("services.cli") / "sample" / "setup.yaml") as setup:
        await apply_setup(
            world.database, read_setup(setup), author="anna", role="admin", now=MORNING - timedelta(days=1)
        )
    for path, take in zip(write_files(folder, 400, 3, 7), (import_applications, import_contacts), strict=True):
        await take(world.database, path, author="anna", now=MORNING)


async def letters_of_job_run(connection: AsyncConnection, name: str, day: date) -> Found:
    """`job run --on day` at the job's time of that day, sent and settled."""
    now = schedule_of(await load_job_row(connection, name)).send_moment(day)
    result, _ = await run_now(connection, name, day, now, "anna")
    o = write_orders.c
    released = await connection.execute(select(o.id).where(o.run_id == result.run_id, o.state == "queued"))
    settings = await load_system_settings(connection)
    who = Claimant("m1", 600, now, settings, Letters(None).message_ids(settings))
    taken = (await claim(connection, list(released.scalars()), who)).orders
    if taken:
        intents = [Intent(order.id, order.token, order.job_id, 1, "") for order in taken]
        await intend(connection, intents, 600, now)
        await settle(connection, [Settlement(order.id, order.token, "sent", now) for order in taken])
    return {(day, name, order.application["external_id"]) for order in taken}


async def test_simulate_and_job_run_give_the_same_letters_on_twenty_days(world: World, tmp_path: Path) -> None:
    await sample_like_data(world, tmp_path)
    count = 0
    for day in TWENTY_DAYS:
        simulated = letters(await ahead(world, day, day))
        async with world.database.begin() as connection:
            run: Found = set()
            for name in IN_TURN:
                if schedule_of(await load_job_row(connection, name)).is_occasion(day):
                    run |= await letters_of_job_run(connection, name, day)
            await connection.rollback()  # equal fresh data for the next day
        assert simulated == run, day
        count += len(run)
    assert count > 500


@pytest.mark.parametrize("seed", range(size(1, 4)))
async def test_d12_d13_d18_d27_simulated_days_are_those_that_come(world: World, seed: int) -> None:
    rng = random.Random(seed)
    await world.begin(*invented(rng), setup=a_setup(rng, (0, 1, 2)))
    days = 7
    simulated = await ahead(world, DAY, DAY + timedelta(days=days - 1), after=world.clock.now())
    sent = await live_through(world, DAY, days)
    before_the_end = MORNING + timedelta(days=days) - timedelta(hours=7)
    assert {(one.on, one.job, one.application) for one in simulated.letters if one.at < before_the_end} == sent
    assert simulated.letters
    no_address = {one.application for one in simulated.skipped if one.reason.startswith("no_address")}
    assert {row["external_id"] for row in await world.rows() if row["state"] == "no_address"} <= no_address


async def contents(database: Database) -> dict[str, list[Any]]:
    async with database.read() as connection:
        return {
            table.name: sorted(map(repr, (await connection.execute(select(table))).all()))
            for table in metadata.sorted_tables
        }


async def test_a_simulation_changes_nothing_that_lives(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,,Neu,")
    await world.turn()
    before = await contents(world.database)
    found = await ahead(world, DAY, DAY + timedelta(days=40))
    assert [(one.on, one.application) for one in found.letters] == [(DAY, "A1"), (DAY + timedelta(days=30), "A1")]
    assert await contents(world.database) == before


async def test_d4_a_switch_to_aus_does_not_wait_for_a_simulation(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    async with private_copy(world.database) as connection:
        found = await simulate(connection, DAY, DAY, [])
        # The simulation's transaction is still open.
        await asyncio.wait_for(world.change(status="Aus"), 10)
        await asyncio.wait_for(world.applicants("A1,,Eins,b1@x.example,Pool,"), 10)
        seen = (await connection.execute(select(applications.c.email))).scalars().all()
    assert [one.email for one in found.letters] == ["a1@x.example"] == list(seen)


async def test_only_jobs_that_are_on_are_simulated_unless_they_are_named(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.change(status="Aus")
    assert letters(await ahead(world, DAY, DAY)) == set()
    assert letters(await ahead(world, DAY, DAY, "gruß")) == {(DAY, "Gruß", "A1")}
    with pytest.raises(NotFound, match="did you mean 'Gruß'"):
        await ahead(world, DAY, DAY, "Grus")


async def test_d10_a_day_that_was_dispatched_has_no_second_dispatch(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.change(repeat_guard_days="0")
    world.clock.set(MORNING + timedelta(hours=1))
    await world.send(*await world.turn())
    assert [one.on for one in (await ahead(world, DAY, DAY + timedelta(days=1))).letters] == [DAY + timedelta(days=1)]


async def test_skips_have_their_rule_and_collisions_are_told(world: World) -> None:
    other = '  - {name: Zweiter, status: An, query: Neue, letter: Brief, dispatch: rolling, time: "09:00"}\n'
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,max@,Neu,", setup=SETUP + other)
    found = await ahead(world, DAY, DAY + timedelta(days=1), "Gruß", "Zweiter")
    assert {(one.job, one.application, one.reason) for one in found.skipped if one.on == DAY} == {
        ("Gruß", "A2", "no_address: e-mail address is not valid: max@"),
        ("Zweiter", "A2", "no_address: e-mail address is not valid: max@"),
    }
    assert {one.reason for one in found.skipped if one.on > DAY} == {"repeat guard"}
    assert [(one.job, two.job, two.application) for one, two in found.collisions()] == [("Gruß", "Zweiter", "A1")]


async def test_d20_d41_d42_a_simulated_letter_counts_on_the_days_after_it(world: World) -> None:
    setup = SETUP.replace(
        "queries:", "queries:\n  - {name: Still, filters: [{field: days_since_last_contact, more_than: 2}]}"
    )
    setup = setup.replace("settings: {", "settings: {reduce_core_data: {after_months: 1}, ").replace(
        "query: Neue, letter: Brief", "query: Still, letter: Brief"
    )
    last = '  - {name: Ende, status: An, query: Geburtstag, letter: Ende, dispatch: rolling, time: "07:00"}\n'
    await world.begin("A1,,Eins,a1@x.example,Neu,1990-12-01", setup=setup + last)
    await world.change(repeat_guard_days="0")
    file = lines("application,at,medium,direction", "A1,2026-01-01T09:00:00+01:00,mail,outgoing")
    await Files(world.database, world.folder).contacts(file)
    found = await ahead(world, DAY, DAY + timedelta(days=60))
    care = [one.on.isoformat() for one in found.letters if one.job == JOB]
    assert care[:4] == ["2026-11-23", "2026-11-26", "2026-11-29", "2026-12-04"]  # after the birthday's contact
    # A month after the rejection of 1 December the application is reduced: never selected again.
    assert [one.on.isoformat() for one in found.letters if one.job == "Ende"] == ["2026-12-01"]
    assert care[-1] == "2026-12-31"
