"""Commands on jobs against both databases: create, set, switch, copy, delete, show."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from shared.db.engine import Database
from shared.db.job_list import list_jobs, show_job
from shared.db.jobs import copy_job, create_job, delete_job, set_job
from shared.db.tables import (
    applications,
    blocks,
    contact_jobs,
    dispatch_runs,
    events,
    lineages,
    persons,
    write_orders,
)
from shared.errors import InvalidInput, NotFound
from tests.services.setup_files import NOW, SETUP, apply, row, rows

JOB = "Grüße"
DAY = date(2026, 11, 25)
WHO: dict[str, Any] = {"author": "anna", "now": NOW}
NEW = {"query": "Pool", "letter": "Ende", "dispatch": "rolling", "time": "9:30"}


def berlin(day: date, hour: int, minute: int = 0) -> datetime:
    """A winter moment in Berlin, in UTC."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC) - timedelta(hours=1)


@dataclass
class Planned:
    """A run of the job with one order in each of the given states."""

    run_id: int
    order_ids: list[int]


async def plan(database: Database, day: date, *states: str, name: str = JOB, **run: Any) -> Planned:
    """A run of `day` as the tick records it, with orders as the evaluator plans and the mailer claims them."""
    job = await row(database, contact_jobs, name=name)
    send_at = berlin(day, 8)
    common = {"job_id": job["id"], "lineage_id": job["lineage_id"], "job_name": name, "occasion_day": day}
    recorded = {"plan_from": send_at - timedelta(hours=8), "send_at": send_at, "state": "open", **run}
    async with database.begin() as connection:
        statement = insert(dispatch_runs).values(**common, **recorded).returning(dispatch_runs.c.id)
        run_id = int((await connection.execute(statement)).scalar_one())
        orders = []
        for number, state in enumerate(states):
            person = insert(persons).values(identity=f"one:{name}{day}{number}").returning(persons.c.id)
            person_id = (await connection.execute(person)).scalar_one()
            application = insert(applications).values(
                external_id=f"{name}{day}{number}", person_id=person_id, kind="application"
            )
            application_id = (await connection.execute(application.returning(applications.c.id))).scalar_one()
            values = {
                **common,
                "type": "contact_job",
                "run_id": run_id,
                "person_id": person_id,
                "application_id": application_id,
                "letter_id": job["letter_id"],
                "state": state,
                "time_zone": "Europe/Berlin",
                "planned_for": send_at,
                "created_at": NOW,
                "expires_at": send_at + timedelta(days=5),
            }
            if state == "sending":
                values |= {"phase": "claimed", "lease_token": number + 1, "lease_until": NOW}
            order = insert(write_orders).values(values).returning(write_orders.c.id)
            orders.append(int((await connection.execute(order)).scalar_one()))
    return Planned(run_id, orders)


async def states(database: Database, planned: Planned) -> list[str]:
    return [(await row(database, write_orders, id=order_id))["state"] for order_id in planned.order_ids]


async def test_d1_a_new_job_starts_off_with_the_defaults(database: Database) -> None:
    await apply(database, SETUP)
    change = await create_job(database, {"name": " Neu ", **NEW}, **WHO)
    job = await row(database, contact_jobs, id=change.job_id)
    assert (job["name"], job["status"], job["dispatch_time"], job["repeat_guard_days"]) == ("Neu", "off", "09:30", 30)
    assert ("time", None, "09:30") in change.changes
    assert {e["action"] for e in await rows(database, events, noun="job", record_id=job["id"])} == {"create"}


@pytest.mark.parametrize("missing", ["name", "query", "letter", "dispatch", "time"])
async def test_d1_a_new_job_needs_its_required_fields(database: Database, missing: str) -> None:
    await apply(database, SETUP)
    pairs = {key: value for key, value in {"name": "Neu", **NEW}.items() if key != missing}
    with pytest.raises(InvalidInput) as refused:
        await create_job(database, pairs, **WHO)
    assert refused.value.value == missing


async def test_d1_two_jobs_of_one_name_are_refused(database: Database) -> None:
    await apply(database, SETUP)
    await create_job(database, {"name": "Neu", **NEW}, **WHO)
    with pytest.raises(InvalidInput, match="exists already"):
        await create_job(database, {"name": "GRÜSSE", **NEW}, **WHO)
    with pytest.raises(InvalidInput, match="exists already"):
        await set_job(database, "Neu", {"name": "grüße"}, **WHO)
    with pytest.raises(InvalidInput, match="exists already"):
        await copy_job(database, JOB, "neu", **WHO)


async def test_d3_set_tells_what_changed_and_keeps_it(database: Database) -> None:
    await apply(database, SETUP)
    pairs = {"query": "pool", "dispatch": "every_months=3 anchor=2026-01-31", "note": "neu", "lead_days": "0"}
    change = await set_job(database, "  grüße", pairs, **WHO)
    assert change.changes == [
        ("query", "Geburtstag heute", "pool"),
        ("dispatch", "rolling", "every 3 months from 2026-01-31"),
        ("note", None, "neu"),
    ]
    assert change.warnings == ["job 'Grüße': its query asks for the pool, but its letter sets no status"]
    history = (await show_job(database, JOB, NOW))["history"]
    told = {(entry["author"], entry["field"], entry["old"], entry["new"]) for entry in history}
    assert ("anna", "note", None, "neu") in told
    assert ("anna", "dispatch", "rolling", "every 3 months from 2026-01-31") in told


async def test_d3_setting_what_is_set_already_changes_nothing(database: Database) -> None:
    await apply(database, SETUP)
    before = await row(database, contact_jobs), await rows(database, events)
    change = await set_job(database, JOB, {"status": "An", "time": "8:00", "query": "GEBURTSTAG HEUTE"}, **WHO)
    assert change.changes == []
    assert (await row(database, contact_jobs), await rows(database, events)) == before


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"tme": "08:00"}, "did you mean 'time'"),
        ({"time": "25:00"}, "must be a time"),
        ({"letter": "Geburtstak"}, "did you mean 'Geburtstag'"),
        ({"sender_fallback": "user:b.weber"}, "did you mean 'a.weber'"),
        ({"note": "good", "lead_days": "61"}, "whole number from 0 to 60"),
    ],
)
async def test_set_refuses_like_the_setup_file_and_changes_nothing(
    database: Database, pairs: dict[str, str], said: str
) -> None:
    await apply(database, SETUP)
    before = await row(database, contact_jobs)
    with pytest.raises(InvalidInput, match=said):
        await set_job(database, JOB, pairs, **WHO)
    assert await row(database, contact_jobs) == before


async def test_a_job_that_is_not_there_is_answered_with_the_nearest(database: Database) -> None:
    await apply(database, SETUP)
    with pytest.raises(NotFound, match="did you mean 'Grüße'"):
        await set_job(database, "Grüsze", {"status": "Aus"}, **WHO)
    with pytest.raises(NotFound):
        await delete_job(database, "Grüsze", **WHO)


async def test_d4_off_touches_only_the_job_and_its_orders_stay(database: Database) -> None:
    await apply(database, SETUP)
    planned = await plan(database, DAY, "planned", "queued")
    before = await row(database, contact_jobs)
    change = await set_job(database, JOB, {"status": "Aus"}, **WHO)
    job = await row(database, contact_jobs)
    assert change.changes == [("status", "An", "Aus")]
    assert job == {**before, "status": "off", "off_since": NOW, "epoch": before["epoch"] + 1}
    assert await states(database, planned) == ["planned", "queued"]
    assert (await row(database, dispatch_runs))["due_at"] is None


async def test_d4_off_does_not_wait_for_a_plan_that_is_being_made(database: Database) -> None:
    if database.dialect == "sqlite":
        await apply(database, SETUP)  # one writer: there is nothing to wait beside
        await set_job(database, JOB, {"status": "Aus"}, **WHO)
    else:
        await apply(database, SETUP)
        async with database.begin() as planning:
            await planning.execute(select(lineages.c.id).with_for_update())
            await asyncio.wait_for(set_job(database, JOB, {"status": "Aus"}, **WHO), timeout=10)
    assert (await row(database, contact_jobs))["status"] == "off"


async def switched(database: Database, off: datetime, on: datetime) -> Any:
    await set_job(database, JOB, {"status": "Aus"}, author="anna", now=off)
    return await set_job(database, JOB, {"status": "An"}, author="anna", now=on)


async def test_d4_on_again_within_the_catch_up_time_goes_on(database: Database) -> None:
    await apply(database, SETUP)
    planned = await plan(database, DAY, "planned")
    change = await switched(database, berlin(DAY, 7), berlin(DAY, 13, 59))
    assert await states(database, planned) == ["planned"]
    run = await row(database, dispatch_runs, id=planned.run_id)
    assert (run["state"], run["due_at"]) == ("open", berlin(DAY, 13, 59))
    assert change.notes == ["An: next dispatch 2026-11-26 08:00 (Europe/Berlin)"]


async def test_d4_the_catch_up_time_counts_from_the_later_of_send_moment_and_switch_off(database: Database) -> None:
    await apply(database, SETUP)
    planned = await plan(database, DAY, "planned")
    await switched(database, berlin(DAY, 12), berlin(DAY, 17, 59))
    assert await states(database, planned) == ["planned"]


async def test_d4_on_again_later_withdraws_what_passed_and_says_how_many(database: Database) -> None:
    await apply(database, SETUP)
    passed = await plan(database, DAY, "planned", "queued", "blocked")
    coming = await plan(database, DAY + timedelta(days=1), "planned")
    change = await switched(database, berlin(DAY, 7), berlin(DAY, 14, 1))
    assert await states(database, passed) == ["withdrawn", "withdrawn", "blocked"]
    assert await states(database, coming) == ["planned"]
    assert change.notes[0] == "2 orders whose send moment passed while Aus were withdrawn"
    order = await row(database, write_orders, id=passed.order_ids[0])
    assert (order["withdrawn_by"], order["reason"]) == ("passed_while_off", "passed while the job was off")


async def test_d4_on_starts_with_the_next_send_moment_and_tells_what_fell_out(database: Database) -> None:
    await apply(database, SETUP)
    on = berlin(DAY + timedelta(days=2), 8)  # at the dispatch time: that one has passed
    await switched(database, berlin(DAY, 7), on)
    job = await row(database, contact_jobs)
    assert (job["on_since"], job["next_occasion_day"]) == (on, DAY + timedelta(days=3))
    skipped = [(run["occasion_day"], run["state"], run["reason"]) for run in await rows(database, dispatch_runs)]
    days = (DAY, DAY + timedelta(days=1), DAY + timedelta(days=2))
    assert skipped == [(day, "skipped", "passed while the job was off") for day in days]
    assert {run["due_at"] for run in await rows(database, dispatch_runs)} == {None}


async def test_d4_a_job_switched_on_for_the_first_time_missed_nothing(database: Database) -> None:
    await apply(database, SETUP)
    await create_job(database, {"name": "Neu", **NEW}, author="anna", now=NOW - timedelta(days=30))
    await set_job(database, "Neu", {"status": "An"}, **WHO)
    assert await rows(database, dispatch_runs) == []
    assert (await row(database, contact_jobs, name="Neu"))["next_occasion_day"] == date(2026, 11, 24)


async def test_d10_another_time_moves_what_is_planned_and_nothing_else(database: Database) -> None:
    await apply(database, SETUP)
    dispatched = await plan(database, DAY - timedelta(days=2), "sent", state="dispatched")
    planned = await plan(database, DAY, "planned", "blocked")
    before = await row(database, dispatch_runs, id=dispatched.run_id)
    await set_job(database, JOB, {"time": "10:30", "valid_days": "1", "lead_days": "2"}, **WHO)
    run = await row(database, dispatch_runs, id=planned.run_id)
    assert (run["send_at"], run["plan_from"]) == (berlin(DAY, 10, 30), berlin(DAY - timedelta(days=2), 0))
    assert run["due_at"] == NOW
    # A blocked one too: whether it may return depends on its send moment (D32).
    for order_id in planned.order_ids:
        order = await row(database, write_orders, id=order_id)
        moved = berlin(DAY, 10, 30)
        assert (order["planned_for"], order["expires_at"]) == (moved, moved + timedelta(days=1))
    assert await row(database, dispatch_runs, id=dispatched.run_id) == before
    # Today's 10:30 lies ahead, and a day that has a run keeps it.
    assert (await row(database, contact_jobs))["next_occasion_day"] == date(2026, 11, 23)


async def test_d17_another_time_zone_moves_the_send_moment(database: Database) -> None:
    await apply(database, SETUP)
    planned = await plan(database, DAY, "planned")
    await set_job(database, JOB, {"time_zone": "America/New_York"}, **WHO)
    run = await row(database, dispatch_runs, id=planned.run_id)
    assert run["send_at"] == datetime(2026, 11, 25, 13, tzinfo=UTC)


async def test_a_day_that_is_no_occasion_any_more_is_dropped_and_comes_back(database: Database) -> None:
    await apply(database, SETUP)
    planned = await plan(database, DAY, "planned", "blocked")
    await set_job(database, JOB, {"dispatch": "every_months=1 anchor=2026-12-24"}, **WHO)
    run = await row(database, dispatch_runs, id=planned.run_id)
    assert (run["state"], run["reason"], run["due_at"]) == ("skipped", "schedule changed", None)
    assert await states(database, planned) == ["withdrawn", "blocked"]
    assert (await row(database, contact_jobs))["next_occasion_day"] == date(2026, 12, 24)
    await set_job(database, JOB, {"dispatch": "rolling"}, **WHO)
    run = await row(database, dispatch_runs, id=planned.run_id)
    assert (run["state"], run["reason"], run["due_at"]) == ("open", None, NOW)
    # Synchronisation brings back what it finds to match; it brings back only what is withdrawn by 'sync'.
    assert (await row(database, write_orders, id=planned.order_ids[0]))["withdrawn_by"] == "sync"


async def test_status_and_time_can_change_together(database: Database) -> None:
    await apply(database, SETUP)
    planned = await plan(database, DAY, "planned")
    await set_job(database, JOB, {"status": "Aus"}, **WHO)
    await set_job(database, JOB, {"status": "An", "time": "11:00"}, **WHO)
    assert (await row(database, dispatch_runs, id=planned.run_id))["send_at"] == berlin(DAY, 11)
    job = await row(database, contact_jobs)
    assert (job["status"], job["next_occasion_day"]) == ("on", date(2026, 11, 23))


async def test_d2_a_copy_is_off_has_no_orders_and_the_lineage_of_its_original(database: Database) -> None:
    await apply(database, SETUP)
    await plan(database, DAY, "planned")
    await copy_job(database, JOB, "Kopie", **WHO)
    original, copy = await row(database, contact_jobs, name=JOB), await row(database, contact_jobs, name="Kopie")
    assert copy["lineage_id"] == original["lineage_id"]
    assert (copy["status"], copy["copied_from"], copy["on_since"], copy["epoch"]) == ("off", JOB, None, 1)
    assert await rows(database, write_orders, job_id=copy["id"]) == []
    (act,) = {(e["action"], e["record_name"]) for e in await rows(database, events, record_id=copy["id"], noun="job")}
    assert act == ("copy", "Kopie")


async def block(database: Database, lineage_id: int, **values: Any) -> None:
    async with database.begin() as connection:
        person = insert(persons).values(identity=f"one:blocked{values}").returning(persons.c.id)
        person_id = (await connection.execute(person)).scalar_one()
        usual = {"scope": "job", "reason": "asked", "author": "anna", "created_at": NOW}
        row = {"person_id": person_id, "lineage_id": lineage_id, **usual, **values}
        await connection.execute(insert(blocks).values(row))


async def test_d2_a_fresh_copy_begins_anew_but_carries_the_standing_blocks(database: Database) -> None:
    await apply(database, SETUP)
    original = await row(database, contact_jobs)
    await block(database, original["lineage_id"])
    await block(database, original["lineage_id"], lifted_at=NOW)
    await block(database, original["lineage_id"], scope="letter")
    await copy_job(database, JOB, "Kopie", fresh=True, **WHO)
    copy = await row(database, contact_jobs, name="Kopie")
    assert copy["lineage_id"] != original["lineage_id"]
    (carried,) = await rows(database, blocks, lineage_id=copy["lineage_id"])
    assert (carried["scope"], carried["lifted_at"]) == ("job", None)


async def test_d2_a_copy_given_another_letter_before_its_first_dispatch_begins_anew(database: Database) -> None:
    await apply(database, SETUP)
    original = await row(database, contact_jobs)
    await block(database, original["lineage_id"])
    await copy_job(database, JOB, "Kopie", **WHO)
    planned = await plan(database, DAY, "planned", name="Kopie")
    change = await set_job(database, "Kopie", {"letter": "Ende"}, **WHO)
    copy = await row(database, contact_jobs, name="Kopie")
    assert copy["lineage_id"] != original["lineage_id"]
    assert "begins anew" in change.notes[0]
    assert len(await rows(database, blocks, lineage_id=copy["lineage_id"])) == 1
    assert (await row(database, write_orders, id=planned.order_ids[0]))["lineage_id"] == copy["lineage_id"]
    assert (await row(database, dispatch_runs, id=planned.run_id))["lineage_id"] == copy["lineage_id"]
    # On its own already: another change of mind keeps it.
    await set_job(database, "Kopie", {"letter": "Geburtstag"}, **WHO)
    assert (await row(database, contact_jobs, name="Kopie"))["lineage_id"] == copy["lineage_id"]


@pytest.mark.parametrize("name", [JOB, "Kopie"])
async def test_d2_another_letter_later_keeps_the_lineage(database: Database, name: str) -> None:
    await apply(database, SETUP)
    await copy_job(database, JOB, "Kopie", **WHO)
    await plan(database, DAY, "sent", name=name, state="dispatched", released_at=NOW)
    before = await row(database, contact_jobs, name=name)
    change = await set_job(database, name, {"letter": "Ende"}, **WHO)
    assert (await row(database, contact_jobs, name=name))["lineage_id"] == before["lineage_id"]
    assert change.notes == []


async def test_d35_deleting_withdraws_what_is_open_and_keeps_the_rest_with_the_name(database: Database) -> None:
    await apply(database, SETUP)
    planned = await plan(database, DAY, "planned", "queued", "sending", "sending", "sent", "unclear", "no_address")
    past_t2 = planned.order_ids[3]
    async with database.begin() as connection:
        handed = update(write_orders).where(write_orders.c.id == past_t2)
        await connection.execute(handed.values(phase="handed_over", handed_over_at=NOW))
    assert await delete_job(database, JOB, **WHO) == 3
    expected = ["withdrawn", "withdrawn", "withdrawn", "sending", "sent", "unclear", "no_address"]
    assert await states(database, planned) == expected
    withdrawn = await row(database, write_orders, id=planned.order_ids[2])
    assert (withdrawn["withdrawn_by"], withdrawn["reason"]) == ("job_deleted", "job deleted")
    assert (withdrawn["phase"], withdrawn["lease_token"], withdrawn["lease_until"]) == (None, None, None)
    assert {(order["job_id"], order["job_name"]) for order in await rows(database, write_orders)} == {(None, JOB)}
    run = await row(database, dispatch_runs)
    assert (run["state"], run["reason"], run["due_at"]) == ("skipped", "job deleted", None)
    assert await rows(database, contact_jobs) == []
    (told,) = [e for e in await rows(database, events, action="delete") if e["noun"] == "job"]
    assert (told["record_name"], told["field"], told["new"]) == (JOB, "withdrawn_orders", "3")


async def test_d2_d3_the_list_and_the_file_show_names_and_next_dispatch(database: Database) -> None:
    await apply(database, SETUP)
    await plan(database, DAY, "planned", "planned", "sent")
    (line,) = await list_jobs(database, NOW)
    assert (line["name"], line["status"], line["query"], line["letter"]) == (
        *(JOB, "An", "Geburtstag heute", "Geburtstag"),
    )
    assert (line["planned"], line["sent"]) == (2, 1)
    file = await show_job(database, JOB, NOW)
    assert (file["sender"], file["repeat_guard_days"]) == ("user:a.weber", 30)
    assert [run["occasion_day"] for run in file["runs"]] == ["2026-11-25"]
    await set_job(database, JOB, {"status": "Aus"}, **WHO)
    (line,) = await list_jobs(database, NOW)
    assert (line["status"], line["next_dispatch"]) == ("Aus", None)
