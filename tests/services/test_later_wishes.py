"""What the candidates' page took is noted by others, who may read addresses: soon, and before that changes (S29)."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from services.scheduler import service
from services.scheduler.service import run_scheduler
from shared.db import person_commands as people
from shared.db.core_data import reduce_to_core_data
from shared.db.engine import Database
from shared.db.kept_wishes import keep_wishes
from shared.db.person_commands import Less, OfOrder, Whose
from shared.db.suppressions import settle_waiting_wishes
from shared.db.system_settings import load_system_settings, save_system_settings
from shared.db.tables import applications, persons, suppressions, wishes_to_note
from shared.importing import application_writer, batches, import_applications
from shared.settings import load_settings
from tests.services.import_files import lines
from tests.services.share_roles import by_its_role
from tests.services.test_suppressions import erase, every_wish, holds
from tests.services.world import COLUMNS, World

ONE, OTHER = "A1,,Eins,Ä1@x.example,Neu,", "B1,,Zwei,b1@x.example,Neu,"
_LESS = {"no_birthday_since": Less.NO_BIRTHDAY, "yearly_since": Less.YEARLY}


async def wish(world: World, name: str, whose: Whose) -> None:
    """By a link: as the role that the page has."""
    now: Any = {"now": world.clock.now()}
    async with by_its_role(world.database, "public" if isinstance(whose, OfOrder) else "service") as database:
        if name == "opted_out_at":
            await people.opt_out(database, whose, reason=None, author="candidate", **now)
        elif name == "paused_until":
            await people.pause(database, whose, **now)
        else:
            await people.want_less(database, whose, _LESS[name], author="candidate", **now)


async def take_back(world: World, name: str, whose: Whose) -> None:
    now: Any = {"now": world.clock.now()}
    async with by_its_role(world.database, "public" if isinstance(whose, OfOrder) else "service") as database:
        if name == "opted_out_at":
            await people.opt_in(database, whose, author="candidate", **now)
        elif name == "paused_until":
            await people.end_pause(database, whose, **now)
        else:
            await people.want_as_usual(database, whose, _LESS[name], author="candidate", **now)


async def letter(world: World) -> OfOrder:
    """A letter to the first of two."""
    await world.queued(ONE, OTHER)
    return OfOrder(next(row["id"] for row in await world.rows() if row["external_id"] == "A1"))


async def left(world: World) -> tuple[int, int]:
    """What waits, and what is noted."""
    return await world.count(wishes_to_note), await world.count(suppressions)


@every_wish
async def test_s29_a_wish_waits_until_it_is_noted_and_outlives_its_record(world: World, name: str) -> None:
    order = await letter(world)
    await wish(world, name, order)
    await wish(world, name, order)  # again it changes nothing
    assert await left(world) == (1, 0)
    for _ in range(2):
        await settle_waiting_wishes(world.database)
        assert await left(world) == (0, 2)
    await erase(world, "A1")
    await world.applicants("A9,,Neun,ä1@x.example,Neu,", OTHER)
    assert await holds(world, "A9") == {name} and await holds(world, "B1") == set()


@every_wish
@pytest.mark.parametrize("noted", [True, False], ids=["noted before", "still waiting"])
async def test_s29_what_is_taken_back_is_noted_no_more(world: World, name: str, noted: bool) -> None:
    order = await letter(world)
    await wish(world, name, order)
    if noted:
        await settle_waiting_wishes(world.database)
    await take_back(world, name, order)
    await settle_waiting_wishes(world.database)
    assert await left(world) == (0, 0)
    await erase(world, "A1")
    await world.applicants(ONE)
    assert await holds(world, "A1") == set()


@every_wish
async def test_s29_the_last_word_counts_whoever_said_it(world: World, name: str) -> None:
    order = await letter(world)
    await wish(world, name, order)
    await settle_waiting_wishes(world.database)
    await take_back(world, name, order)
    if name == "paused_until":  # only candidates pause
        await wish(world, name, order)
    else:
        await wish(world, name, "A1")
    await settle_waiting_wishes(world.database)
    assert await left(world) == (0, 2)


@every_wish
async def test_s29_an_import_of_the_same_address_knows_of_what_waits(world: World, name: str) -> None:
    order = await letter(world)
    await wish(world, name, order)
    await world.applicants("A9,,Neun,ä1@x.example,Neu,")
    assert await holds(world, "A9") == {name} and (await left(world))[0] == 0


@pytest.mark.parametrize("strict", [False, True])
@every_wish
async def test_s29_what_is_said_while_an_import_is_under_way_holds_for_its_rows_too(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, strict: bool
) -> None:
    order = await letter(world)

    async def then_somebody_says(database: Database) -> None:
        await settle_waiting_wishes(database)
        await wish(world, name, order)

    monkeypatch.setattr(batches, "settle_waiting_wishes", then_somebody_says)
    path = world.folder / "later.csv"
    path.write_text(lines(COLUMNS, "A9,,Neun,ä1@x.example,Neu,", OTHER), encoding="utf-8")
    await import_applications(world.database, path, author="anna", now=world.clock.now(), strict=strict)
    assert await holds(world, "A9") == {name} and await holds(world, "B1") == set()


@every_wish
async def test_s29_what_is_said_during_an_imports_transaction_holds_for_its_rows_too(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    order = await letter(world)
    if world.database.dialect == "sqlite":
        return  # one writes at a time
    said = []

    async def then_somebody_says(*given: Any) -> None:
        await keep_wishes(*given)
        if not said:
            said.append(name)
            await wish(world, name, order)
            await settle_waiting_wishes(world.database)

    monkeypatch.setattr(application_writer, "keep_wishes", then_somebody_says)
    await world.applicants("A9,,Neun,ä1@x.example,Neu,", OTHER)
    assert said and await holds(world, "A9") == {name} and await holds(world, "B1") == set()


@every_wish
async def test_s29_another_address_comes_after_what_waits_about_the_old_one(world: World, name: str) -> None:
    order = await letter(world)
    await wish(world, name, order)
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    await erase(world, "A1")
    await world.applicants("C1,,Drei,ä1@x.example,Neu,", "C2,,Vier,neu@x.example,Neu,")
    assert await holds(world, "C1") == await holds(world, "C2") == {name}


@every_wish
async def test_s29_another_address_does_not_keep_what_was_taken_back(world: World, name: str) -> None:
    order = await letter(world)
    await wish(world, name, order)
    await settle_waiting_wishes(world.database)
    await take_back(world, name, order)
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    await world.applicants("C1,,Drei,ä1@x.example,Neu,", "C2,,Vier,neu@x.example,Neu,")
    assert await holds(world, "C1") == await holds(world, "C2") == await holds(world, "A1") == set()


@every_wish
async def test_s29_a_reduction_comes_after_what_waits(world: World, name: str) -> None:
    order = await letter(world)
    await wish(world, name, order)
    async with world.database.begin() as connection:
        await save_system_settings(connection, {"core_data_keeps": []})
        settings = await load_system_settings(connection)
        ids = list((await connection.execute(select(applications.c.id))).scalars())
        await reduce_to_core_data(connection, ids, settings, world.clock.now())
    assert await left(world) == (0, 2)
    await world.applicants("A9,,Neun,ä1@x.example,Neu,")
    assert await holds(world, "A9") == {name}


async def test_s17_nothing_waits_that_cannot_be_noted(world: World) -> None:
    """One such row of whoever took the page over would stop everybody's wishes, and all imports."""
    await letter(world)
    async with by_its_role(world.database, "public") as database:
        with pytest.raises(IntegrityError, match="taken_back"):
            async with database.begin() as connection:
                someone = select(persons.c.id).limit(1).scalar_subquery()
                await connection.execute(insert(wishes_to_note).values(person_id=someone, taken_back="identity"))


async def test_s29_a_scheduler_notes_what_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "WISH_SECONDS", 0.05)
    await wish(world, "opted_out_at", await letter(world))
    stop = asyncio.Event()
    bus: Any = world.bus
    task = asyncio.create_task(run_scheduler(world.database, bus, world.clock, load_settings({}), world.log, stop))
    try:
        for _ in range(400):
            await asyncio.sleep(0.05)
            if await left(world) == (0, 2):
                break
        assert await left(world) == (0, 2)
    finally:
        stop.set()
        await task
