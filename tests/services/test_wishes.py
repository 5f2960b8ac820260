"""What candidates want less of: nothing for a while, no birthday letters, one letter a year (D24, D27, D32, D33)."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from shared.db import person_commands as people
from shared.db.person_commands import Less, OfOrder, Stopped
from shared.db.person_file import show_person
from shared.db.suppressions import CANDIDATE, PAUSED
from shared.db.system_settings import save_system_settings
from shared.db.tables import applications, blocks, events, persons
from shared.db.why import explain
from shared.db.write_orders.wishes import NO_BIRTHDAY, YEARLY
from tests.services.setup_files import rows
from tests.services.world import DAY, MORNING, SETUP, World

EIGHT = MORNING + timedelta(hours=1)
BORN = "1990-11-23"
SAME = "query: Neue, letter: Brief, dispatch: rolling, repeat_guard_days: 1"
#: With a job of the same query at the same time, and a birthday job.
JOBS = f"""{SETUP}
  - {{name: Zweiter, status: An, {SAME}, time: "08:00", priority: 1}}
  - {{name: Glückwunsch, status: An, query: Geburtstag, letter: Brief, dispatch: rolling, time: "08:00"}}
"""
PEOPLE = (f"A1,S1,Eins,a1@x.example,Neu,{BORN}", f"B1,,Zwei,b1@x.example,Neu,{BORN}")


async def want_less(world: World, less: Less, whose: Any = "A1") -> Stopped:
    return await people.want_less(world.database, whose, less, author="anna", now=world.clock.now())


async def want_as_usual(world: World, less: Less) -> Stopped:
    return await people.want_as_usual(world.database, "A1", less, author="anna", now=world.clock.now())


async def jobs_of(world: World, application: str, *states: str, day: date | None = None) -> set[str]:
    return {
        row["job_name"]
        for row in await world.rows(day)
        if (row["external_id"] == application and row["state"] in states)
    }


ALL = {"Gruß", "Zweiter", "Glückwunsch"}


@pytest.mark.parametrize("stage", ["planned", "queued", "claimed"])
async def test_no_birthday_letters_withdraws_these_alone_up_to_t2(world: World, stage: str) -> None:
    await world.begin(*PEOPLE, setup=JOBS)
    world.clock.set(MORNING if stage == "planned" else EIGHT)
    ids = await world.turn()
    held = (await world.claim(*ids)).orders if stage == "claimed" else []
    assert await want_less(world, Less.NO_BIRTHDAY) == Stopped(1, 0)
    assert await want_less(world, Less.NO_BIRTHDAY) == Stopped(changed=False)
    (gone,) = [row for row in await world.rows() if row["state"] == "withdrawn"]
    assert (gone["job_name"], gone["external_id"], gone["reason"]) == ("Glückwunsch", "A1", NO_BIRTHDAY)
    if held:
        assert len(await world.intend(*held)) == 5
    (event,) = await rows(world.database, events, action="no_birthday")
    assert (event["noun"], event["author"]) == ("person", "anna")


async def test_no_birthday_letters_holds_for_later_plans_and_the_claim_until_it_is_taken_back(world: World) -> None:
    await world.begin(*PEOPLE, setup=JOBS)
    await want_less(world, Less.NO_BIRTHDAY)
    await world.turn()
    assert await jobs_of(world, "A1", "planned") == ALL - {"Glückwunsch"}
    assert await jobs_of(world, "B1", "planned") == ALL
    async with world.database.read() as connection:
        found = await explain(connection, "Geburtstag", "A1", DAY, DAY)
    assert found["jobs"][0]["stopped_by"] == {"rule": "birthday", "reason": NO_BIRTHDAY}
    await want_as_usual(world, Less.NO_BIRTHDAY)
    assert await want_as_usual(world, Less.NO_BIRTHDAY) == Stopped(changed=False)
    world.clock.advance(timedelta(minutes=6))
    await world.turn()
    assert await jobs_of(world, "A1", "planned") == ALL


async def test_a_standing_plan_notices_the_wish_without_looking_at_everybody(world: World, looks: list[Any]) -> None:
    await world.begin(*PEOPLE, setup=JOBS)
    await world.turn()
    looks.clear()
    async with world.database.begin() as connection:
        # As if the wish had come about otherwise: the log of people tells of it.
        await connection.execute(persons.update().values(no_birthday_since=MORNING))
    world.clock.advance(timedelta(minutes=6))
    await world.turn()
    assert looks and None not in looks
    assert await jobs_of(world, "A1", "planned") == ALL - {"Glückwunsch"}


async def test_one_letter_a_year_leaves_the_most_important_and_counts_what_was_sent(world: World) -> None:
    await world.begin(*PEOPLE, setup=JOBS)
    world.clock.set(EIGHT)
    ids = await world.turn()
    assert await want_less(world, Less.YEARLY) == Stopped(2, 0)
    (left,) = await jobs_of(world, "A1", "queued")
    assert {row["reason"] for row in await world.rows() if row["state"] == "withdrawn"} == {YEARLY}
    await world.send(*ids)
    assert await jobs_of(world, "A1", "sent") == {left} and await jobs_of(world, "B1", "sent") == ALL
    # The birthday is 365 days later; everything between is too early.
    for days, letters in ((31, 0), (364, 0), (365, 1)):
        world.clock.set(EIGHT + timedelta(days=days))
        day = DAY + timedelta(days=days)
        for job in sorted(ALL):
            await world.run(job, day)
        await world.send(*[row["id"] for row in await world.rows(day) if row["state"] == "queued"])
        assert len(await jobs_of(world, "A1", "sent", day=day)) == letters, days
        assert await jobs_of(world, "B1", "sent", day=day), days


async def test_one_letter_a_year_stops_a_claimed_letter_where_another_was_handed_over(world: World) -> None:
    await world.begin(PEOPLE[0], setup=JOBS)
    world.clock.set(EIGHT)
    first, *others = (await world.claim(*await world.turn())).orders
    assert await world.intend(first) == {first.id}
    assert await want_less(world, Less.YEARLY) == Stopped(2, 0)
    assert await world.intend(*others) == set()
    await world.settle(first, "sent")
    async with world.database.read() as connection:
        found = await explain(connection, "Neue", "A1", DAY + timedelta(days=40), DAY)
    assert [job["stopped_by"]["rule"] for job in found["jobs"]] == ["yearly", "yearly"]


async def test_d27_d33_the_last_look_alone_holds_one_letter_a_year(world: World) -> None:
    await world.begin(*PEOPLE, setup=JOBS)
    world.clock.set(EIGHT)
    await world.turn()
    queued = {who: [row["id"] for row in await world.rows() if row["external_id"] == who] for who in ("A1", "B1")}
    await world.send(queued["A1"][0])
    async with world.database.begin() as connection:
        # As if the wish had come about otherwise: nothing is withdrawn by it.
        a1 = (await connection.execute(select(applications.c.person_id).filter_by(external_id="A1"))).scalar_one()
        await connection.execute(persons.update().where(persons.c.id == a1).values(yearly_since=MORNING))
    claim = await world.claim(*queued["A1"][1:], *queued["B1"])
    assert sorted(order.id for order in claim.orders) == queued["B1"]
    assert claim.others == {"withdrawn: no longer matches at the last look": 2}


async def test_d27_the_stricter_of_both_caps_wins(world: World) -> None:
    await world.begin(*PEOPLE, setup=JOBS)
    async with world.database.begin() as connection:
        await save_system_settings(connection, {"frequency_cap_days": 500})
    await want_less(world, Less.YEARLY)
    world.clock.set(EIGHT)
    await world.send(*await world.turn())
    for days, letters in ((365, 0), (500, 1)):
        world.clock.set(EIGHT + timedelta(days=days))
        await world.run("Gruß", DAY + timedelta(days=days))
        assert len(await jobs_of(world, "A1", "queued", day=DAY + timedelta(days=days))) == letters


async def test_d32_a_pause_blocks_all_jobs_for_six_months_and_is_taken_back(world: World) -> None:
    ids = await world.queued(*PEOPLE, setup=JOBS)
    order = OfOrder(next(row["id"] for row in await world.rows() if row["external_id"] == "A1"))
    held = (await world.claim(*ids)).orders
    assert await people.pause(world.database, order, now=world.clock.now()) == Stopped(3, 0)
    assert await people.pause(world.database, order, now=world.clock.now()) == Stopped(changed=False)
    assert {one.application["external_id"] for one in held if await world.intend(one)} == {"B1"}
    (block,) = await rows(world.database, blocks)
    assert (block["until"], block["author"], block["reason"]) == (date(2027, 5, 23), CANDIDATE, PAUSED)
    for day, gets in ((date(2027, 5, 23), False), (date(2027, 5, 24), True)):
        await world.run("Zweiter", day)
        assert await jobs_of(world, "A1", "queued", day=day) == ({"Zweiter"} if gets else set())
    assert await people.end_pause(world.database, order, now=world.clock.now()) == Stopped()
    assert await people.end_pause(world.database, order, now=world.clock.now()) == Stopped(changed=False)
    assert (await file_of(world))["blocks"] == []


async def test_d32_ending_a_pause_leaves_the_blocks_of_others(world: World) -> None:
    await world.begin(*PEOPLE)
    now = world.clock.now()
    await people.block(world.database, "A1", job=None, until=DAY, reason="Ruhe", author="anna", now=now)
    await people.pause(world.database, "A1", now=now)
    await people.end_pause(world.database, "A1", now=now)
    assert [one["reason"] for one in (await file_of(world))["blocks"]] == ["Ruhe"]


async def test_d24_of_two_people_that_become_one_the_stricter_wins(world: World) -> None:
    await world.begin(*PEOPLE)
    now = world.clock.now()
    for less in Less:
        await want_less(world, less)
    await people.pause(world.database, "A1", now=now)
    await people.opt_out(world.database, "B1", reason=None, author="anna", now=now)
    await world.applicants("A1,S2,Eins,a1@x.example,Neu,", "B1,S2,Zwei,b1@x.example,Neu,")
    found = await file_of(world)
    assert len(found["applications"]) == 2 and found["opted_out_by"] == "anna" and found["blocks"]
    assert found["no_birthday_since"] and found["yearly_since"]


async def file_of(world: World) -> dict[str, Any]:
    async with world.database.read() as connection:
        return await show_person(connection, "A1")
