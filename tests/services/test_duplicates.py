"""Persons by night and by hand (D24): changed keys take effect, once a day, with any number of schedulers."""

import asyncio
import json
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, update

from services.scheduler.chores import CHORES, do_chores
from services.scheduler.service import run_scheduler
from shared.db import duplicates
from shared.db.daily_chores import LEASE, chore_due, end_chore, take_chore
from shared.db.duplicates import PassReport, assign_persons
from shared.db.order_commands import block, retry, unblock
from shared.db.service_tables import daily_chores
from shared.db.tables import applications, blocks, events, persons, write_orders
from shared.db.write_orders.applications import DUPLICATE, WAITS
from shared.errors import Refused
from shared.retry import retry_conflicts
from shared.settings import Settings
from tests.services.command_line import CommandLine
from tests.services.import_files import applications_of
from tests.services.setup_files import apply, rows
from tests.services.world import DAY, SETUP, World

#: A1 and A2 are one by name and birth date, A3 by address with A2.
PEOPLE = (
    "A1,,Koch,a@x.example,Neu,1990-01-01",
    "A2,,KOCH,b@x.example,Neu,1990-01-01",
    "A3,,Roth,B@X.example,Neu,1980-01-01",
)
BY_NAME = SETUP.replace("sync_minutes: 5", "sync_minutes: 5, duplicate_keys: [last_name, birth_date]")
BY_MAIL = SETUP.replace("sync_minutes: 5", "sync_minutes: 5, duplicate_keys: [email]")


async def groups(world: World) -> set[frozenset[str]]:
    """Who is one person with whom."""
    found: dict[int, set[str]] = {}
    for name, row in (await applications_of(world.database)).items():
        found.setdefault(row["person_id"], set()).add(name)
    return {frozenset(names) for names in found.values()}


async def pass_now(world: World, *, dry_run: bool = False) -> PassReport:
    report = PassReport()
    async for so_far in assign_persons(world.database, now=world.clock.now(), author="anna", dry_run=dry_run):
        report = so_far
    return report


async def at_night(world: World) -> None:
    await do_chores(world.database, world.clock, world.log, asyncio.Event())


def sets(*names: str) -> set[frozenset[str]]:
    return {frozenset(name.split()) for name in names}


@pytest.mark.parametrize("rows_at_a_time", [2000, 1])
async def test_d24_changed_keys_take_effect_by_night(
    world: World, rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "READ_ROWS", rows_at_a_time)
    await world.begin(*PEOPLE)
    assert await groups(world) == sets("A1", "A2", "A3")
    await apply(world.database, BY_NAME)
    assert await groups(world) == sets("A1", "A2", "A3")
    report = await pass_now(world, dry_run=True)
    assert (report.checked, report.moved, report.applications) == (3, 3, ["A1", "A2", "A3"])
    assert await groups(world) == sets("A1", "A2", "A3")
    await at_night(world)
    assert await groups(world) == sets("A1 A2", "A3")
    assert (await pass_now(world)).moved == 0  # twice is harmless
    await apply(world.database, BY_MAIL)
    await pass_now(world)
    assert await groups(world) == sets("A1", "A2 A3")


async def test_d24_the_pass_leaves_given_sets_and_reduced_applications(world: World) -> None:
    await world.begin("A1,S1,Koch,a@x.example,Neu,", "A2,,Koch,A@x.example,Neu,", "A3,,Koch,a@X.example,Neu,")
    async with world.database.begin() as connection:
        a3 = update(applications).where(applications.c.external_id == "A3")
        await connection.execute(a3.values(reduced_at=world.clock.now()))
    await apply(world.database, BY_MAIL)
    assert (await pass_now(world)).applications == ["A2"]
    assert await groups(world) == sets("A1", "A2", "A3")


async def test_d24_the_pass_is_done_once_a_day_not_before_two(world: World) -> None:
    await world.begin(*PEOPLE, setup=BY_NAME)
    world.clock.set(world.clock.now().replace(hour=0, minute=59))  # 01:59 in Berlin
    await at_night(world)
    assert await world.count(daily_chores) == 0
    world.clock.advance(timedelta(minutes=1))
    await asyncio.gather(at_night(world), at_night(world), at_night(world))
    done = [row for row in await rows(world.database, daily_chores) if row["name"] in CHORES]
    assert {row["name"] for row in done} == set(CHORES)
    assert {(row["done_on"], row["done_at"]) for row in done} == {(DAY, world.clock.now())}
    for name in CHORES:
        assert await chore_due(world.database, name, world.clock.now()) is None
        assert await take_chore(world.database, name, DAY, world.clock.now()) is None
        assert await chore_due(world.database, name, world.clock.now() + timedelta(days=1)) == DAY + timedelta(days=1)


async def test_d24_the_scheduler_does_it(world: World) -> None:
    await world.begin(*PEOPLE)
    await apply(world.database, BY_NAME)
    stop = asyncio.Event()
    settings = Settings(kp_tick_seconds=0.5)
    scheduler = run_scheduler(world.database, world.bus, world.clock, settings, world.log, stop)
    running = asyncio.create_task(scheduler)
    end = time.monotonic() + 20
    while await chore_due(world.database, "core data", world.clock.now()):
        assert time.monotonic() < end and not running.done()
        await asyncio.sleep(0.02)
    stop.set()
    await running
    assert await groups(world) == sets("A1 A2", "A3")


async def test_d24_a_pass_that_broke_off_is_taken_up_when_its_lease_has_run_out(world: World) -> None:
    await world.begin(*PEOPLE)
    await apply(world.database, BY_NAME)
    assert await take_chore(world.database, "duplicates", DAY, world.clock.now())
    await at_night(world)
    assert await groups(world) == sets("A1", "A2", "A3")
    world.clock.advance(LEASE)
    again = await take_chore(world.database, "duplicates", DAY, world.clock.now())
    assert again
    await end_chore(world.database, again, world.clock.now(), done=False)
    await at_night(world)
    assert await groups(world) == sets("A1 A2", "A3")


async def test_d24_a_scheduler_that_ends_leaves_the_rest_to_another(world: World) -> None:
    await world.begin(*PEOPLE)
    await apply(world.database, BY_NAME)
    ending = asyncio.Event()
    ending.set()
    await do_chores(world.database, world.clock, world.log, ending)
    assert await chore_due(world.database, "duplicates", world.clock.now()) == DAY
    await at_night(world)
    assert await chore_due(world.database, "duplicates", world.clock.now()) is None


async def merge(world: World, *names: str) -> None:
    """These become one person."""
    people = {row.split(",", 1)[0]: row.split(",")[2:] for row in TWO}
    await world.applicants(*(f"{name},S1,{','.join(people[name])}" for name in names))


TWO = ("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")


async def test_d24_a_second_planned_order_of_the_day_is_withdrawn(world: World) -> None:
    await world.begin(*TWO)
    await world.turn()
    assert await world.orders() == {"A1": "planned", "A2": "planned"}
    await merge(world, "A1", "A2")
    (kept,) = [row for row in await world.rows() if row["state"] == "planned"]
    (gone,) = [row for row in await world.rows() if row["state"] == "withdrawn"]
    assert kept["external_id"] == "A2"  # the greatest id as text, where nothing else tells them apart (D23)
    assert (gone["reason"], gone["withdrawn_by"]) == (DUPLICATE, "duplicate")
    assert kept["person_id"] == (await applications_of(world.database))["A2"]["person_id"]
    assert {e["new"] for e in await rows(world.database, events, noun="order", record_id=gone["id"])} == {"withdrawn"}
    world.clock.advance(timedelta(hours=1))
    assert await world.turn() == [kept["id"]]
    await world.send(kept["id"])
    assert sorted((await world.orders()).values()) == ["sent", "withdrawn"]


async def test_d24_two_queued_letters_of_a_day_become_one(world: World) -> None:
    orders = await world.queued(*TWO)
    await merge(world, "A1", "A2")
    assert sorted((await world.orders()).values()) == ["queued", "withdrawn"]
    await world.send(*orders)
    assert sorted((await world.orders()).values()) == ["sent", "withdrawn"]


async def test_d24_what_is_claimed_or_sent_keeps_its_person_and_stops_the_other(world: World) -> None:
    first, _ = sorted(await world.queued(*TWO))
    (held,) = (await world.claim(first)).orders
    before = (await world.order("A1"))["person_id"]
    await merge(world, "A1", "A2")
    assert (await world.orders(), (await world.order("A1"))["person_id"]) == (
        {"A1": "sending", "A2": "withdrawn"},
        before,
    )
    # Blocks may have come with the merger: it is claimed and looked at again.
    assert await world.intend(held) == set()


async def test_d24_after_the_merger_nobody_gets_a_second_letter_of_the_day(world: World) -> None:
    first, _ = sorted(await world.queued(*TWO))
    await world.send(first)
    await merge(world, "A1", "A2")
    assert await world.orders() == {"A1": "sent", "A2": "withdrawn"}
    await world.run()  # a person asks again: withdrawn ones that match return, but not this
    assert await world.orders() == {"A1": "sent", "A2": "withdrawn"}
    await world.applicants("A3,S1,Drei,a3@x.example,Neu,")
    await world.run()
    assert "A3" not in await world.orders()


async def test_d24_a_withdrawn_duplicate_does_not_return_beside_the_letter(world: World) -> None:
    orders = await world.queued(TWO[0], "A2,S1,Zwei,a2@x.example,Neu,")
    await world.send(min(orders))
    await merge(world, "A1")
    assert await world.orders() == {"A1": "sent", "A2": "withdrawn"}
    await world.run()  # what matches returns; A2's order has the key of the person, who has a letter by now
    assert await world.orders() == {"A1": "sent", "A2": "withdrawn"}


async def test_d24_a_queued_order_follows_its_application(world: World) -> None:
    (order,) = await world.queued(TWO[0])
    await merge(world, "A1")
    found = await world.order("A1")
    assert (found["state"], found["person_id"]) == (
        "queued",
        (await applications_of(world.database))["A1"]["person_id"],
    )
    await world.send(order)
    assert await world.orders() == {"A1": "sent"}


async def test_d13_d24_of_two_days_under_way_the_later_waits(world: World) -> None:
    no_guard = SETUP.replace("repeat_guard_days: 30", "repeat_guard_days: 0")
    await world.begin(TWO[0], setup=no_guard)
    await world.run()
    world.clock.advance(timedelta(days=1))
    await world.applicants("A1,,Eins,a1@x.example,Pool,", TWO[1])
    await world.run(on=DAY + timedelta(days=1))
    assert await world.orders() == {"A1": "queued", "A2": "queued"}
    await merge(world, "A1", "A2")
    waiting = await world.order("A2")
    assert ((await world.orders())["A1"], waiting["state"], waiting["reason"]) == ("queued", "planned", WAITS)


async def test_d24_opt_out_and_blocks_stop_what_the_merger_brings(world: World) -> None:
    orders = await world.queued(*TWO)
    async with world.database.begin() as connection:
        person = (await applications_of(world.database))["A1"]["person_id"]
        silent = update(persons).where(persons.c.id == person)
        await connection.execute(silent.values(opted_out_at=world.clock.now(), opted_out_by="anna"))
    await merge(world, "A1", "A2")
    await world.send(*orders)
    assert set((await world.orders()).values()) == {"withdrawn"}


async def test_d24_blocks_made_in_one_moment_are_not_taken_for_one(world: World) -> None:
    await world.begin(*TWO)
    people = await applications_of(world.database)
    block = {"reason": "asked", "author": "anna", "created_at": world.clock.now()}
    async with world.database.begin() as connection:
        for name, scope in (("A1", "all"), ("A2", "letter")):
            one = {**block, "person_id": people[name]["person_id"], "scope": scope}
            await connection.execute(blocks.insert().values(one))
    await merge(world, "A1", "A2")
    merged = (await applications_of(world.database))["A1"]["person_id"]
    held = select(func.count()).where(blocks.c.person_id == merged, blocks.c.lifted_at.is_(None))
    async with world.database.read() as connection:
        assert (await connection.execute(held)).scalar_one() == 2


async def test_d32_d24_a_block_that_came_along_is_lifted_with_its_order(world: World) -> None:
    await world.begin(*TWO)
    await world.turn()
    order, now = (await world.order("A1"))["id"], world.clock.now()
    await block(world.database, order, scope="job", reason="asked", until=None, now=now, author="anna")
    await merge(world, "A1")
    await unblock(world.database, order, now=now, author="anna")
    await world.turn()
    assert (await world.orders())["A1"] == "planned"
    merged = (await applications_of(world.database))["A1"]["person_id"]
    assert await world.count(blocks, blocks.c.person_id == merged, blocks.c.lifted_at.is_(None)) == 0


async def test_d13_d24_a_failed_letter_is_not_repeated_beside_another(world: World) -> None:
    orders = await world.queued(*TWO)
    for held, ends in zip((await world.claim(*orders)).orders, ("failed", "sent"), strict=True):
        await world.intend(held)
        await world.settle(held, ends, reason="x" if ends == "failed" else None)
    await merge(world, "A1", "A2")
    failed = next(row["id"] for row in await world.rows() if row["state"] == "failed")
    with pytest.raises(Refused, match="no second one"):
        await retry(world.database, failed, now=world.clock.now(), author="anna")


@pytest.mark.parametrize("together", [True, False])
async def test_d24_a_merger_that_did_not_see_the_orders_is_made_up_for_at_the_claim(
    world: World, together: bool
) -> None:
    """Orders that a run makes and releases in one transaction are seen by nobody before its commit."""
    no_guard = SETUP.replace("repeat_guard_days: 30", "repeat_guard_days: 0")
    orders = await world.queued(*TWO, setup=no_guard)
    async with world.database.begin() as connection:
        second = select(applications.c.person_id).where(applications.c.external_id == "A2").scalar_subquery()
        await connection.execute(
            update(applications).where(applications.c.external_id == "A1").values(person_id=second)
        )
    for batch in (orders,) if together else ([one] for one in orders):
        await world.send(*batch)
    assert sorted((await world.orders()).values()) == ["sent", "withdrawn"]


async def test_d24_planned_manual_orders_follow_too(world: World) -> None:
    orders = await world.queued(TWO[0])
    async with world.database.begin() as connection:
        which = update(write_orders).where(write_orders.c.id == orders[0])
        await connection.execute(which.values(type="manual", lineage_id=None, job_id=None, run_id=None))
    await merge(world, "A1")
    assert (await world.order("A1"))["person_id"] == (await applications_of(world.database))["A1"]["person_id"]


def test_d24_the_command_says_who_would_move_and_moves_them(cli: CommandLine) -> None:
    cli.file("a.csv", "external_id,last_name\nB1,Koch\nB2,koch \n")
    assert cli("import", "applications", "a.csv").code == 0
    cli.file("keys.yaml", "settings: {duplicate_keys: [last_name]}\n")
    assert cli("apply", "keys.yaml").code == 0
    assert cli("duplicates", "--dry-run").out == "2 applications would move to another person: B1, B2\n"
    found: dict[str, Any] = json.loads(cli("duplicates", "--dry-run", "--json").out)
    assert found == {"dry_run": True, "checked": 3, "moved": 2, "applications": ["B1", "B2"]}
    assert cli("duplicates").out == "2 applications moved to another person: B1, B2\n"
    assert cli("duplicates").out == "0 of 3 applications moved to another person\n"
    assert "needs 'admin'" in cli.says_one_line("duplicates", KP_USER="a.weber")


async def test_d24_i8_merging_while_letters_go_out_leaves_nobody_two_to_come(world: World) -> None:
    pairs = [(f"A{number}", f"B{number}") for number in range(15)]
    people = [name for pair in pairs for name in pair]
    orders = await world.queued(*(f"{name},,{name},{name}@x.example,Neu," for name in people))

    async def send() -> None:
        for start in range(0, len(orders), 5):
            for held in (await retry_conflicts(partial(world.claim, *orders[start : start + 5]))).orders:
                if await retry_conflicts(partial(world.intend, held)):
                    await retry_conflicts(partial(world.settle, held, "sent"))

    async def join() -> None:
        for number, pair in enumerate(pairs):
            await world.applicants(*(f"{name},S{number},{name},{name}@x.example,Neu," for name in pair))

    await asyncio.gather(send(), join(), pass_now(world))
    for number in range(len(pairs)):
        states = sorted(row["state"] for row in await world.rows() if row["external_id"][1:] == str(number))
        assert states in (["sent", "sent"], ["sent", "withdrawn"], ["queued", "withdrawn"], ["sending", "withdrawn"])
