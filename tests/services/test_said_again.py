"""What candidates said since a backup is said again to the database that was restored from it (C56, S29)."""

import asyncio
import stat
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete, update

from services.public.app import build_public
from services.public.said import SaidJournal, open_journal
from services.public.said_file import Said, SaidFile
from services.scheduler.service import run_scheduler
from shared.db.candidate_tables import said_journals
from shared.db.holds import load_hold, release_hold
from shared.db.person_commands import opt_in
from shared.db.system_settings import load_system_settings
from shared.db.tables import (
    applications,
    blocks,
    candidate_requests,
    consent_requests,
    events,
    persons,
    suppressions,
    write_orders,
)
from shared.handed_over import hold_if_older, mark_path
from tests.services.consent_world import asked, question
from tests.services.running import settings_for
from tests.services.setup_files import rows
from tests.services.share_roles import by_its_role
from tests.services.test_consent_page import link as consent_link
from tests.services.test_public_page import PEOPLE, link, settings
from tests.services.test_suppressions import holds
from tests.services.world import World

OPTED_OUT = {"opted_out_at"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def journal_of(world: World, folder: Path) -> SaidJournal:
    """As when the service starts."""
    found = await open_journal(world.database, world.clock, settings(KP_STATE_DIR=str(folder)), world.log)
    assert found
    return found


async def post(world: World, journal: SaidJournal | None, at: str, **data: str) -> int:
    world.clock.advance(timedelta(minutes=1))
    page = build_public(world.database, world.clock, settings(), journal)
    transport = httpx.ASGITransport(page, client=("192.0.2.1", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="https://firma.example/pflege") as one:
        return (await one.post(at, data=data)).status_code


async def restore(world: World) -> None:
    """The database of before anybody said anything."""
    async with world.database.begin() as connection:
        wishes = ("opted_out_at", "opted_out_by", "no_birthday_since", "yearly_since")
        await connection.execute(update(persons).values(dict.fromkeys(wishes)))
        for table in (blocks, candidate_requests, suppressions, said_journals):
            await connection.execute(delete(table))
        values = dict.fromkeys(("answer", "answered_at", "outcome"))
        await connection.execute(update(consent_requests).values(values))


def only_file(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def only_file_id(folder: Path) -> str:
    return only_file(folder).stem.removeprefix("said-")


def put_in_the_way(folder: Path, *, away: bool = False) -> None:
    """A file where the state directory is to be, or not any more."""
    if away:
        folder.unlink()
    else:
        folder.write_text("in the way")


def write_mark(path: Path) -> None:
    """As a mailer that has handed over a letter."""
    path.parent.mkdir()
    path.write_text('{"token": 4711, "at": 1.0}')


async def hold_of(world: World) -> object:
    async with world.database.read() as connection:
        return await load_hold(connection)


async def test_s29_what_was_said_since_the_backup_is_said_again_when_the_service_starts(
    world: World, folder: Path
) -> None:
    await world.send(*await world.queued(*PEOPLE))
    journal, first, second = await journal_of(world, folder), await link(world), await link(world, "B1")
    for at, wish in (
        (first, "yearly"),
        (first, "pause"),
        (second, "delete"),
        (second, "no_birthday"),
        (second, "birthday"),
    ):
        assert await post(world, journal, at, wish=wish) == 200
    said = await rows(world.database, persons)
    pauses = [row["until"] for row in await rows(world.database, blocks)]
    await restore(world)
    world.clock.advance(timedelta(days=3))
    await journal_of(world, folder)
    assert await holds(world, "A1") == {"yearly_since", "paused_until"} and await holds(world, "B1") == OPTED_OUT
    # As they were said then.
    again = await rows(world.database, persons)
    for name in ("opted_out_at", "opted_out_by", "yearly_since", "no_birthday_since"):
        assert [row[name] for row in again] == [row[name] for row in said]
    assert [row["until"] for row in await rows(world.database, blocks)] == pauses
    assert [row["kind"] for row in await rows(world.database, candidate_requests)] == ["deletion"]
    assert await hold_of(world)
    before = await rows(world.database, events)
    await journal_of(world, folder)
    assert await rows(world.database, events) == before


async def test_s29_a_running_service_notices_and_holds_and_a_release_is_not_undone(world: World, folder: Path) -> None:
    await world.send(*await world.queued(*PEOPLE))
    journal, at = await journal_of(world, folder), await link(world)
    assert await post(world, journal, at, wish="opt_out") == 200
    assert await journal.look() is None and not await hold_of(world)
    await restore(world)
    given = await journal.look()
    assert given and len(given.changed) == 1 and await holds(world, "A1") == OPTED_OUT and await hold_of(world)
    await release_hold(world.database, author="anna", now=world.clock.now())
    # Another machine with the same state finds it missing later: a person has looked since.
    async with world.database.begin() as connection:
        await connection.execute(delete(said_journals))
        await connection.execute(update(persons).values(opted_out_at=None, opted_out_by=None))
    await journal_of(world, folder)
    assert await holds(world, "A1") == OPTED_OUT and not await hold_of(world)


async def test_s29_the_next_wish_finds_that_earlier_ones_are_gone(world: World, folder: Path) -> None:
    await world.send(*await world.queued(*PEOPLE))
    journal = await journal_of(world, folder)
    assert await post(world, journal, await link(world), wish="opt_out") == 200
    await restore(world)
    assert await post(world, journal, await link(world, "B1"), wish="yearly") == 200
    assert await holds(world, "A1") == OPTED_OUT and await holds(world, "B1") == {"yearly_since"}


async def test_c56_a_wish_on_its_way_when_the_service_was_killed_begins_no_hold(world: World, folder: Path) -> None:
    await world.send(*await world.queued(*PEOPLE))
    journal = await journal_of(world, folder)
    assert await post(world, journal, await link(world), wish="opt_out") == 200
    async with world.database.begin() as connection:
        await connection.execute(delete(said_journals))
    await journal_of(world, folder)
    assert not await hold_of(world)


async def test_c56_nor_do_several_that_the_database_has(world: World, folder: Path) -> None:
    _, second = await asked(world, *PEOPLE)
    async with by_its_role(world.database, "public") as database:
        journal = await journal_of(world, folder)
        assert await post(world, journal, await link(world), wish="opt_out") == 200
        assert await post(world, journal, await link(world), wish="correct", words="Anders") == 200
        assert await post(world, journal, consent_link(second, "stay"), answer="stay") == 200
        async with world.database.begin() as connection:
            await connection.execute(delete(said_journals))
        again = SaidJournal(database, world.clock, settings(KP_STATE_DIR=str(folder)))
        given = await again.look()
        assert given and not given.is_any and not await hold_of(world)
        # One of them is forgotten, and it is not the first.
        async with world.database.begin() as connection:
            await connection.execute(delete(said_journals))
            await connection.execute(delete(candidate_requests))
        again = SaidJournal(database, world.clock, settings(KP_STATE_DIR=str(folder)))
        given = await again.look()
        assert given and len(given.words_lost) == 1 and not given.changed and await hold_of(world)


async def test_s29_a_wish_said_once_more_after_somebody_else_changed_it_is_written_down(
    world: World, folder: Path
) -> None:
    await world.send(*await world.queued(*PEOPLE))
    journal, at = await journal_of(world, folder), await link(world)
    assert await post(world, journal, at, wish="opt_out") == 200
    await opt_in(world.database, "A1", author="anna", now=world.clock.now())
    backup = await rows(world.database, said_journals)
    assert await post(world, journal, at, wish="opt_out") == 200
    said = await rows(world.database, persons)
    async with world.database.begin() as connection:
        await connection.execute(update(persons).values(opted_out_at=None, opted_out_by=None))
        await connection.execute(update(said_journals).values(number=backup[0]["number"]))
    assert await journal.look() and await holds(world, "A1") == OPTED_OUT and await hold_of(world)
    assert [one["opted_out_at"] for one in await rows(world.database, persons)] == [one["opted_out_at"] for one in said]


async def test_s29_what_changes_nothing_is_written_once(world: World, folder: Path) -> None:
    (order, _) = await asked(world, *PEOPLE)
    journal, at = await journal_of(world, folder), await link(world)
    file = SaidFile(folder, only_file_id(folder), timedelta(days=35))
    given = (("correct", "Eins"), ("correct", "Eins"), ("correct", "Zwei"), ("delete", ""), ("delete", ""))
    for wish, words in given:
        assert await post(world, journal, at, wish=wish, words=words) == 200
    assert [(one.number, one.what) for one in file.after(0)] == [(2, "correct"), (3, "delete")]
    # A request waits, and a recruiter counts the person again: said again it does change something.
    await opt_in(world.database, "A1", author="anna", now=world.clock.now())
    assert await post(world, journal, at, wish="delete") == 200
    for answer in ("delete", "delete"):
        assert await post(world, journal, consent_link(order, answer), answer=answer) == 200
    assert [(one.number, one.what) for one in file.after(2)] == [(4, "delete"), (5, "consent_delete")]


async def test_s29_who_is_nobody_yet_is_told_again_once_imported(world: World, folder: Path) -> None:
    await world.send(*await world.queued(*PEOPLE))
    journal, a = await journal_of(world, folder), applications.c
    assert await post(world, journal, await link(world), wish="opt_out") == 200
    assert await post(world, journal, await link(world, "B1"), wish="yearly") == 200
    await restore(world)
    # Letter and application were made after the backup.
    async with world.database.begin() as connection:
        later = {"created_at": world.clock.now() + timedelta(hours=1)}
        await connection.execute(update(write_orders).values(later))
        await connection.execute(update(applications).where(a.external_id == "A1").values(external_id="later"))
    given = await journal.look()
    assert given and [one.application for one in given.nobody] == ["A1"]
    assert await holds(world, "B1") == {"yearly_since"} and await holds(world, "later") == set()
    assert await journal.look() is None
    await release_hold(world.database, author="anna", now=world.clock.now())
    async with world.database.begin() as connection:
        await connection.execute(update(applications).where(a.external_id == "later").values(external_id="A1"))
    async with by_its_role(world.database, "public") as database:
        given = await SaidJournal(database, world.clock, settings(KP_STATE_DIR=str(folder))).look()
    assert given and len(given.changed) == 1 and await holds(world, "A1") == OPTED_OUT
    assert await journal.look() is None and not await hold_of(world)


async def test_s29_what_another_machine_heard_later_is_not_taken_back(
    world: World, folder: Path, tmp_path: Path
) -> None:
    await world.send(*await world.queued(*PEOPLE))
    one, other, at = await journal_of(world, folder), await journal_of(world, tmp_path / "other"), await link(world)
    for journal, wishes in ((one, ("opt_out", "opt_in", "yearly", "as_usual")), (other, ("opt_out", "yearly"))):
        for wish in wishes:
            assert await post(world, journal, at, wish=wish) == 200
    await restore(world)
    await journal_of(world, tmp_path / "other")
    await journal_of(world, folder)
    assert await holds(world, "A1") == {"opted_out_at", "yearly_since"}


async def test_s29_a_wish_about_a_letter_that_the_database_does_not_know_holds_for_its_person(
    world: World, folder: Path
) -> None:
    await world.send(*await world.queued(*PEOPLE))
    journal, first, second = await journal_of(world, folder), await link(world), await link(world, "B1")
    assert await post(world, journal, first, wish="opt_out") == 200
    assert await post(world, journal, second, wish="yearly") == 200
    await restore(world)
    # The numbers are other letters' now: A1's is B1's, made later.
    a1, b1 = [row["application_id"] for row in await world.rows()]
    async with world.database.begin() as connection:
        o = write_orders.c
        later = {"created_at": world.clock.now() + timedelta(hours=1)}
        for row in await world.rows():
            other = {"application_id": b1 if row["application_id"] == a1 else a1}
            await connection.execute(update(write_orders).where(o.id == row["id"]).values(later | other))
    await journal_of(world, folder)
    assert await holds(world, "A1") == OPTED_OUT and await holds(world, "B1") == {"yearly_since"}


async def test_s29_answers_to_consent_letters_are_given_again_with_their_day(world: World, folder: Path) -> None:
    first, second = await asked(world, *PEOPLE)
    journal = await journal_of(world, folder)
    assert await post(world, journal, consent_link(first, "delete"), answer="delete") == 200
    assert await post(world, journal, consent_link(second, "stay"), answer="stay") == 200
    said = [await question(world, one) for one in (first, second)]
    await restore(world)
    world.clock.advance(timedelta(hours=20))
    await journal_of(world, folder)
    assert [await question(world, one) for one in (first, second)] == said
    assert await holds(world, "A1") == OPTED_OUT and await hold_of(world)


async def test_s29_asking_to_be_deleted_by_a_letter_that_is_not_known_goes_to_a_recruiter(
    world: World, folder: Path
) -> None:
    first, second = await asked(world, *PEOPLE)
    journal = await journal_of(world, folder)
    for order, answer in ((first, "delete"), (second, "delete"), (second, "stay")):
        assert await post(world, journal, consent_link(order, answer), answer=answer) == 200
    await restore(world)
    async with world.database.begin() as connection:
        await connection.execute(update(write_orders).values(created_at=world.clock.now() + timedelta(hours=1)))
    await journal_of(world, folder)
    assert await holds(world, "A1") == OPTED_OUT and await holds(world, "B1") == set()
    (request,) = await rows(world.database, candidate_requests)
    assert request["kind"] == "deletion"


async def test_s26_the_journal_has_neither_words_nor_names_nor_addresses(world: World, folder: Path) -> None:
    await world.send(*await world.queued(*PEOPLE))
    journal, at = await journal_of(world, folder), await link(world)
    assert await post(world, journal, at, wish="correct", words="Ich heiße Anders") == 200
    assert await post(world, journal, at, wish="opt_out") == 200
    file = only_file(folder)
    content = file.read_bytes()
    assert b"opt_out" in content and b"correct" in content
    for word in ("Anders", "Eins", "a1@", "one:A1"):
        assert word.encode() not in content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # That something was to be corrected is told; a look at the database says so too.
    await restore(world)
    given = await journal.look()
    assert given and len(given.words_lost) == 1 and await holds(world, "A1") == OPTED_OUT


async def test_a_disk_that_takes_nothing_answers_candidates_all_the_same(world: World, folder: Path) -> None:
    await world.send(*await world.queued(*PEOPLE))
    put_in_the_way(folder)
    journal = await journal_of(world, folder)
    assert await post(world, journal, await link(world), wish="yearly") == 200
    assert await journal.look() is None and await holds(world, "A1") == {"yearly_since"}
    # It is written as soon as it can be.
    put_in_the_way(folder, away=True)
    assert await journal.look() is None
    assert await post(world, journal, await link(world, "B1"), wish="opt_out") == 200
    await restore(world)
    assert await journal.look() and await holds(world, "B1") == OPTED_OUT
    only_file(folder).write_bytes(b"no database")
    assert await post(world, journal, await link(world), wish="opt_out") == 200
    assert await holds(world, "A1") == OPTED_OUT and await journal.look() is None
    only_file(folder).unlink()
    assert await post(world, journal, await link(world, "B1"), wish="yearly") == 200
    assert b"yearly" in only_file(folder).read_bytes()
    only_file(folder).unlink()
    assert await journal.look() is None
    assert await post(world, journal, await link(world, "B1"), wish="pause") == 200
    assert b"pause" in only_file(folder).read_bytes()


def test_the_file_keeps_the_last_of_each_wish_for_its_time_and_counts_on(folder: Path) -> None:
    at = datetime.fromisoformat("2026-11-23T09:00:00+01:00")

    def said(what: str, days: float, order: int = 1) -> Said:
        return Said(order, at, "who", what, at + timedelta(days=days))

    file = SaidFile(folder, "this", timedelta(days=35))
    for one in (said("opt_out", 0), said("opt_in", 1), said("opt_out", 2), said("pause", 3, order=2)):
        file.add(one, changed=True)
    assert [(one.what, one.order_id) for one in file.after(0)] == [("opt_in", 1), ("opt_out", 1), ("pause", 2)]
    assert file.after(3) == [said("pause", 3, order=2)]
    file.add(said("opt_out", 3.5), changed=False)  # pressed once more
    again = SaidFile(folder, "this", timedelta(days=35))
    assert again.name == file.name and again.last_number(at) == 4
    assert SaidFile(folder, "other", timedelta(days=35)).last_number(at) == 0
    file.let_wait([], file.after(1))
    assert [one.number for one in again.waiting()] == [2, 3, 4]
    file.let_wait(file.after(3), [])
    file.add(said("yearly", 36.5), changed=True)
    assert [one.what for one in again.after(0)] == ["opt_out", "pause", "yearly"]
    assert file.last_number(at + timedelta(days=100)) == 5 and file.after(0) == file.waiting() == []


async def test_c56_a_scheduler_holds_by_what_a_mailer_of_its_machine_wrote_down(world: World, folder: Path) -> None:
    await world.begin()
    async with world.database.read() as connection:
        path = mark_path(folder, (await load_system_settings(connection)).instance_id)
    await hold_if_older(world.database, folder, world.clock)
    assert not await hold_of(world)
    write_mark(path)
    stop = asyncio.Event()
    chosen = settings_for(folder.parent, "smtp://127.0.0.1:25")
    assert chosen.kp_state_dir == folder
    scheduler = asyncio.create_task(run_scheduler(world.database, world.bus, world.clock, chosen, world.log, stop))
    for _ in range(200):
        if await hold_of(world):
            break
        await asyncio.sleep(0.05)
    stop.set()
    await scheduler
    assert await hold_of(world)
