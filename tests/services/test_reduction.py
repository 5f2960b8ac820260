"""Reduction to core data (D41, D42): who is due when, by which rule, and what is withdrawn with it."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from services.scheduler.chores import do_chores
from shared.db import reduction
from shared.db.core_data import reduce_to_core_data
from shared.db.engine import Database
from shared.db.holds import hold_in_force, release_hold
from shared.db.order_commands import settle
from shared.db.reduction import due_reductions, reduce_due
from shared.db.system_settings import load_system_settings
from shared.db.tables import application_statuses, applications, contact_entries, custom_fields, events, write_orders
from tests.services.command_line import CommandLine
from tests.services.import_files import Files, lines
from tests.services.setup_files import apply, row, rows
from tests.services.world import DAY, MORNING, SETUP, World

ENDING = SETUP.replace("letter: Brief", "letter: Ende").replace(
    "statuses: [", "statuses: [{name: Absage B, meta: rejected}, "
)


def with_setting(value: str, setup: str = ENDING) -> str:
    return setup.replace("sync_minutes: 5", f"sync_minutes: 5, reduce_core_data: {value}")


async def application(world: World, name: str = "A1") -> dict[str, Any]:
    return await row(world.database, applications, external_id=name)


async def due(world: World, at: datetime | None = None) -> list[tuple[str, date]]:
    async with world.database.read() as connection:
        return [(one.application, one.due_since) for one in await due_reductions(connection, at or world.clock.now())]


async def reject(world: World, **moments: datetime) -> None:
    """As if letters had rejected these applications at these moments."""
    absage = await row(world.database, application_statuses, name="Absage")
    async with world.database.begin() as connection:
        for name, at in moments.items():
            which = update(applications).where(applications.c.external_id == name)
            await connection.execute(which.values(status_id=absage["id"], rejected_by_letter_at=at))


async def reduce_now(world: World, *names: str) -> None:
    async with world.database.begin() as connection:
        ids = [(await application(world, name))["id"] for name in names]
        settings = await load_system_settings(connection)
        await reduce_to_core_data(connection, ids, settings, world.clock.now(), "anna")


async def test_d42_a_letter_that_rejects_dates_the_rejection(world: World) -> None:
    (order,) = await world.queued("A1,,Eins,a1@x.example,Neu,", setup=with_setting("{after_months: 6}"))
    await world.send(order)
    found = await application(world)
    assert (found["rejected_by_letter_at"], found["reduced_at"], found["in_pool"]) == (MORNING, None, False)


async def test_d42_a_letter_without_a_rejection_dates_none(world: World) -> None:
    (order,) = await world.queued(setup=with_setting("at_once", SETUP))
    await world.send(order)
    assert (await application(world))["rejected_by_letter_at"] is None
    assert (await application(world))["reduced_at"] is None


async def test_d42_a_letter_that_sets_another_status_takes_the_rejection_back(world: World) -> None:
    (order,) = await world.queued(setup=ENDING.replace("sets_status: Absage", "sets_status: Pool"))
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(rejected_by_letter_at=MORNING))
    await world.send(order)
    assert (await application(world))["rejected_by_letter_at"] is None


async def test_d40_d42_a_status_changed_since_the_claim_is_kept_and_nothing_is_reduced(world: World) -> None:
    (order,) = await world.queued(setup=with_setting("at_once"))
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.applicants("A1,,Eins,a1@x.example,Pool,")
    before = await application(world)
    await world.settle(held, "sent")
    after = await application(world)
    kept = ("status_id", "reduced_at", "rejected_by_letter_at", "email", "in_pool")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    (event,) = [e for e in await rows(world.database, events, noun="order") if e["action"] == "status_not_set"]
    assert event["reason"] == "status not set: changed since"


async def test_d41_who_is_rejected_leaves_the_pool(world: World) -> None:
    (order,) = await world.queued(setup=ENDING)
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(in_pool=True, pool_since=DAY))
    await world.send(order)
    assert ((await application(world))["in_pool"], (await application(world))["pool_since"]) == (False, None)


async def test_d37_d42_settled_as_sent_by_a_person_counts_from_the_hand_over(world: World) -> None:
    (order,) = await world.queued(setup=with_setting("{after_months: 1}"))
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.settle(held, "unclear", reason="no answer")
    world.clock.advance(timedelta(days=2))
    await settle(world.database, order, "sent", now=world.clock.now(), author="anna")
    assert (await application(world))["rejected_by_letter_at"] == MORNING


@pytest.mark.parametrize(
    ("status", "stays"), [("Absage", True), ("Absage B", True), ("Pool", False), ("", False), ("Neu", False)]
)
async def test_d42_only_who_is_rejected_still_is_reduced(world: World, status: str, stays: bool) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", setup=with_setting("at_once"))
    await reject(world, A1=MORNING)
    await world.applicants(f"A1,,Eins,a1@x.example,{status},")
    assert await due(world) == ([("A1", DAY)] if stays else [])
    # A recruiter's own rejection later is none of this system.
    await world.applicants("A1,,Eins,a1@x.example,Absage,")
    assert await due(world) == ([("A1", DAY)] if stays else [])


async def test_d42_a_status_that_is_no_rejection_any_more_reduces_nobody(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", setup=with_setting("at_once"))
    await reject(world, A1=MORNING)
    await apply(world.database, with_setting("at_once").replace("Absage, meta: rejected", "Absage, meta: in_process"))
    assert await due(world) == []


async def test_d42_an_import_or_apply_never_reduces(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Absage,", setup=with_setting("at_once"))
    await apply(world.database, with_setting("{after_months: 1}"))
    world.clock.advance(timedelta(days=400))
    assert await due(world) == []
    await do_chores(world.database, world.clock, world.log, asyncio.Event())
    assert (await application(world))["reduced_at"] is None


#: months, rejected at, the first moment at which it is due, since which day
TERMS = [
    (6, "2026-11-23T10:00+01:00", "2027-05-23T00:00+02:00", "2027-05-23"),
    (1, "2027-01-31T10:00+01:00", "2027-02-28T00:00+01:00", "2027-02-28"),
    (1, "2027-01-28T10:00+01:00", "2027-02-28T00:00+01:00", "2027-02-28"),
    (12, "2028-02-29T10:00+01:00", "2029-02-28T00:00+01:00", "2029-02-28"),
    (1, "2027-02-28T10:00+01:00", "2027-03-28T00:00+01:00", "2027-03-28"),
    # Past midnight in Berlin, still the day before in UTC.
    (1, "2027-03-01T00:30+01:00", "2027-04-01T00:00+02:00", "2027-04-01"),
    (1, "2027-02-28T23:30+01:00", "2027-03-28T00:00+01:00", "2027-03-28"),
]


@pytest.mark.parametrize(("months", "rejected", "moment", "since"), TERMS)
async def test_d42_months_are_counted_by_the_local_calendar(
    world: World, months: int, rejected: str, moment: str, since: str
) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", setup=with_setting(f"{{after_months: {months}}}"))
    await reject(world, A1=datetime.fromisoformat(rejected))
    at = datetime.fromisoformat(moment)
    assert await due(world, at - timedelta(seconds=1)) == []
    assert await due(world, at) == [("A1", date.fromisoformat(since))]


async def test_d42_the_scheduler_reduces_by_night_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "BATCH", 1)
    names = ("A1", "A2", "A3")
    await world.begin(
        *(f"{name},,Eins,{name}@x.example,Neu," for name in names), setup=with_setting("{after_months: 1}")
    )
    day = timedelta(days=1)
    await reject(world, A1=MORNING, A2=MORNING - day, A3=MORNING + day)
    world.clock.set(datetime(2026, 12, 23, 9, 0, tzinfo=UTC))
    await do_chores(world.database, world.clock, world.log, asyncio.Event())
    reduced = [e["record_name"] for e in await rows(world.database, events, action="reduce")]
    assert reduced == ["A2", "A1"]
    assert (await application(world, "A3"))["reduced_at"] is None
    world.clock.advance(day)
    await do_chores(world.database, world.clock, world.log, asyncio.Event())
    assert (await application(world, "A3"))["reduced_at"] == world.clock.now()


async def test_d42_off_reduces_nobody_and_at_once_the_rest_too(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", setup=with_setting("off"))
    await reject(world, A1=MORNING)
    assert [done async for done in reduce_due(world.database, now=world.clock.now(), author="anna")] == []
    await apply(world.database, with_setting("at_once"))
    assert [done async for done in reduce_due(world.database, now=world.clock.now(), author="anna")] == [1]


async def test_d42_c56_a_database_that_is_held_reduces_nobody(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", setup=with_setting("at_once"))
    await reject(world, A1=MORNING)
    now: Any = {"now": world.clock.now()}
    async with world.database.begin() as connection:
        assert await hold_in_force(connection, 1 << 40, world.clock.now())
    assert [done async for done in reduce_due(world.database, **now, author="anna")] == []
    assert (await application(world))["reduced_at"] is None
    await release_hold(world.database, author="anna", **now)
    assert [done async for done in reduce_due(world.database, **now, author="anna")] == [1]


async def test_d25_d30_d42_whatever_is_still_to_be_sent_is_withdrawn(world: World) -> None:
    orders = await world.queued(
        "A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,", "A3,,Drei,a3@x.example,Neu,"
    )
    await world.claim(orders[1])
    async with world.database.begin() as connection:
        by_hand = update(write_orders).where(write_orders.c.id == orders[2])
        await connection.execute(by_hand.values(type="manual", lineage_id=None, job_id=None, run_id=None))
    await reduce_now(world, "A1", "A2", "A3")
    found = {(order["state"], order["reason"], order["withdrawn_by"]) for order in await world.rows()}
    assert found == {("withdrawn", "reduced to core data", "reduced")}
    assert (await world.claim(*orders)).orders == []
    await world.run()
    assert set((await world.orders()).values()) == {"withdrawn"}


async def test_d42_a_letter_handed_over_meanwhile_leaves_no_traces_either(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await reduce_now(world, "A1")
    assert await world.state(order) == "sending"
    await world.settle(held, "sent", text="250 kept for a1@x.example")
    found = await world.order("A1")
    assert (found["state"], found["message_id"][:7], found["email"][:5]) == ("sent", "sha256:", "hmac:")
    (entry,) = await rows(world.database, contact_entries)
    assert (entry["subject"], entry["medium"], entry["direction"]) == (None, "form_letter_mail", "outgoing")


async def test_d26_what_belongs_to_the_person_goes_with_the_last_application(world: World) -> None:
    await world.begin("A1,S1,Eins,a1@x.example,Neu,", "A2,S1,Eins,a2@x.example,Neu,")
    files = Files(world.database, world.folder)
    await files.contacts(
        lines("external_id,person,at,medium,direction,subject", "C1,S1,2026-11-01T10:00:00Z,mail,outgoing,Anruf")
    )
    for name, left in (("A1", "Anruf"), ("A2", None)):
        await reduce_now(world, name)
        (entry,) = await rows(world.database, contact_entries)
        assert (entry["subject"], entry["medium"]) == (left, "mail")
    again = "external_id,person,at,medium,direction,subject"
    report = await files.contacts(lines(again, "C1,S1,2026-11-01T10:00:00Z,mail,outgoing,Anruf"))
    assert "reduced to core data" in report.bad_rows[0].reason


async def test_d42_what_is_listed_is_kept(world: World) -> None:
    await world.begin(setup=with_setting("at_once, core_data_keeps: [phone, title, recruiter]"))
    files = Files(world.database, world.folder)
    columns = (
        "external_id,title,recruiter,email,phone,first_name,birth_date,street,vacancy,received_on,pool_since,in_pool"
    )
    await files.applications(
        lines(columns, "A1,Dr.,a.weber,a@x.example,040 1,Eva,1990-01-01,Weg 1,Koch,2026-01-01,2026-02-01,true")
    )
    await reduce_now(world, "A1")
    found = await application(world)
    gone = {name for name, value in found.items() if value is None}
    assert {"email", "usable_email", "pool_since", "import_id"} <= gone
    kept = {"title": "Dr.", "recruiter": "a.weber", "recruiter_folded": "a.weber", "phone": "040 1", "street": "Weg 1"}
    kept |= {"first_name": "Eva", "vacancy": "Koch", "vacancy_folded": "koch", "birth_month_day": 101, "in_pool": False}
    assert {name: found[name] for name in kept} == kept
    report = await files.applications(lines("external_id,city", "A1,Kiel"))
    assert "reduced to core data" in report.bad_rows[0].reason


def test_d42_the_command_says_what_would_go_and_erases_it(cli: CommandLine) -> None:
    assert cli("reduce").out == "the setting reduce_core_data is off: nothing is reduced\n"
    cli.file("a.csv", "external_id,status,phone,email,custom.Hobby,city\nB1,Absage,1,b@x.example,Tanz,Kiel\n")
    cli.file("c.csv", "application,at,medium,direction,subject\nB1,2026-01-01T10:00:00Z,mail,outgoing,Hallo\n")
    cli.file("s.yaml", "settings: {reduce_core_data: {after_months: 1}, core_data_keeps: [email]}\n")
    for command in ("import applications a.csv", "import contacts c.csv", "apply s.yaml"):
        assert cli(*command.split()).code == 0
    assert json.loads(cli("reduce", "--dry-run", "--json").out)["applications"] == []
    asyncio.run(_rejected_long_ago(cli))
    found = json.loads(cli("reduce", "--dry-run", "--json").out)
    expected = {"application": "B1", "due_since": "2020-02-29", "fields": ["phone"]}
    expected |= {"custom_fields": 1, "contact_contents": 1, "orders": 0}
    assert found == {
        "reduce_core_data": {"after_months": 1},
        "dry_run": True,
        "reduced": 0,
        "applications": [expected],
    }
    assert "1 application would be reduced" in cli("reduce", "--dry-run").out
    assert cli("reduce").out == "1 application reduced to core data\n"
    assert json.loads(cli("reduce", "--json").out)["applications"] == []
    assert "needs 'admin'" in cli.says_one_line("reduce", KP_USER="a.weber")


async def _rejected_long_ago(cli: CommandLine) -> None:
    database = Database(f"sqlite:///{cli.database}")
    async with database.begin() as connection:
        b1 = update(applications).where(applications.c.external_id == "B1")
        await connection.execute(b1.values(rejected_by_letter_at=datetime(2020, 1, 31, 12, tzinfo=UTC)))
    await database.close()


async def test_d42_custom_fields_and_events_go(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    found = await application(world)
    event = {"at": MORNING, "author": "anna", "action": "note", "noun": "application", "record_id": found["id"]}
    async with world.database.begin() as connection:
        await connection.execute(insert(events).values(**event, field="phone", old="1", new="2", reason="typo"))
        field = {"application_id": found["id"], "name_folded": "hobby", "name": "Hobby"}
        await connection.execute(insert(custom_fields).values(**field, value="Tanz", value_folded="tanz"))
    await reduce_now(world, "A1")
    assert await world.count(custom_fields) == 0
    (kept,) = await rows(world.database, events, action="note")
    assert (kept["author"], kept["field"], kept["old"], kept["new"], kept["reason"]) == (
        "anna",
        "phone",
        None,
        None,
        None,
    )
