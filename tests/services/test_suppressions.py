"""Wishes outlive the record of whoever had them: re-import, another address, reduction, deletion (S29)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from shared.db import person_commands as people
from shared.db.core_data import reduce_to_core_data
from shared.db.kept_wishes import KEPT
from shared.db.person_commands import Less
from shared.db.person_file import show_person
from shared.db.suppressions import note_earlier_wishes, settle_waiting_wishes
from shared.db.system_settings import as_plain, load_system_settings
from shared.db.tables import applications, blocks, contact_entries, events, persons, suppressions, write_orders
from shared.importing import import_applications
from tests.services.import_files import lines
from tests.services.setup_files import rows
from tests.services.world import COLUMNS, World

ONE, OTHER = "A1,,Eins,Ä1@x.example,Neu,", "B1,,Zwei,b1@x.example,Neu,"


async def wish(world: World, name: str, whose: str = "A1") -> None:
    """By the candidate; a scheduler has noted it."""
    now: Any = {"now": world.clock.now()}
    if name == "opted_out_at":
        await people.opt_out(world.database, whose, reason=None, author="candidate", **now)
    elif name == "paused_until":
        await people.pause(world.database, whose, **now)
    else:
        await people.want_less(world.database, whose, _LESS[name], author="candidate", **now)
    await settle_waiting_wishes(world.database)


async def take_back(world: World, name: str, whose: str = "A1") -> None:
    now: Any = {"now": world.clock.now()}
    if name == "opted_out_at":
        await people.opt_in(world.database, whose, author="candidate", **now)
    elif name == "paused_until":
        await people.end_pause(world.database, whose, **now)
    else:
        await people.want_as_usual(world.database, whose, _LESS[name], author="candidate", **now)
    await settle_waiting_wishes(world.database)


_LESS = {"no_birthday_since": Less.NO_BIRTHDAY, "yearly_since": Less.YEARLY}
WISHES = ("opted_out_at", "paused_until", *_LESS)
every_wish = pytest.mark.parametrize("name", WISHES)


async def holds(world: World, application: str) -> set[str]:
    """What the person of an application does not want."""
    async with world.database.read() as connection:
        found = await show_person(connection, application)
    return {name for name in WISHES if found[name]}


async def erase(world: World, *external_ids: str) -> None:
    """Everything about them is deleted, as an administrator would in the database; the history stays."""
    async with world.database.begin() as connection:
        mine = select(applications.c.id).where(applications.c.external_id.in_(external_ids))
        people_of = select(applications.c.person_id).where(applications.c.external_id.in_(external_ids))
        ids = list((await connection.execute(people_of)).scalars())
        await connection.execute(delete(write_orders).where(write_orders.c.application_id.in_(mine)))
        await connection.execute(delete(contact_entries).where(contact_entries.c.application_id.in_(mine)))
        await connection.execute(delete(applications).where(applications.c.external_id.in_(external_ids)))
        await connection.execute(delete(blocks).where(blocks.c.person_id.in_(ids)))
        await connection.execute(delete(persons).where(persons.c.id.in_(ids)))


@every_wish
@pytest.mark.parametrize(
    "again",
    ["A1,,Eins,anders@x.example,Neu,", "A9,S9,Neun,ä1@X.EXAMPLE,Neu,"],
    ids=["the same number", "the same address"],
)
async def test_s29_a_wish_survives_erasure_and_re_import(world: World, name: str, again: str) -> None:
    await world.begin(ONE, OTHER)
    await wish(world, name)
    await erase(world, "A1")
    await world.applicants(again, OTHER)
    application = again.partition(",")[0]
    assert await holds(world, application) == {name} and await holds(world, "B1") == set()
    if name != "paused_until":
        assert len(await rows(world.database, events, noun="person", reason=KEPT)) == 1


@every_wish
async def test_s29_what_was_taken_back_does_not_come_again(world: World, name: str) -> None:
    await world.begin(ONE)
    await wish(world, name)
    await take_back(world, name)
    assert await world.count(suppressions) == 0
    await erase(world, "A1")
    await world.applicants(ONE)
    assert await holds(world, "A1") == set()


@every_wish
async def test_s29_taking_back_after_a_re_import_is_final_too(world: World, name: str) -> None:
    await world.begin(ONE)
    await wish(world, name)
    await erase(world, "A1")
    await world.applicants("A9,,Neun,ä1@x.example,Neu,")
    await take_back(world, name, "A9")
    await world.applicants("A9,,Neun,neu@x.example,Neu,")
    await world.applicants("A9,,Neun,ä1@x.example,Neu,")
    assert await holds(world, "A9") == set()


@every_wish
async def test_s29_an_address_that_comes_later_carries_the_wish_too(world: World, name: str) -> None:
    await world.begin(ONE)
    await wish(world, name)
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    await erase(world, "A1")
    await world.applicants("C1,,Drei,neu@x.example,Neu,")
    assert await holds(world, "C1") == {name}


async def test_s29_a_known_person_who_gets_a_suppressed_address_is_not_written_to(world: World) -> None:
    await world.begin(ONE, OTHER)
    await wish(world, "opted_out_at")
    ids = await world.queued(OTHER)
    await world.applicants("B1,,Zwei,ä1@x.example,Neu,")
    assert await holds(world, "B1") == {"opted_out_at"}
    claim = await world.claim(*ids)
    assert claim.orders == [] and (await world.order("B1"))["reason"] == "opted out"


async def test_s29_a_pause_that_is_over_does_not_come_again(world: World) -> None:
    await world.begin(ONE)
    await wish(world, "paused_until")
    await erase(world, "A1")
    world.clock.advance(timedelta(days=200))
    await _import_now(world, ONE)
    assert await holds(world, "A1") == set()


async def _import_now(world: World, row: str) -> None:
    path = world.folder / "now.csv"
    path.write_text(lines(COLUMNS, row), encoding="utf-8")
    report = await import_applications(world.database, path, author="anna", now=world.clock.now())
    assert report.inserted == 1


async def test_s29_reduction_to_core_data_leaves_the_wish(world: World) -> None:
    await world.begin(ONE)
    await wish(world, "opted_out_at")
    async with world.database.begin() as connection:
        settings = await load_system_settings(connection)
        ids = list((await connection.execute(select(applications.c.id))).scalars())
        await reduce_to_core_data(connection, ids, settings, world.clock.now())
    await world.applicants("A9,,Neun,ä1@x.example,Neu,")
    assert await holds(world, "A9") == {"opted_out_at"}


async def test_s29_the_notes_hold_no_personal_data_and_their_secret_is_in_no_setup(world: World) -> None:
    await world.begin(ONE)
    for name in WISHES:
        await wish(world, name)
    noted = await rows(world.database, suppressions)
    assert len(noted) == 2 and all(row[name] for row in noted for name in WISHES)
    assert all(len(row["key_hash"]) == 64 for row in noted) and "x.example" not in str(noted)
    async with world.database.read() as connection:
        assert "suppression_key" not in as_plain(await load_system_settings(connection))
        secret = (
            await connection.execute(text("SELECT value FROM system_settings WHERE name = 'suppression_key'"))
        ).all()
    assert len(secret) == 1


async def test_s29_opt_outs_from_before_there_were_notes_are_noted_by_migrate(world: World) -> None:
    await world.begin(ONE)
    async with world.database.begin() as connection:
        await connection.execute(update(persons).values(opted_out_at=world.clock.now(), opted_out_by="anna"))
        await note_earlier_wishes(connection)
        await note_earlier_wishes(connection)
    await erase(world, "A1")
    await world.applicants(ONE)
    assert await holds(world, "A1") == {"opted_out_at"}
