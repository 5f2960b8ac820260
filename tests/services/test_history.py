"""Who changed what: field by field, in the transaction of the change, and nothing of what was not saved (D3)."""

from typing import Any

import pytest

from shared.db.jobs import copy_job, delete_job, rehearse_job
from shared.db.query_list import list_queries, show_query
from shared.db.tables import events
from shared.errors import InvalidInput, NotFound
from tests.services.setup_files import apply, rows
from tests.services.world import JOB, MORNING, SETUP, World


async def told(world: World, noun: str, **where: Any) -> list[tuple[str, str | None, str | None, str | None]]:
    """(action, field, old, new) of one kind of record, all by anna."""
    found = await rows(world.database, events, noun=noun, **where)
    assert {event["author"] for event in found} <= {"anna"} and all(event["at"] for event in found)
    return [(event["action"], event["field"], event["old"], event["new"]) for event in found]


async def test_d3_a_job_tells_each_field_with_its_old_and_new_value(world: World) -> None:
    await world.begin()
    await world.change(time="09:30", note="Hinweis", query="Geburtstag")
    await world.change(status="Aus")
    changes = [change for change in await told(world, "job") if change[0] == "change"]
    assert set(changes) == {
        ("change", "time", "08:00", "09:30"),
        ("change", "note", None, "Hinweis"),
        ("change", "query", "Neue", "Geburtstag"),
        ("change", "status", "An", "Aus"),
    }


async def test_d3_queries_letters_statuses_users_and_settings_tell_theirs(world: World) -> None:
    await world.begin()
    changed = (
        SETUP.replace("in: [Neu]", "in: [Pool]")
        .replace('"Guten Tag {{ applicant.last_name }}"', '"Hallo"')
        .replace("{name: Pool, meta: pool}", "{name: Vorrat, was: Pool, meta: pool}")
        .replace("Anna Weber", "Anna Weber-Groß")
        .replace("catch_up_hours: 6", "catch_up_hours: 8")
    ).replace("in: [Pool]", "in: [Vorrat]")
    await apply(world.database, changed, now=MORNING)
    assert ("change", "text", "Guten Tag {{ applicant.last_name }}", "Hallo") in await told(world, "letter")
    assert ("change", "name", "Pool", "Vorrat") in await told(world, "status")
    assert ("change", "display_name", "Anna Weber", "Anna Weber-Groß") in await told(world, "user")
    assert ("change", "catch_up_hours", "6", "8") in await told(world, "settings")
    async with world.database.read() as connection:
        shown = await show_query(connection, "neue")
        assert [one["name"] for one in await list_queries(connection)] == ["Geburtstag", "Neue"]
    assert (shown["jobs"], shown["filters"][0]["in"], shown["version"]) == ([JOB], ["Vorrat"], 2)
    (event,) = [event for event in shown["history"] if event["action"] == "change"]
    assert (event["field"], event["author"]) == ("filters", "anna") and '"Vorrat"' in event["new"]
    with pytest.raises(NotFound, match="query 'Nöö'"):
        async with world.database.read() as connection:
            await show_query(connection, "Nöö")


async def test_d2_d3_copying_and_deleting_are_told(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.turn()
    await copy_job(world.database, JOB, "Kopie", author="anna", now=MORNING)
    await delete_job(world.database, JOB, author="anna", now=MORNING)
    assert ("copy", "copied_from", None, JOB) in await told(world, "job", record_name="Kopie")
    assert ("delete", "withdrawn_orders", None, "1") in await told(world, "job", record_name=JOB)
    assert ("withdraw", "state", "planned", "withdrawn") in await told(world, "order")


async def test_d3_what_was_not_saved_is_not_told(world: World) -> None:
    await world.begin()
    before = await world.count(events)
    with pytest.raises(InvalidInput):
        await world.change(time="09:30", query="gibt es nicht")
    await rehearse_job(world.database, JOB, {"time": "09:30"}, author="anna", now=MORNING)
    await apply(world.database, SETUP.replace("in: [Neu]", "in: [Pool]"), now=MORNING, dry_run=True)
    await world.change(time="08:00")
    assert await world.count(events) == before
