"""`apply` and `export setup` against both databases."""

import asyncio
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.db.tables import (
    application_queries,
    application_statuses,
    contact_jobs,
    dispatch_runs,
    events,
    form_letter_versions,
    form_letters,
    system_settings,
    users,
)
from shared.errors import InvalidInput
from shared.setup import apply_setup, export_setup, read_setup
from tests.services.history_guards import delete_everything
from tests.services.setup_files import NOW, SETUP, apply, row, rows

SAMPLE = Path(__file__).parents[2] / "services" / "cli" / "sample" / "setup.yaml"
TABLES = (
    *(system_settings, application_statuses, users, application_queries, form_letters, form_letter_versions),
    *(contact_jobs, dispatch_runs, events),
)


async def everything(database: Database) -> list[list[dict[str, object]]]:
    return [await rows(database, table) for table in TABLES]


async def open_run(database: Database, job_id: int, lineage_id: int) -> int:
    values = {"job_id": job_id, "lineage_id": lineage_id, "job_name": "Grüße", "occasion_day": date(2026, 11, 24)}
    moments = dict.fromkeys(("plan_from", "send_at"), NOW)
    async with database.begin() as connection:
        statement = insert(dispatch_runs).values(**values, **moments, state="open").returning(dispatch_runs.c.id)
        return int((await connection.execute(statement)).scalar_one())


async def test_applying_creates_everything_and_a_second_time_nothing(database: Database) -> None:
    first = await apply(database, SETUP)
    assert {(kind, action) for kind, _, action, _ in first.records} == {
        ("settings", "changed"),
        *((kind, "created") for kind in ("status", "user", "query", "letter", "job")),
    }
    before = await everything(database)
    second = await apply(database, SETUP)
    assert (list(second.rows()), second.warnings) == ([], [])
    assert await everything(database) == before


async def test_the_sample_is_applied_exported_and_read_back_without_a_difference(
    database: Database, tmp_path: Path
) -> None:
    await apply_setup(database, read_setup(SAMPLE), author="anna", role="admin", now=NOW)
    before = await everything(database)
    assert await export_setup(database, tmp_path / "out.yaml") == 25
    again = await apply_setup(database, read_setup(tmp_path / "out.yaml"), author="anna", role="admin", now=NOW)
    assert list(again.rows()) == []
    assert await everything(database) == before


async def test_an_export_makes_the_same_setup_in_an_empty_database(database: Database, tmp_path: Path) -> None:
    await apply_setup(database, read_setup(SAMPLE), author="anna", role="admin", now=NOW)
    await export_setup(database, tmp_path / "one.yaml")
    async with database.begin() as connection:
        await delete_everything(connection)
    await apply_setup(database, read_setup(tmp_path / "one.yaml"), author="anna", role="admin", now=NOW)
    await export_setup(database, tmp_path / "two.yaml")
    assert (tmp_path / "two.yaml").read_text() == (tmp_path / "one.yaml").read_text()


async def test_an_export_that_cannot_be_written_says_so(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be written"):
        await export_setup(database, tmp_path / "none" / "out.yaml")


async def test_a_dry_run_shows_the_difference_and_changes_nothing(database: Database) -> None:
    before = await everything(database)
    shown = await apply(database, SETUP, dry_run=True)
    assert await everything(database) == before
    assert list(shown.rows()) == list((await apply(database, SETUP)).rows())


async def test_a_new_job_has_the_defaults_and_a_next_day(database: Database) -> None:
    await apply(database, SETUP)
    job = await row(database, contact_jobs)
    assert (job["lead_days"], job["repeat_guard_days"], job["valid_days"], job["priority"]) == (0, 30, 5, 10)
    assert (job["on_unclear"], job["working_days"], job["time_zone"]) == ("ask", "as_is", "Europe/Berlin")
    # Never at once (D4): today's dispatch time has passed.
    assert (job["status"], job["on_since"], job["next_occasion_day"]) == ("on", NOW, date(2026, 11, 24))


async def test_a_cyclic_job_guards_14_days_and_starts_off(database: Database) -> None:
    cyclic = """
  - {name: Quartal, query: Pool, letter: Ende, dispatch: {every_months: 3, anchor: 2026-01-31}, time: 9:30}
"""
    await apply(database, SETUP + cyclic.lstrip("\n"))
    job = await row(database, contact_jobs, name="Quartal")
    assert (job["repeat_guard_days"], job["status"], job["off_since"]) == (14, "off", NOW)
    assert (job["dispatch_mode"], job["cycle_months"], job["anchor_on"]) == ("cyclic", 3, date(2026, 1, 31))
    assert job["dispatch_time"] == "09:30"


async def test_every_changed_field_is_kept_with_who_and_what(database: Database) -> None:
    await apply(database, SETUP)
    await apply(database, SETUP.replace('time: "08:00"', 'time: "09:15", note: neu').replace("Alles Gute", "Hoch"))
    changes = {(e["noun"], e["field"], e["old"], e["new"]) for e in await rows(database, events, action="change")}
    assert changes >= {
        ("job", "time", "08:00", "09:15"),
        ("job", "note", None, "neu"),
        ("letter", "subject", "Alles Gute", "Hoch"),
    }
    assert {e["author"] for e in await rows(database, events)} == {"anna"}


@pytest.mark.parametrize(
    ("old", "new", "noun"),
    [
        ("from: 0, to: 0", "from: 0, to: 7", "query"),
        ("Alles Gute", "Herzlichen Glückwunsch", "letter"),
        ("catch_up_hours: 6", "catch_up_hours: 7", "settings"),
        ("{name: Neu, meta: new}", "{name: Neu, meta: in_process}", "status"),
        ('time: "08:00"', 'time: "08:01"', "job"),
    ],
)
async def test_whatever_a_job_depends_on_raises_its_epoch_and_wakes_its_plan(
    database: Database, old: str, new: str, noun: str
) -> None:
    await apply(database, SETUP)
    job = await row(database, contact_jobs)
    run_id = await open_run(database, job["id"], job["lineage_id"])
    difference = await apply(database, SETUP.replace(old, new))
    assert [kind for kind, *_ in difference.records] == [noun]
    assert (await row(database, contact_jobs))["epoch"] == job["epoch"] + 1
    assert (await row(database, dispatch_runs, id=run_id))["due_at"] == NOW


async def test_what_no_job_uses_raises_no_epoch(database: Database) -> None:
    await apply(database, SETUP)
    before = await row(database, contact_jobs)
    await apply(database, SETUP.replace("Leider nein", "Leider doch nicht").replace("Anna Weber", "A. Weber"))
    assert await row(database, contact_jobs) == before


async def test_another_text_is_another_version_and_the_old_one_stays(database: Database) -> None:
    await apply(database, SETUP)
    await apply(database, SETUP.replace("Alles Gute", "Hoch"))
    letter = await row(database, form_letters, name="Geburtstag")
    versions = await rows(database, form_letter_versions, letter_id=letter["id"])
    assert letter["version"] == 2
    assert [(one["version"], one["subject"]) for one in versions] == [(1, "Alles Gute"), (2, "Hoch")]


async def test_a_rename_keeps_the_record_and_is_applied_once(database: Database) -> None:
    await apply(database, SETUP)
    ids = {table.name: [one["id"] for one in await rows(database, table)] for table in (users, contact_jobs)}
    renamed = (
        SETUP.replace("{name: Absage, meta", "{name: Abgelehnt, was: Absage, meta")
        .replace("[Absage]", "[Abgelehnt]")
        .replace("sets_status: Absage", "sets_status: Abgelehnt")
        .replace("{name: a.weber", "{name: anna.weber, was: a.weber")
        .replace("user:a.weber", "user:anna.weber")
        .replace("{name: Grüße", "{name: Glückwünsche, was: grüße")
        .replace("- name: Geburtstag heute", "- name: Heute\n    was: Geburtstag heute")
        .replace("query: Geburtstag heute", "query: Heute")
    )
    await apply(database, renamed)
    assert {table.name: [one["id"] for one in await rows(database, table)] for table in (users, contact_jobs)} == ids
    assert (await row(database, contact_jobs))["name"] == "Glückwünsche"
    assert list((await apply(database, renamed)).rows()) == []


async def test_who_refers_to_a_renamed_record_follows_though_the_file_does_not_mention_it(database: Database) -> None:
    await apply(database, SETUP)
    await apply(
        database,
        """
statuses: [{name: Abgelehnt, was: Absage, meta: rejected}]
users: [{name: anna, was: a.weber, display_name: Anna Weber, role: edit}]
""",
    )
    query = await row(database, application_queries, name="Geburtstag heute")
    assert query["filters"][0] == {"field": "status", "not_in": ["Abgelehnt"]}
    assert query["version"] == 2
    assert (await row(database, contact_jobs))["sender"] == "user:anna"
    # What the file does not mention of a user stays.
    assert (await row(database, users))["email"] == "a.weber@firma.example"


async def test_a_rename_onto_an_existing_record_is_refused(database: Database) -> None:
    await apply(database, SETUP)
    with pytest.raises(InvalidInput, match="of the new name exists already"):
        await apply(database, "statuses: [{name: Neu, was: Absage, meta: new}]")


@pytest.mark.parametrize(
    ("old", "new", "value", "hint"),
    [
        ("query: Geburtstag heute", "query: Geburtstag huete", "Geburtstag huete", "'Geburtstag heute'"),
        ("letter: Geburtstag,", "letter: Geburttag,", "Geburttag", "'Geburtstag'"),
        ("sets_status: Absage", "sets_status: Absagen", "Absagen", "'Absage'"),
        ("[Absage]", "[Absagen]", "Absagen", "'absage'"),
        ("user:a.weber", "user:a.webber", "a.webber", "'a.weber'"),
    ],
)
async def test_a_reference_to_nothing_is_refused_with_the_nearest_and_nothing_is_changed(
    database: Database, old: str, new: str, value: str, hint: str
) -> None:
    before = await everything(database)
    with pytest.raises(InvalidInput) as refused:
        await apply(database, SETUP.replace(old, new))
    assert refused.value.value == value
    assert refused.value.place.startswith("setup.yaml, line ")
    assert hint in refused.value.fix
    assert await everything(database) == before


async def test_references_may_be_to_the_database(database: Database) -> None:
    await apply(database, SETUP)
    job = "jobs: [{name: Zweiter, query: GEBURTSTAG heute, letter: ' geburtstag', dispatch: rolling, time: '07:00'}]"
    await apply(database, job)
    second, first = await row(database, contact_jobs, name="Zweiter"), await row(database, contact_jobs, name="Grüße")
    assert (second["query_id"], second["letter_id"]) == (first["query_id"], first["letter_id"])
    assert second["lineage_id"] != first["lineage_id"]


async def test_passwords_are_never_touched(database: Database) -> None:
    await apply(database, SETUP)
    async with database.begin() as connection:
        await connection.execute(update(users).values(password_hash="kept"))
    await apply(database, SETUP.replace("role: edit", "role: admin"))
    user = await row(database, users)
    assert (user["role"], user["password_hash"]) == ("admin", "kept")


async def test_fields_of_a_job_that_the_file_does_not_mention_stay(database: Database) -> None:
    await apply(database, SETUP)
    await apply(database, SETUP.replace("status: An, ", ""))
    assert (await row(database, contact_jobs))["status"] == "on"


async def test_two_who_apply_at_once_make_one_setup(database: Database) -> None:
    await asyncio.gather(*(apply(database, SETUP) for _ in range(3)))
    assert [len(await rows(database, table)) for table in (users, form_letters, contact_jobs)] == [1, 2, 1]
    assert list((await apply(database, SETUP)).rows()) == []


async def test_the_settings_are_in_force(database: Database) -> None:
    await apply(database, "settings: {reduce_core_data: {after_months: 6}, core_data_keeps: [phone]}")
    async with database.read() as connection:
        settings = await load_system_settings(connection)
    assert (settings.reduce_core_data, settings.core_data_keeps) == ({"after_months": 6}, ("phone",))


async def test_warnings_come_with_the_job_its_query_or_its_letter(database: Database) -> None:
    pool = '  - {name: Ende, query: Pool, letter: Ende, dispatch: rolling, time: "12:00"}\n'
    cycle = "  - {name: Oft, query: Geburtstag heute, letter: Ende, dispatch: {every_months: 1, anchor: 2026-01-31},\n"
    cycle += '     time: "12:00", repeat_guard_days: 28}\n'
    first = await apply(database, SETUP + pool + cycle)
    assert first.warnings == ["job 'Oft': a repeat guard of 28 days can swallow the next dispatch"]
    silent = await apply(database, (SETUP + pool).replace(", sets_status: Absage", ""))
    assert "job 'Ende': its query asks for the pool, but its letter sets no status" in silent.warnings
    assert (await apply(database, (SETUP + pool).replace(", sets_status: Absage", ""))).warnings == []
