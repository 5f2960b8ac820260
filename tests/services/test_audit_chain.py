"""The history is added to only, and its seals tell whatever is done to it by somebody who may do everything (S28)."""

import asyncio
import json
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import DBAPIError

from shared.db.audit_tables import event_seals, unsealed_events
from shared.db.core_data import reduce_to_core_data
from shared.db.engine import Database
from shared.db.history_check import read_head
from shared.db.history_seals import load_head, seal_batch
from shared.db.system_settings import SystemSettings
from shared.db.tables import applications, events
from shared.domain.audit_chain import digest_of_words, link_of
from shared.errors import InvalidInput
from tests.services.audit_world import EVENT, checked, empty, fault, seal, tamper, write
from tests.services.command_line import CommandLine
from tests.services.history_guards import unguarded
from tests.services.schemas import open_with_schema
from tests.services.setup_files import row, rows
from tests.services.world import MORNING, World

NOTES = [{"record_id": 1, "old": f"{n}", "new": f"{n + 1}", "reason": None} for n in range(5)]
#: What an attacker does to five sealed rows -> what the check says. Row 3 is the third one.
ATTACKS = {
    "a word changed": (
        "UPDATE events SET new = 'x' WHERE id = 3",
        "row 3 (seal 3), job Gruß: what it says was changed",
    ),
    "a word emptied": ("UPDATE events SET old = NULL WHERE id = 3", "row 3 (seal 3), job Gruß: what it says"),
    "the author changed": ("UPDATE events SET author = 'eva' WHERE id = 3", "row 3 (seal 3), job Gruß was changed"),
    "a row deleted": ("DELETE FROM events WHERE id = 3", "row 3 (seal 3) is missing"),
    "with its seal": (
        "DELETE FROM events WHERE id = 3; DELETE FROM event_seals WHERE event_id = 3",
        "seal 3 is missing",
    ),
    "and the gap closed": (
        "DELETE FROM events WHERE id = 3; DELETE FROM event_seals WHERE event_id = 3;"
        "UPDATE event_seals SET number = 3 WHERE number = 4; UPDATE event_seals SET number = 4 WHERE number = 5",
        "row 4 (seal 3), job Gruß was changed, or is out of order",
    ),
    "a row inserted": (
        "INSERT INTO events (id, at, author, action, noun) SELECT 99, at, author, action, noun FROM events "
        "WHERE id = 3",
        "row 99 was added past the seals",
    ),
    "two rows in another order": (
        "UPDATE event_seals SET event_id = -3 WHERE number = 3; UPDATE event_seals SET event_id = 3 WHERE number = 4;"
        "UPDATE event_seals SET event_id = 4 WHERE number = 3",
        "row 4 (seal 3), job Gruß: what it says was changed",
    ),
    "their seals in another order": (
        "UPDATE event_seals SET number = -3 WHERE number = 3; UPDATE event_seals SET number = 3 WHERE number = 4;"
        "UPDATE event_seals SET number = 4 WHERE number = -3",
        "row 4 (seal 3), job Gruß was changed, or is out of order",
    ),
    "erased without a reduction": (
        "UPDATE events SET old = NULL, new = NULL WHERE id = 3; UPDATE event_seals SET salt = NULL WHERE event_id = 3",
        "row 3 (seal 3), job Gruß: its words were erased, and not by a reduction",
    ),
    "only the salt": ("UPDATE event_seals SET salt = NULL WHERE number = 3", "words stand where they had been erased"),
}


async def five(database: Database) -> None:
    await write(database, *NOTES)
    assert await seal(database) == 5


@pytest.mark.parametrize("attack", ATTACKS)
async def test_s28_whatever_is_done_to_a_row_is_told(database: Database, attack: str) -> None:
    statements, said = ATTACKS[attack]
    await five(database)
    assert await fault(database) == ""
    if "INSERT" in statements and database.dialect == "sqlite":
        statements += ";DELETE FROM unsealed_events"  # as with triggers switched off
    elif "INSERT" in statements:
        statements = f"SET LOCAL session_replication_role = replica; {statements}"
    await tamper(database, *statements.split(";"))
    assert said in await fault(database)


async def test_s28_the_end_cut_off_is_told_by_a_head_that_was_noted(database: Database) -> None:
    await five(database)
    noted = (await checked(database)).head
    assert await fault(database, noted=read_head(str(noted))) == ""
    cut = "DELETE FROM events WHERE id = 5", "DELETE FROM event_seals WHERE event_id = 5"
    await tamper(database, *cut)
    assert await fault(database) == ""  # in itself it is whole
    assert "seal 5, which was noted, is missing" in await fault(database, noted=noted)
    # And a history that was made anew from there on.
    await write(database, NOTES[0], NOTES[1])
    await seal(database)
    assert await fault(database) == ""
    assert "seal 5 is not the one that was noted" in await fault(database, noted=noted)


async def test_s28_a_seal_that_was_computed_anew_does_not_fit_the_next(database: Database) -> None:
    await five(database)
    _, before, seal_of_it, *_ = await rows(database, event_seals)
    changed = await row(database, events, id=3) | {"new": "x"}
    words = digest_of_words(seal_of_it["salt"], changed)
    link = link_of(before["link"], 3, changed, words)
    await tamper(
        database,
        "UPDATE events SET new = 'x' WHERE id = 3",
        f"UPDATE event_seals SET words = '{words}', link = '{link}' WHERE number = 3",
    )
    assert "row 4 (seal 4), job Gruß was changed, or is out of order" in await fault(database)


async def test_s28_rows_are_added_and_never_changed_by_what_the_product_may_do(database: Database) -> None:
    await five(database)
    refused = (
        update(events).values(author="eva"),
        update(events).values(new="x"),
        delete(events),
        update(event_seals).values(link="x"),
        update(event_seals).values(salt="x"),
        delete(event_seals),
    )
    for statement in refused:
        with pytest.raises(DBAPIError, match="never changed"):
            async with database.begin() as connection:
                await connection.execute(statement)
    assert await fault(database) == ""


async def test_s28_reduction_erases_words_and_the_chain_holds(world: World) -> None:
    await world.queued()
    found = await row(world.database, applications, external_id="A1")
    order = (await world.order("A1"))["id"]
    whose = {"application": found["id"], "person": found["person_id"], "order": order}
    words = {"field": "phone", "old": "QKold", "new": "QKnew", "reason": "QKreason"}
    await write(world.database, *({"noun": noun, "record_id": id_, **words} for noun, id_ in whose.items()))
    moved = {"noun": "order", "record_id": order, "field": "state", "old": "planned", "new": "queued", "reason": "QK"}
    await write(world.database, moved)
    await seal(world.database)
    # One more of them is not sealed yet.
    await write(world.database, {"noun": "application", "record_id": found["id"], **words})
    async with world.database.begin() as connection:
        await reduce_to_core_data(connection, [found["id"]], SystemSettings(core_data_keeps=()), MORNING)
    left = repr(await rows(world.database, events))
    assert "QK" not in left and "queued" in left
    erased = [one for one in await rows(world.database, event_seals) if one["salt"] is None]
    assert len(erased) >= 4
    await seal(world.database)
    found_out = await checked(world.database)
    assert (found_out.fault, found_out.unsealed, found_out.erased) == (None, 0, len(erased))
    # The states of an order stay, and are sealed.
    await tamper(world.database, "UPDATE events SET old = 'sent' WHERE field = 'state' AND old = 'planned'")
    assert "was changed, or is out of order" in await fault(world.database)


async def test_s28_who_is_only_said_to_be_reduced_is_told(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    found = await row(world.database, applications, external_id="A1")
    await write(world.database, {"noun": "application", "record_id": found["id"], "old": "1", "new": "2"})
    await seal(world.database)
    event = (await row(world.database, events, noun="application", new="2"))["id"]
    async with world.database.begin() as connection:
        await connection.execute(update(events).where(events.c.id == event).values(old=None, new=None))
        await connection.execute(update(event_seals).where(event_seals.c.event_id == event).values(salt=None))
    assert "its words were erased, and not by a reduction" in await fault(world.database)


#: What an attacker does who may empty words and remove records.
EMPTIED = (
    "UPDATE events SET old = NULL, new = NULL, reason = NULL WHERE new = 'QKnew'",
    "UPDATE event_seals SET salt = NULL WHERE event_id IN "
    "(SELECT id FROM events WHERE field = 'phone' AND new IS NULL)",
)


@pytest.mark.parametrize("noun", ["application", "person", "order"])
async def test_s28_words_of_a_record_that_is_gone_do_not_go_unnoticed(database: Database, noun: str) -> None:
    erased = {"noun": noun, "record_id": 4711, "field": None, "action": "erase"}
    words = {"noun": noun, "record_id": 4711, "field": "phone", "old": "QKold", "new": "QKnew"}
    await write(database, {"id": 1, **erased}, {"id": 5, **words})
    await seal(database)
    await tamper(database, *EMPTIED)
    assert "its words were erased, and no later row says so" in await fault(database)
    # Neither the row from before is one, nor that of another record, nor another act.
    for number, more in ((12, {"record_id": 4712}), (13, {"noun": "job"}), (14, {"action": "change"})):
        await write(database, {"id": number, **erased, **more})
    assert "no later row says so" in await fault(database)
    await write(database, {"id": 20, **erased})
    await seal(database)
    assert await fault(database) == ""


async def test_s28_what_was_written_after_a_reduction_was_not_erased_by_it(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    found = await row(world.database, applications, external_id="A1")
    words = {"record_id": found["person_id"], "noun": "person", "field": "phone", "old": "QKold", "new": "QKnew"}
    await write(world.database, words)
    await seal(world.database)
    async with world.database.begin() as connection:
        await reduce_to_core_data(connection, [found["id"]], SystemSettings(), MORNING, "anna")
    erased = await rows(world.database, events, action="erase")
    assert [(one["noun"], one["record_id"], one["author"], one["new"]) for one in erased] == [
        ("person", found["person_id"], "anna", None)
    ]
    await seal(world.database)
    assert (await checked(world.database)).erased == 1 and await fault(world.database) == ""
    # A second reduction finds nothing more, and says nothing.
    async with world.database.begin() as connection:
        await reduce_to_core_data(connection, [found["id"]], SystemSettings(), MORNING, "anna")
    assert await rows(world.database, events, action="erase") == erased
    await write(world.database, words)
    await seal(world.database)
    await tamper(world.database, *EMPTIED)
    assert "no later row says so" in await fault(world.database)


async def test_s28_a_row_that_goes_before_it_is_sealed_is_told(database: Database) -> None:
    await write(database, {"id": 7})
    await tamper(database, "DELETE FROM events WHERE id = 7")
    assert await fault(database) == "row 7 went before it was sealed"


async def test_s28_sealing_is_all_or_nothing(database: Database) -> None:
    await write(database, *NOTES)
    with pytest.raises(RuntimeError):
        async with database.begin() as connection:
            assert await seal_batch(connection, MORNING, most=3) == 3
            raise RuntimeError  # killed before the commit
    async with database.begin() as connection:
        assert await seal_batch(connection, MORNING, most=3) == 3
    assert (await checked(database)).unsealed == 2
    assert await seal(database) == 2
    assert await seal(database) == 0
    assert (await checked(database)).sealed == 5 and await fault(database) == ""


async def test_s28_many_write_and_several_seal_at_once(database: Database) -> None:
    async def writes(number: int) -> None:
        for _ in range(10):
            await write(database, {"record_id": number}, {"record_id": number})

    async def seals() -> None:
        for _ in range(10):
            await seal(database)

    await asyncio.gather(*map(writes, range(6)), *(seals() for _ in range(3)))
    await seal(database)
    found = await checked(database)
    assert (found.fault, found.sealed, found.unsealed) == (None, 120, 0)


async def test_s28_sealing_waits_for_nobody_on_postgresql(kept_postgres_url: str) -> None:
    """A transaction that has written and takes long holds nothing up, and its row gets its seal afterwards."""
    database = await open_with_schema(kept_postgres_url, pool_size=4)
    try:
        async with database.begin() as slow:
            await slow.execute(insert(events).values(EVENT | {"record_id": 1}))
            await write(database, {"record_id": 2}, {"record_id": 3})
            assert await asyncio.wait_for(seal(database), 10) == 2
            # Nor does one hold up who erases at the same time, or the other way round.
            await slow.execute(update(events).where(events.c.record_id == 2).values(old=None))
            await write(database, {"record_id": 4})
            assert await asyncio.wait_for(seal(database), 10) == 1
        assert await seal(database) == 1
        assert await fault(database) == ""
    finally:
        async with database.begin() as connection:
            await connection.execute(delete(unsealed_events))
        await empty(database)
        await database.close()


TEXT = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
ROW = st.fixed_dictionaries(
    {"noun": st.sampled_from(("job", "order", "person")), "record_id": st.none() | st.integers(1, 3)}
    | {"field": st.sampled_from((None, "state", "note")), "old": TEXT, "new": TEXT, "reason": TEXT}
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(ROW, min_size=2, max_size=6), data=st.data())
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_s28_any_change_to_any_row_is_told(
    servers: Mapping[str, str], kept_postgres_url: str, dialect: str, written: list[dict[str, Any]], data: st.DataObject
) -> None:
    one = data.draw(st.integers(1, len(written)), label="row")
    column = data.draw(st.sampled_from(("author", "record_id", "field", "old", "new", "reason", "at")), label="column")
    value = 99 if column == "record_id" else MORNING.replace(year=2020) if column == "at" else "anders"

    async def example(url: str) -> None:
        database = await open_with_schema(url, pool_size=2)
        try:
            await write(database, *({"id": number, **row} for number, row in enumerate(written, 1)))
            assert await seal(database) == len(written)
            assert await fault(database) == ""
            async with database.begin() as connection, unguarded(connection):
                await connection.execute(update(events).where(events.c.id == one).values({column: value}))
            assert f"row {one} (seal {one})" in await fault(database)
            assert (await checked(database)).sealed == one - 1
        finally:
            await empty(database)
            await database.close()

    with TemporaryDirectory() as folder:
        asyncio.run(example(kept_postgres_url if dialect == "postgresql" else f"sqlite:///{folder}/chain.sqlite3"))


def test_s28_audit_verify_says_whether_the_history_is_whole(cli: CommandLine) -> None:
    database = Database(f"sqlite:///{cli.database}")

    async def sealed() -> str:
        await seal(database)
        async with database.read() as connection:
            return str(await load_head(connection))

    waiting = json.loads(cli("audit", "verify", "--json").out)
    assert (waiting["whole"], waiting["sealed"]) == (True, 0) and waiting["unsealed"] > 5
    head = asyncio.run(sealed())
    answer = cli("audit", "verify", "--head", head)
    assert answer.code == 0 and f"{waiting['unsealed']} rows sealed" in answer.out and f"head {head}" in answer.out
    other = head.replace(head[-4:], "0000" if head[-4:] != "0000" else "1111")
    assert "is not the one that was noted" in cli.says_one_line("audit", "verify", "--head", other)
    assert "give a head as audit verify" in cli.says_one_line("audit", "verify", "--head", "nonsense")
    asyncio.run(tamper(database, "UPDATE events SET author = 'eva' WHERE id = 2"))
    assert "row 2 (seal 2)" in cli.says_one_line("audit", "verify")
    answer = cli("audit", "verify", "--json")
    assert answer.code == 1 and "row 2 (seal 2)" in json.loads(answer.out)["fault"]
    asyncio.run(database.close())


@pytest.mark.parametrize("text", ["", "5", "x:00", "0:" + "00" * 32, "5:" + "00" * 31])
def test_s28_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="audit verify"):
        read_head(text)
