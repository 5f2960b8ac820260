"""Under what wishes are noted, and whose notes they are: addresses that are gone, shared, or read by a link (S29)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, insert, select, text, update

from services.scheduler.chores import CHORES
from shared.db import person_commands as people
from shared.db.core_data import reduce_to_core_data
from shared.db.engine import Database
from shared.db.kept_wishes import keep_wishes
from shared.db.migrate import _config, migrate
from shared.db.order_commands import unblock
from shared.db.person_commands import OfOrder
from shared.db.returned_addresses import give_up_address
from shared.db.suppression_keys import load_keys
from shared.db.suppressions import BATCH, note_missing_wishes, note_wishes
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, persons, suppressions
from tests.services.setup_files import rows
from tests.services.test_suppressions import ONE, OTHER, erase, every_wish, holds, take_back, wish
from tests.services.test_wishes import JOBS
from tests.services.world import MORNING, World

#: Another person, imported later with the address of A1.
LATER = "L1,,Elf,ä1@x.example,Neu,"
OPTED_OUT = {"opted_out_at"}


async def opt_out_unnoted(world: World, *external_ids: str) -> None:
    """As from before there were notes."""
    theirs = select(applications.c.person_id).where(applications.c.external_id.in_(external_ids))
    values = {"opted_out_at": world.clock.now(), "opted_out_by": "anna"}
    async with world.database.begin() as connection:
        await connection.execute(update(persons).where(persons.c.id.in_(theirs)).values(values))


async def reduce(world: World, external_id: str = "A1") -> None:
    async with world.database.begin() as connection:
        settings = replace(await load_system_settings(connection), core_data_keeps=())
        found = select(applications.c.id).where(applications.c.external_id == external_id)
        ids = list((await connection.execute(found)).scalars())
        await reduce_to_core_data(connection, ids, settings, world.clock.now())


async def give_up(world: World, address: str) -> None:
    async with world.database.begin() as connection:
        person = (await connection.execute(select(persons.c.id).limit(1))).scalar_one()
        given: Any = {"now": world.clock.now(), "author": "mailbox"}
        assert await give_up_address(connection, person, address, "gone", **given)


async def chore(world: World) -> int:
    noted = 0
    async for so_far in CHORES["wishes"](world.database, now=world.clock.now(), author="scheduler"):
        noted = so_far
    return noted


async def test_s29_an_address_that_letters_come_back_from_is_noted_too(world: World) -> None:
    await world.begin(ONE)
    await give_up(world, "Ä1@x.example")
    await wish(world, "opted_out_at")
    await erase(world, "A1")
    await world.applicants(LATER)
    assert await holds(world, "L1") == OPTED_OUT


async def test_s29_a_returned_address_that_an_import_replaces_stays_noted(world: World) -> None:
    await world.begin(ONE)
    await give_up(world, "Ä1@x.example")
    await opt_out_unnoted(world, "A1")
    await world.applicants("A1,,Eins,neu@x.example,Neu,", LATER)
    assert await holds(world, "L1") == OPTED_OUT


async def test_s29_reduction_notes_before_it_erases(world: World) -> None:
    await world.begin(ONE)
    await opt_out_unnoted(world, "A1")
    await reduce(world)
    await world.applicants(LATER)
    assert await holds(world, "L1") == OPTED_OUT


async def test_s29_an_address_that_an_import_replaces_stays_noted(world: World) -> None:
    await world.begin(ONE)
    await opt_out_unnoted(world, "A1")
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    await world.applicants(LATER)
    assert await holds(world, "L1") == OPTED_OUT


@every_wish
async def test_s29_a_later_wish_is_noted_under_an_earlier_address_as_well(world: World, name: str) -> None:
    first = "yearly_since" if name != "yearly_since" else "opted_out_at"
    await world.begin(ONE)
    await wish(world, first)
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    await wish(world, name)
    await world.applicants(LATER)
    assert await holds(world, "L1") == {first, name}


async def test_s29_a_wish_said_with_an_old_link_after_the_reduction_holds_for_the_letters_address(world: World) -> None:
    orders = await world.queued(ONE, OTHER)
    await world.send(*orders)
    order = (await world.order("A1"))["id"]
    await reduce(world)
    kept = (await world.order("A1"))["email"]
    assert kept.startswith("hmac:") and "x.example" not in kept
    # Settled once more, it is the same.
    await reduce(world)
    assert (await world.order("A1"))["email"] == kept
    await world.applicants(LATER)
    assert await holds(world, "L1") == set()
    await erase(world, "L1")
    now: Any = {"now": world.clock.now()}
    await people.opt_out(world.database, OfOrder(order), reason=None, author="candidate", **now)
    await world.applicants(LATER)
    assert await holds(world, "L1") == OPTED_OUT and await holds(world, "B1") == set()
    await erase(world, "L1")
    await people.opt_in(world.database, OfOrder(order), author="candidate", **now)
    await world.applicants(LATER.replace("L1", "L2"))
    assert await holds(world, "L2") == set()


async def test_s29_a_wish_holds_for_the_address_that_its_letter_went_to(world: World) -> None:
    await world.send(*await world.queued(ONE))
    order = (await world.order("A1"))["id"]
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    await people.opt_out(world.database, OfOrder(order), reason=None, author="candidate", now=world.clock.now())
    await world.applicants(LATER)
    assert await holds(world, "L1") == OPTED_OUT


@every_wish
async def test_s29_one_who_shares_an_address_takes_back_the_own_wish_only(world: World, name: str) -> None:
    await world.begin(ONE, "B1,,Zwei,ä1@x.example,Neu,")
    await wish(world, name)
    await wish(world, name, "B1")
    world.clock.advance(timedelta(hours=1))
    await take_back(world, name, "B1")
    assert await holds(world, "A1") == {name} and await holds(world, "B1") == set()
    await world.applicants(LATER)
    assert await holds(world, "L1") == {name}


@pytest.mark.parametrize("name", ["opted_out_at", "no_birthday_since", "yearly_since"])
async def test_s29_who_took_a_wish_back_keeps_that_with_another_application(world: World, name: str) -> None:
    await world.begin(ONE, "B1,S2,Zwei,ä1@x.example,Neu,")
    await wish(world, name)
    await wish(world, name, "B1")
    world.clock.advance(timedelta(hours=1))
    await take_back(world, name, "B1")
    await world.applicants("B2,S2,Zwei,ä1@x.example,Neu,")
    assert await holds(world, "B1") == set()
    # What the other one says later holds for whoever comes with the address, as always.
    await take_back(world, name)
    world.clock.advance(timedelta(hours=1))
    await wish(world, name)
    await world.applicants("B3,S2,Zwei,ä1@x.example,Neu,")
    assert await holds(world, "B1") == {name}


async def test_s29_who_took_a_pause_back_keeps_that_with_another_application(world: World) -> None:
    await world.begin(ONE, "B1,S2,Zwei,ä1@x.example,Neu,")
    await wish(world, "paused_until")
    await wish(world, "paused_until", "B1")
    await take_back(world, "paused_until", "B1")
    await world.applicants("B2,S2,Zwei,ä1@x.example,Neu,")
    assert await holds(world, "B1") == set()
    # What the other one says on a later day holds for whoever comes with the address, as always.
    await take_back(world, "paused_until")
    world.clock.advance(timedelta(days=1))
    await wish(world, "paused_until")
    await world.applicants("B3,S2,Zwei,ä1@x.example,Neu,")
    assert await holds(world, "B1") == {"paused_until"}


@pytest.mark.parametrize("others", [(), ("A2,,Zwei,a2@x.example,Neu,",)], ids=["one pause", "another after a merger"])
async def test_d32_s29_a_pause_lifted_by_its_order_is_noted_no_more(world: World, others: tuple[str, ...]) -> None:
    await world.begin(ONE, *others)
    await world.run()
    await wish(world, "paused_until")
    if others:
        world.clock.advance(timedelta(days=1))
        await wish(world, "paused_until", "A2")
        await world.applicants("A1,S1,Eins,Ä1@x.example,Neu,", "A2,S1,Zwei,a2@x.example,Neu,")
    assert await holds(world, "A1") == {"paused_until"}
    order = (await world.order("A1"))["id"]
    await unblock(world.database, order, now=world.clock.now(), author="anna")
    await erase(world, "A1", "A2")
    await world.applicants(LATER)
    assert await holds(world, "L1") == ({"paused_until"} if others else set())


@every_wish
async def test_s29_taking_back_reaches_an_address_that_was_changed_since(world: World, name: str) -> None:
    await world.begin(ONE)
    await wish(world, name)
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    await take_back(world, name)
    assert await world.count(suppressions) == 0
    await world.applicants(LATER)
    assert await holds(world, "L1") == set()


@every_wish
async def test_s29_taking_back_reaches_what_was_noted_before_a_merger(world: World, name: str) -> None:
    await world.begin(ONE)
    await wish(world, name)
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    await world.applicants("A1,S1,Eins,neu@x.example,Neu,")
    assert await holds(world, "A1") == {name}
    await take_back(world, name)
    await world.applicants(LATER)
    assert await holds(world, "L1") == set() and await holds(world, "A1") == set()


async def test_s29_what_slipped_through_is_noted_in_the_night(world: World) -> None:
    await world.begin(ONE, OTHER)
    await wish(world, "paused_until", "B1")
    await opt_out_unnoted(world, "A1")
    assert await chore(world) == 1 and await chore(world) == 0
    await erase(world, "A1")
    await world.applicants(LATER)
    assert await holds(world, "L1") == OPTED_OUT


async def test_s29_the_night_notes_everybody_in_batches_and_then_only_looks(world: World) -> None:
    await world.begin()
    people_of = [{"identity": f"one:{number}", "opted_out_at": MORNING} for number in range(BATCH + 3)]
    async with world.database.begin() as connection:
        await connection.execute(insert(persons), people_of)
    done = [so_far async for so_far in note_missing_wishes(world.database, now=MORNING, author="scheduler")]
    assert done == [BATCH, BATCH + 3]
    before = await rows(world.database, suppressions)
    assert await chore(world) == 0 and await rows(world.database, suppressions) == before
    async with world.database.begin() as connection:
        await note_wishes(connection, [])


async def test_s29_notes_of_an_earlier_release_hold_and_can_be_taken_back(no_schema: Database) -> None:
    def to_0012(connection: Connection) -> None:
        command.upgrade(_config(connection), "0012")

    now = "0" if no_schema.dialect == "sqlite" else "now()"
    async with no_schema.begin() as connection:
        await connection.run_sync(to_0012)
        key = (await load_keys(connection)).of_address("a1@x.example")
        for statement in (
            "INSERT INTO persons (id, identity) VALUES (1, 'one:A1')",
            "INSERT INTO applications (id, external_id, person_id, kind, email, usable_email)"
            " VALUES (1, 'A1', 1, 'application', 'a1@x.example', 'a1@x.example')",
            f"INSERT INTO suppressions (key_hash, opted_out_at) VALUES ('{key}', {now})",
        ):
            await connection.execute(text(statement))
    await migrate(no_schema)
    async with no_schema.begin() as connection:
        await keep_wishes(connection, applications.c.external_id == "A1", MORNING, "anna")
        assert (await connection.execute(select(persons.c.opted_out_at))).scalar_one() is not None
    await people.opt_in(no_schema, "A1", author="anna", now=MORNING)
    assert await rows(no_schema, suppressions) == []


@every_wish
async def test_d33_a_wish_that_an_import_finds_stops_letters_that_are_claimed(world: World, name: str) -> None:
    """A person with a claimed letter gets an application with an address under which a wish is noted."""
    born = "1990-11-23"
    await world.begin(ONE, f"B1,S2,Zwei,b1@x.example,Neu,{born}", setup=JOBS)
    await wish(world, name)
    world.clock.set(MORNING + timedelta(hours=1))
    ids = [row["id"] for row in await _rows_of(world, "B1", await world.turn())]
    first, *held = (await world.claim(*ids)).orders
    if name == "yearly_since":
        assert await world.intend(first) == {first.id}
        assert len(held) == 2
    else:
        held = [first, *held]
    await world.applicants(f"B2,S2,Zwei,ä1@x.example,Neu,{born}")
    assert await holds(world, "B1") == {name}
    birthdays = {row["id"] for row in await world.rows() if row["job_name"] == "Glückwunsch"}
    unwanted = {one.id for one in held if name != "no_birthday_since" or one.id in birthdays}
    assert unwanted and await world.intend(*held) == {one.id for one in held} - unwanted
    states = {row["id"]: row["state"] for row in await world.rows()}
    assert {states[one] for one in unwanted} == {"blocked" if name == "paused_until" else "withdrawn"}


async def _rows_of(world: World, application: str, ids: list[int]) -> list[dict[str, Any]]:
    return [row for row in await world.rows() if row["external_id"] == application and row["id"] in ids]


async def test_s29_what_is_kept_of_an_address_is_the_same_however_it_was_spelled(world: World) -> None:
    async with world.database.begin() as connection:
        keys = await load_keys(connection)
    spelled = ["max@büro.example", "MAX@BÜRO.example", "max@xn--bro-hoa.example"]
    assert len({keys.kept_address(one) for one in spelled}) == 1
    (kept,) = {keys.kept_address(one) for one in spelled}
    assert {keys.of_letter(one) for one in (*spelled, kept)} == {keys.of_address("max@büro.example")}
    assert keys.of_letter("sha256:00") is None and keys.of_letter("nobody") is None
