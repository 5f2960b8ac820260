"""What the record of an application tells: every change of the person's, with its moment and author (D24, D32, D40)."""

from datetime import date, timedelta
from typing import Any

from shared.db import person_commands as people
from shared.db.order_commands import block as block_order
from shared.db.order_commands import unblock as unblock_order
from shared.db.tables import applications, persons
from shared.db.timeline import person_timeline
from tests.services.import_files import Files
from tests.services.setup_files import row
from tests.services.world import JOB, MORNING, SETUP, World

ENDING = SETUP.replace("letter: Brief", "letter: Ende")


async def told(world: World, application: str = "A1", *kinds: str) -> list[dict[str, Any]]:
    """The timeline of the application's person, newest first; only these kinds, if any are given."""
    person = (await row(world.database, applications, external_id=application))["person_id"]
    async with world.database.read() as connection:
        found = await person_timeline(connection, person)
    return [one for one in found if not kinds or one["kind"] in kinds]


async def test_d40_a_status_that_a_letter_set_and_one_that_an_import_brought_are_told(world: World) -> None:
    (order,) = await world.queued(setup=ENDING)
    await world.send(order)
    world.clock.set(MORNING + timedelta(days=1))
    await world.applicants("A1,,Eins,a1@x.example,Pool,")
    # Nothing changes: nothing is told.
    await world.applicants("A1,,Eins,a1@x.example,Pool,")
    imported, by_letter = await told(world, "A1", "status")
    assert (by_letter["old"], by_letter["new"], by_letter["author"]) == ("Neu", "Absage", "mailer")
    assert (imported["old"], imported["new"], imported["application"]) == ("Absage", "Pool", "A1")
    assert {one["kind"] for one in await told(world)} == {"status", "letter", "contact"}


async def test_a_column_that_a_file_does_not_have_changes_no_status(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await Files(world.database, world.folder).applications("external_id,last_name\nA1,Anders\n")
    assert await told(world) == []
    await Files(world.database, world.folder).applications("external_id,status\nA1,\n")
    assert [(one["old"], one["new"]) for one in await told(world)] == [("Neu", None)]


async def test_d40_a_status_that_was_not_set_is_told_too(world: World) -> None:
    (order,) = await world.queued(setup=ENDING)
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.applicants("A1,,Eins,a1@x.example,Pool,")
    await world.settle(held, "sent")
    (one,) = await told(world, "A1", "status_not_set")
    assert (one["author"], one["reason"]) == ("mailer", "status not set: changed since")


async def test_d42_what_a_reduction_erases_is_not_told_but_that_it_was_one(world: World) -> None:
    setup = ENDING.replace("sync_minutes: 5", "sync_minutes: 5, reduce_core_data: at_once")
    (order,) = await world.queued(setup=setup)
    await world.send(order)
    kinds = {one["kind"]: one for one in await told(world)}
    assert kinds["reduce"]["application"] == "A1"
    assert (kinds["status"]["old"], kinds["status"]["new"]) == (None, None)


async def test_d32_blocks_and_lifted_ones_are_told_with_reach_and_author(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.turn()
    order = (await world.order("A1"))["id"]
    who = {"author": "anna", "now": world.clock.now()}
    until = date(2026, 12, 24)
    await people.block(world.database, "A1", job=None, until=until, reason="Ruhe", **who)
    world.clock.set(MORNING + timedelta(minutes=1))
    later = {"author": "berta", "now": world.clock.now()}
    await people.unblock(world.database, "A1", job=None, **later)
    lift, block = await told(world, "A1", "block", "lift")
    assert (block["scope"], block["until"], block["reason"], block["author"]) == ("all", until, "Ruhe", "anna")
    assert (lift["scope"], lift["until"], lift["author"], lift["at"]) == ("all", until, "berta", world.clock.now())
    # One made with a letter in the workcenter is the same fact.
    world.clock.set(MORNING + timedelta(minutes=2))
    again = {"author": "anna", "now": world.clock.now()}
    await block_order(world.database, order, scope="job", reason="Anruf", until=None, **again)
    await unblock_order(world.database, order, **again)
    assert [(one["kind"], one["jobs"]) for one in (await told(world, "A1", "block", "lift"))[:2]] == [
        ("lift", [JOB]),
        ("block", [JOB]),
    ]


async def test_d24_an_opt_out_is_told_of_the_person_that_it_was_carried_over_to(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,S1,Zwei,a2@x.example,Neu,")
    who = {"author": "anna", "now": world.clock.now()}
    await people.opt_out(world.database, "A1", reason="Anruf", **who)
    await people.opt_in(world.database, "A1", **who)
    await people.opt_out(world.database, "A1", reason="Brief", **who)
    kinds = [(one["kind"], one["reason"]) for one in await told(world)]
    assert sorted(kinds) == [("opt_in", None), ("opt_out", "Anruf"), ("opt_out", "Brief")]
    await world.applicants("A1,S1,Eins,a1@x.example,Neu,")
    assert (await row(world.database, persons, duplicate_set="S1"))["opted_out_by"] == "anna"
    (one,) = await told(world, "A2")
    assert (one["kind"], one["author"], one["at"]) == ("opt_out", "anna", world.clock.now())
