"""Queries and letters saved and deleted by a person: one at a time, with history and effect (D3, D21, D22, D43)."""

from typing import Any

import pytest
from sqlalchemy import select

from shared.db.history import load_history
from shared.db.letter_changes import load_content
from shared.db.letter_trials import Wanted, check_draft, sample_ids, write_draft
from shared.db.queries import QueryDay, resolve_filters
from shared.db.query_trials import find_people, try_query
from shared.db.system_settings import load_system_settings
from shared.db.tables import application_queries, contact_jobs, form_letters
from shared.db.unused_records import delete_letter, delete_query
from shared.domain.filters import parse_filters
from shared.domain.letter_writing import compile_forms
from shared.domain.letters import LetterText
from shared.errors import InvalidInput, NotFound, Refused
from shared.setup.records import Edited, id_of_saved, save_letter, save_query
from tests.services.world import DAY, JOB, World

POOL: list[dict[str, Any]] = [{"field": "status", "in": ["Pool"]}]


def who(world: World) -> dict[str, Any]:
    return {"author": "anna", "now": world.clock.now()}


async def version_of(world: World, table: Any, name: str) -> Edited:
    record_id = await id_of_saved(world.database, table, name)
    async with world.database.read() as connection:
        number = (await connection.execute(select(table.c.version).where(table.c.id == record_id))).scalar_one()
    return Edited(record_id, number)


async def test_d3_d22_a_query_in_use_shows_its_effect_and_saving_it_wakes_the_job(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Pool,")
    edited = await version_of(world, application_queries, "Neue")
    rehearsed = await save_query(world.database, edited, "Neue", POOL, **who(world), dry_run=True)
    assert [(one.job, one.added, one.removed) for one in rehearsed.impact] == [(JOB, 1, 1)]
    assert await version_of(world, application_queries, "Neue") == edited
    async with world.database.read() as connection:
        epoch = (await connection.execute(select(contact_jobs.c.epoch))).scalar_one()
    await save_query(world.database, edited, "Aus dem Pool", POOL, **who(world))
    async with world.database.read() as connection:
        assert (await connection.execute(select(contact_jobs.c.epoch))).scalar_one() == epoch + 1
        told = await load_history(connection, "query", edited.id)
    assert {(one["author"], one["action"], one["field"]) for one in told} >= {
        ("anna", "change", "name"),
        ("anna", "change", "filters"),
    }


async def test_d3_who_saves_what_somebody_else_has_changed_meanwhile_is_refused(world: World) -> None:
    await world.begin()
    edited = await version_of(world, application_queries, "Neue")
    await save_query(world.database, edited, "Neue", POOL, **who(world))
    with pytest.raises(Refused, match="somebody else"):
        await save_query(world.database, edited, "Neue", [{"field": "has_email", "is": True}], **who(world))


async def test_a_taken_name_a_missing_record_and_a_missing_status_are_refused(world: World) -> None:
    await world.begin()
    edited = await version_of(world, application_queries, "Neue")
    for one, name in ((None, "geburtstag "), (edited, "Geburtstag")):
        with pytest.raises(InvalidInput) as refused:
            await save_query(world.database, one, name, POOL, **who(world))
        assert refused.value.place == "name"
    with pytest.raises(NotFound):
        await save_query(world.database, Edited(99, 1), "Neu", POOL, **who(world))
    with pytest.raises(InvalidInput, match="filter 1"):
        await save_query(world.database, edited, "Neue", [{"field": "status", "in": ["Pol"]}], **who(world))
    with pytest.raises(InvalidInput, match="line 1"):
        fields = {"language": "de", "subject": "x", "html": None, "text": "{{ nobody }}"}
        await save_letter(world.database, None, "Neu", fields, **who(world))


async def test_d3_a_letter_is_renamed_and_changed_under_one_id_with_history(world: World) -> None:
    await world.begin()
    edited = await version_of(world, form_letters, "Brief")
    fields = {"language": "de", "subject": "Neu", "html": None, "text": "Neu", "sets_status": "Absage"}
    await save_letter(world.database, edited, "Neuer Brief", fields, **who(world))
    saved = await version_of(world, form_letters, "Neuer Brief")
    assert saved == Edited(edited.id, edited.version + 1)
    async with world.database.read() as connection:
        assert (await load_content(connection, saved.id, saved.version))["sets_status"] == "Absage"
        told = await load_history(connection, "letter", saved.id)
    assert {one["field"] for one in told if one["action"] == "change"} == {"name", "subject", "text", "sets_status"}


async def test_d3_only_what_nothing_uses_is_deleted_and_its_history_stays(world: World) -> None:
    await world.send(*await world.queued())
    query, letter = [await version_of(world, *one) for one in ((application_queries, "Neue"), (form_letters, "Brief"))]
    with pytest.raises(Refused, match="a job still uses it"):
        await delete_query(world.database, query.id, **who(world))
    with pytest.raises(Refused, match="a job still uses it"):
        await delete_letter(world.database, letter.id, **who(world))
    await world.change(query="Geburtstag", letter="Ende")
    assert await delete_query(world.database, query.id, **who(world)) == "Neue"
    with pytest.raises(Refused, match="stay as documentation"):
        await delete_letter(world.database, letter.id, **who(world))
    async with world.database.read() as connection:
        assert (await load_history(connection, "query", query.id))[0]["action"] == "delete"
    with pytest.raises(NotFound):
        await delete_query(world.database, query.id, **who(world))


async def test_d22_a_query_is_tried_out_before_it_is_saved(world: World) -> None:
    await world.begin("A1,S1,Eins,a@x.example,Pool,", "A2,S1,Eins,a@x.example,Pool,", "A3,,Özil,b@x.example,Neu,")
    async with world.database.read() as connection:
        settings = await load_system_settings(connection)
        query = await resolve_filters(connection, "", parse_filters("", POOL))
        trial = await try_query(connection, query, QueryDay(DAY, settings.zone))
        assert (trial.applications, trial.people, trial.more) == (2, 1, False)
        assert [one["external_id"] for one in trial.first] == ["A2"]
        assert [one["external_id"] for one in await find_people(connection, "A3")] == ["A3"]
        assert [one["external_id"] for one in await find_people(connection, "özil")] == ["A3"]
        assert await find_people(connection, "%") == []


async def test_d43_a_draft_is_written_to_real_applicants_and_says_for_whom_it_fails(world: World) -> None:
    await world.begin("A1,,Eins,a@x.example,Neu,1990-11-23", "A2,,Zwei,b@x.example,Neu,", "A3,,Drei,c@x.example,Pool,")
    forms = compile_forms([LetterText("Zum {{ applicant.birth_date }}", None, "Text", "de")], composed=False)
    letter, now = await version_of(world, form_letters, "Brief"), world.clock.now()
    async with world.database.read() as connection:
        samples = await sample_ids(connection, letter.id, now)
        assert len(samples) == 2, "those whom the job of the letter chooses"
        check = await check_draft(connection, letter.id, forms, samples, now)
        assert (check.tried, check.unaddressed) == (2, 2)
        assert check.failures == [("placeholder applicant.birth_date is empty", 1)]
        first = await write_draft(connection, letter.id, forms, samples, Wanted(), now)
        assert first is not None
        other = await write_draft(connection, letter.id, forms, samples, Wanted(first.application["id"], 1), now)
        assert other is not None
        assert {one.letter.subject if one.letter else one.failure for one in (first, other)} == {
            "Zum 23.11.1990",
            "placeholder applicant.birth_date is empty",
        }
        assert await write_draft(connection, letter.id, forms, samples, Wanted(special="title"), now) is None
