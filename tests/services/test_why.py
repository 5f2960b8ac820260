"""`query why`: for each prepared case the one true reason, and the first day on which it would match (D22)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from shared.clock import local_date
from shared.db.order_commands import block
from shared.db.system_settings import ensure_instance_id, save_system_settings
from shared.db.tables import applications, blocks, contact_jobs, dispatch_runs, persons, write_orders
from shared.db.why import explain
from shared.errors import NotFound
from tests.services.import_files import Files, lines
from tests.services.recipients_model import BERLIN
from tests.services.setup_files import apply
from tests.services.world import DAY, MORNING, World

SETUP = """
settings: {time_zone: Europe/Berlin, sender: "HR <hr@firma.example>"}
statuses: [{name: Neu, meta: new}, {name: Pool, meta: pool}, {name: Absage, meta: rejected}]
queries:
  - {name: Neue, filters: [{field: status, in: [Neu]}]}
  - {name: Erreichbar, filters: [{field: status, in: [Neu]}, {field: has_email, is: true}]}
  - {name: Geburtstag, filters: [{field: birthday_in_days, from: 0, to: 0}]}
  - {name: Still, filters: [{field: days_since_last_contact, more_than: 60}]}
  - {name: Verweilt, filters: [{field: dwell_months, more_than: 36}]}
  - {name: Eingang, filters: [{field: received_on, from: 2026-12-01, to: 2026-12-31}]}
  - {name: Python, filters: [{field: custom.skills, contains: python}]}
  - {name: Nicht Hamburg, filters: [{field: location, in: [Hamburg], negate: true}]}
  - {name: Ohne Auftrag, filters: [{field: has_email, is: true}]}
letters: [{name: Brief, subject: "Guten Tag", text: "Guten Tag"}]
jobs:
"""
COLUMNS = (
    "external_id,duplicate_set,email,status,birth_date,received_on,in_pool,pool_since,location,custom.skills,last_name"
)
TOMORROW = DAY + timedelta(days=1)
Prepare = Callable[[World], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    """An application A1 as columns, what happened to it, and what `why` says of it."""

    query: str
    columns: dict[str, str]
    reason: str
    #: First day on which the query chooses it, and on which the job's letter would go to it.
    match: date | None
    letter: date | None
    prepare: tuple[Prepare, ...] = ()
    note: str | None = None


async def one_row(world: World, **columns: str) -> None:
    values = {"external_id": "A1", "last_name": "Eins", "email": "a1@x.example"} | columns
    row = ",".join(values.get(name, "") for name in COLUMNS.split(","))
    assert not (await Files(world.database, world.folder).applications(lines(COLUMNS, row))).bad_rows


async def contact(world: World, at: str) -> None:
    file = lines("application,at,medium,direction", f"A1,{at},mail,outgoing")
    assert not (await Files(world.database, world.folder).contacts(file)).bad_rows


def a_contact(at: str) -> Prepare:
    return lambda world: contact(world, at)


def another(**columns: str) -> Prepare:
    return lambda world: one_row(world, external_id="A2", **columns)


async def sent_ten_days_ago(world: World) -> None:
    world.clock.set(MORNING - timedelta(days=10))
    await world.run("J Neue", DAY - timedelta(days=10))
    await world.send((await world.order("A1"))["id"])
    world.clock.set(MORNING)


async def sent_for_a_later_day(world: World) -> None:
    await world.run("J Neue", DAY + timedelta(days=10))
    await world.send((await world.order("A1"))["id"])


async def new_after_the_dispatch(world: World) -> None:
    world.clock.set(MORNING + timedelta(hours=2))
    await world.turn()
    await one_row(world, status="Neu")


async def off_at_its_time(world: World) -> None:
    await world.change("J Neue", status="Aus")
    world.clock.set(MORNING + timedelta(hours=2))
    await world.change("J Neue", status="An")


async def left_over(world: World) -> None:
    await world.turn()
    async with world.database.begin() as connection:
        await connection.execute(update(dispatch_runs).values(state="dispatched"))


async def withdrawn_after_an_attempt(world: World) -> None:
    await world.turn()
    values = {"state": "withdrawn", "withdrawn_by": "sync", "reason": "no longer matches", "attempts": 1}
    async with world.database.begin() as connection:
        await connection.execute(update(write_orders).values(values))


async def sent_today(world: World) -> None:
    await world.run("J Neue", DAY)
    await world.send((await world.order("A1"))["id"])


async def planned_then_blocked(world: World, scope: str, until: date | None = None) -> None:
    await world.turn()
    (order,) = [row for row in await world.rows() if row["job_name"] == "J Neue"]
    now = world.clock.now()
    await block(world.database, order["id"], scope=scope, reason="bittet um Ruhe", until=until, now=now, author="anna")


def a_block(scope: str, until: date | None = None) -> Prepare:
    return lambda world: planned_then_blocked(world, scope, until)


async def blocked_without_order(world: World, scope: str, until: date | None = None) -> None:
    async with world.database.begin() as connection:
        values = {"person_id": 1, "scope": scope, "until": until, "reason": "Ruhe", "author": "anna"}
        await connection.execute(blocks.insert().values(created_at=world.clock.now(), **values))


async def capped(world: World) -> None:
    async with world.database.begin() as connection:
        await save_system_settings(connection, {"frequency_cap_days": 7})
    await world.run("J Nicht Hamburg", DAY - timedelta(days=2))
    await world.send((await world.order("A1"))["id"])


async def switched_off(world: World) -> None:
    await world.change("J Neue", status="Aus")


async def reduced(world: World) -> None:
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(reduced_at=world.clock.now()))


async def opted_out(world: World) -> None:
    async with world.database.begin() as connection:
        await connection.execute(update(persons).values(opted_out_at=world.clock.now(), opted_out_by="selbst"))


async def no_occasion(world: World) -> None:
    await world.change("J Neue", dispatch="every_months=1 anchor=2026-01-31")


NEW = {"status": "Neu"}
CASES = {
    "gets it": Case("Neue", NEW, "gets the letter", DAY, DAY),
    "no address is asked for": Case(
        "Erreichbar", NEW | {"email": ""}, "condition 2, has_email is true: unknown", None, None
    ),
    "address not valid": Case(
        "Erreichbar", NEW | {"email": "max@"}, "condition 2, has_email is true: max@ (not valid)", None, None
    ),
    "no address is not asked for": Case(
        "Neue", NEW | {"email": ""}, "gets the letter, which ends as no_addr", DAY, DAY
    ),
    "wrong status": Case("Neue", {"status": "Absage"}, "condition 1, status in Neu: Absage", None, None),
    "blocked for the job": Case("Neue", NEW, "is blocked: bittet um Ruhe (anna)", DAY, None, (a_block("job"),)),
    "blocked for all until": Case(
        "Neue",
        NEW,
        "blocked for all jobs until 2026-12-05 by anna: Ruhe",
        DAY,
        date(2026, 12, 6),
        (lambda world: blocked_without_order(world, "all", date(2026, 12, 5)),),
    ),
    "blocked letter counts for the guard": Case(
        "Neue", NEW, "is blocked: bittet um Ruhe (anna)", DAY, DAY + timedelta(days=30), (a_block("letter"),)
    ),
    "guard": Case(
        "Neue",
        NEW,
        "repeat guard of 30 days: letter of 2026-11-13 is sent",
        DAY,
        date(2026, 12, 13),
        (sent_ten_days_ago,),
    ),
    "guard lies after": Case(
        "Neue",
        NEW,
        "repeat guard of 30 days: letter of 2026-12-03 is sent",
        DAY,
        date(2027, 1, 2),
        (sent_for_a_later_day,),
    ),
    "new after the dispatch": Case(
        "Neue",
        {"status": "Absage"},
        "the dispatch of 2026-11-23 is over: dispatched",
        DAY,
        TOMORROW,
        (new_after_the_dispatch,),
    ),
    "off at its time": Case(
        "Neue",
        NEW,
        "the dispatch of 2026-11-23 is over: skipped, passed while the job was off",
        DAY,
        TOMORROW,
        (off_at_its_time,),
    ),
    "left over of a dispatch": Case("Neue", NEW, "gets the letter", DAY, DAY, (left_over,)),
    "withdrawn after an attempt": Case(
        "Neue", NEW, "of this day is withdrawn: no longer matches", DAY, TOMORROW, (withdrawn_after_an_attempt,)
    ),
    "order of the day exists": Case("Neue", NEW, "of this day is sent", DAY, DAY + timedelta(days=30), (sent_today,)),
    "cap": Case("Neue", NEW, "cap of one letter in 7 days: J Nicht Hamburg", DAY, date(2026, 11, 28), (capped,)),
    "duplicate stands for": Case(
        "Neue",
        NEW | {"duplicate_set": "S1", "received_on": "2026-01-01"},
        "application A2 stands for the person",
        None,
        None,
        (another(status="Neu", duplicate_set="S1", received_on="2026-02-01"),),
    ),
    "a duplicate has the address": Case(
        "Neue",
        NEW | {"duplicate_set": "S1", "email": "", "received_on": "2026-03-01"},
        "gets the letter, which ends as no_address",
        DAY,
        DAY,
        (another(status="Neu", duplicate_set="S1", received_on="2026-02-01"),),
        note="application A2 of the same person has an e-mail address: add has_email to the query",
    ),
    "a duplicate that does not match has the address": Case(
        "Neue",
        NEW | {"duplicate_set": "S1", "email": ""},
        "gets the letter, which ends as no_address",
        DAY,
        DAY,
        (another(status="Absage", duplicate_set="S1"),),
        note="application A2 of the same person has an e-mail address: but it does not match the query",
    ),
    "Aus": Case("Neue", NEW, "job 'J Neue' is Aus", DAY, None, (switched_off,)),
    "reduced": Case("Neue", NEW, "reduced to core data", None, None, (reduced,)),
    "opted out": Case("Neue", NEW, "opted out of contact care", None, None, (opted_out,)),
    "no occasion": Case(
        "Neue", NEW, "2026-11-23 is no occasion of job 'J Neue'", DAY, date(2026, 11, 30), (no_occasion,)
    ),
    "contact yesterday": Case(
        "Still",
        {},
        "condition 1, days_since_last_contact more_than 60: 2026-11-22",
        date(2027, 1, 22),
        date(2027, 1, 22),
        (a_contact("2026-11-22T23:30:00+01:00"),),
    ),
    "birthday tomorrow": Case(
        "Geburtstag",
        {"birth_date": "1990-11-24"},
        "condition 1, birthday_in_days from 0, to 0: 1990-11-24",
        TOMORROW,
        TOMORROW,
    ),
    "born on 29 February": Case(
        "Geburtstag", {"birth_date": "1992-02-29"}, "1992-02-29", date(2027, 3, 1), date(2027, 3, 1)
    ),
    "birth date unknown": Case("Geburtstag", {}, "from 0, to 0: unknown", None, None),
    "dwells a month short": Case(
        "Verweilt",
        {"in_pool": "true", "pool_since": "2023-11-30"},
        "condition 1, dwell_months more_than 36: 2023-11-30",
        date(2026, 12, 30),
        date(2026, 12, 30),
    ),
    "received later": Case("Eingang", {"received_on": "2026-11-30"}, "received_on from 2026-12-01", None, None),
    "custom field lacks": Case("Python", {"custom.skills": "Java"}, "custom.skills contains python: Java", None, None),
    "negated": Case("Nicht Hamburg", {"location": "hamburg"}, "in Hamburg, negate true: hamburg", None, None),
}


async def begin(world: World, *queries: str) -> None:
    """A job 'J QUERY' for each of the queries."""
    rest = 'status: An, letter: Brief, dispatch: rolling, time: "08:00"'
    jobs = "".join(f"  - {{name: J {name}, query: {name}, {rest}}}\n" for name in queries)
    async with world.database.begin() as connection:
        await ensure_instance_id(connection)
    await apply(world.database, SETUP + (jobs or "  []\n"), now=MORNING - timedelta(hours=12))


async def why(world: World, query: str, name: str = "A1", on: date | None = None) -> dict[str, Any]:
    async with world.database.read() as connection:
        return await explain(connection, query, name, on, local_date(world.clock, BERLIN))


@pytest.mark.parametrize("name", CASES)
async def test_d22_the_one_true_reason_and_the_first_day(world: World, name: str) -> None:
    case = CASES[name]
    await begin(world, case.query, *(["Nicht Hamburg"] if capped in case.prepare else []))
    await one_row(world, **case.columns)
    for prepare in case.prepare:
        await prepare(world)
    found = await why(world, case.query)
    assert case.reason in found["reason"]
    assert (found["first_match_on"], found["note"]) == (case.match and case.match.isoformat(), case.note)
    (job,) = [one for one in found["jobs"] if one["job"] == f"J {case.query}"]
    assert job["first_letter_on"] == (case.letter and case.letter.isoformat())


async def test_d22_the_first_day_is_the_one_on_which_the_letter_goes_out(world: World) -> None:
    await begin(world, "Geburtstag")
    await one_row(world, birth_date="1990-11-26")
    first = date.fromisoformat((await why(world, "Geburtstag"))["first_match_on"])
    for days in range(5):
        world.clock.set(MORNING + timedelta(days=days, hours=2))
        await world.turn()
    greetings = [row["occasion_day"] for row in await world.rows() if row["job_name"] == "J Geburtstag"]
    assert greetings == [first] == [date(2026, 11, 26)]


async def test_d22_why_names_every_job_of_the_query_and_none_of_others(world: World) -> None:
    await begin(world, "Neue", "Python")
    await one_row(world, status="Neu")
    assert [one["job"] for one in (await why(world, "Neue"))["jobs"]] == ["J Neue"]
    found = await why(world, "Ohne Auftrag")
    assert (found["jobs"], found["reason"]) == ([], "matches, but no job uses this query")
    async with world.database.begin() as connection:
        await connection.execute(update(contact_jobs).values(query_id=1))
    assert len((await why(world, "Neue"))["jobs"]) == 2


async def test_d4_why_gives_a_job_that_is_new_after_its_time_the_next_day(world: World) -> None:
    world.clock.set(MORNING + timedelta(hours=2))
    await begin(world)
    new = 'jobs: [{name: J, status: An, query: Neue, letter: Brief, dispatch: rolling, time: "08:00"}]'
    await apply(world.database, new, now=world.clock.now())
    await one_row(world, status="Neu")
    found = await why(world, "Neue")
    assert found["reason"] == "the schedule has passed 2026-11-23"
    assert found["jobs"][0]["first_letter_on"] == TOMORROW.isoformat()


async def test_d17_why_asks_in_the_time_zone_of_each_job(world: World) -> None:
    setup = """queries:
  - {name: Gestern, filters: [{field: days_since_last_contact, more_than: 0}]}
  - {name: Heute, filters: [{field: days_since_last_contact, at_most: 0}]}
jobs:
  - {name: Nur dort, status: An, query: Heute, letter: Brief, dispatch: rolling, time: "23:00", time_zone: Asia/Tokyo}
  - {name: Berlin, status: An, query: Gestern, letter: Brief, dispatch: rolling, time: "23:00"}
  - {name: Tokio, status: An, query: Gestern, letter: Brief, dispatch: rolling, time: "23:00", time_zone: Asia/Tokyo}
"""
    await begin(world)
    await apply(world.database, setup, now=MORNING - timedelta(hours=12))
    await one_row(world)
    await contact(world, "2026-11-22T23:30:00+01:00")  # in Tokyo, it is the 23rd
    found = await why(world, "Gestern")
    assert found["first_match_on"] == DAY.isoformat() and found["reason"] == "gets the letter of Berlin"
    berlin, tokyo = found["jobs"]
    assert (berlin["stopped_by"], berlin["first_letter_on"]) == (None, DAY.isoformat())
    assert (tokyo["stopped_by"]["rule"], tokyo["first_letter_on"]) == ("time_zone", TOMORROW.isoformat())
    found = await why(world, "Heute")
    assert (found["first_match_on"], found["jobs"][0]["first_letter_on"]) == (None, DAY.isoformat())


async def test_d22_the_reasons_of_several_jobs_are_told_apart(world: World) -> None:
    await begin(world, "Neue", "Python")
    async with world.database.begin() as connection:
        await connection.execute(update(contact_jobs).values(query_id=1))
    await one_row(world, status="Neu")
    await switched_off(world)
    assert (await why(world, "Neue"))["reason"] == "gets the letter of J Python"
    await world.change("J Python", status="Aus")
    assert (await why(world, "Neue"))["reason"] == "J Neue: job 'J Neue' is Aus; J Python: job 'J Python' is Aus"


async def test_d22_an_unknown_application_is_named(world: World) -> None:
    await begin(world, "Neue")
    with pytest.raises(NotFound, match="there is no application 'A9'"):
        await why(world, "Neue", "A9")
