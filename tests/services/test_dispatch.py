"""From the clock to queued orders on both databases: plans, releases, guards, missed and held dispatches."""

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import update

from shared.bus.messages import WriteOrderReady
from shared.db.jobs import copy_job, delete_job
from shared.db.run_commands import job_runs, release_held
from shared.db.tables import applications, dispatch_runs, persons, write_orders
from shared.errors import Refused
from tests.services.setup_files import apply, row
from tests.services.world import DAY, JOB, MORNING, SETUP, World

EIGHT = MORNING + timedelta(hours=1)
TOMORROW = DAY + timedelta(days=1)


async def test_d10_a_rolling_job_is_dispatched_once_a_day_at_its_time(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Pool,")
    assert await world.turn() == []
    assert await world.orders() == {"A1": "planned"}  # a check window before the dispatch (D12)
    world.clock.set(EIGHT - timedelta(seconds=1))
    assert await world.turn() == []
    world.clock.set(EIGHT)
    (order,) = await world.turn()
    assert await world.orders() == {"A1": "queued"}
    for _ in range(3):
        world.clock.advance(timedelta(minutes=6))
        assert await world.turn() == []
    assert (await world.order("A1"))["id"] == order


async def test_d12_lead_days_make_the_plan_visible_earlier_and_change_nothing_else(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,,1990-11-25", "A2,,Zwei,a2@x.example,,1990-11-23")
    await world.change(query="Geburtstag", lead_days="2")
    await world.turn()
    planned = {(r["external_id"], r["occasion_day"], r["state"]) for r in await world.rows()}
    assert planned == {("A2", DAY, "planned"), ("A1", DAY + timedelta(days=2), "planned")}
    world.clock.set(EIGHT)
    await world.turn()
    assert await world.orders() == {"A2": "queued", "A1": "planned"}
    world.clock.set(EIGHT + timedelta(days=2))
    await world.turn()
    assert (await world.orders())["A1"] == "queued"


async def test_d13_the_guard_holds_between_days_and_lets_go_after_its_days(world: World) -> None:
    await world.begin("A1,S1,Eins,a1@x.example,Neu,", "A2,S1,Eins,a1@x.example,Neu,")
    world.clock.set(EIGHT)
    await world.turn()
    (first,) = await world.rows()
    await world.send(first["id"])
    for days, expected in ((1, 1), (29, 1), (30, 2)):
        world.clock.set(EIGHT + timedelta(days=days))
        await world.turn()
        assert len(await world.rows()) == expected, days


async def test_d13_planned_orders_of_an_earlier_day_count_as_if_sent(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.change(lead_days="3")
    await world.turn()
    assert [r["occasion_day"] for r in await world.rows()] == [DAY]


async def test_d13_job_run_counts_who_waits_for_another_letter_of_the_lineage_apart(world: World) -> None:
    await world.begin("A1,,Eins,,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    await world.change(repeat_guard_days="0")
    first = await world.run()
    assert (first.released, first.without_address, first.waiting) == (2, 1, 0)
    second = await world.run(on=TOMORROW)
    assert (second.released, second.without_address, second.waiting) == (0, 0, 2)


async def test_d13_no_address_stops_counting_when_the_address_changes(world: World) -> None:
    await world.begin("A1,,Eins,,Neu,")
    world.clock.set(EIGHT)
    (order,) = await world.turn()
    await world.claim(order)
    assert await world.orders() == {"A1": "no_address"}
    world.clock.set(EIGHT + timedelta(days=1))
    assert await world.turn() == []
    await world.applicants("A1,,Eins,a1@x.example,Neu,")
    world.clock.set(EIGHT + timedelta(days=2))
    assert len(await world.turn()) == 1


async def test_d14_who_no_longer_matches_is_withdrawn_and_returns_as_the_same_order(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.turn()
    planned = await world.order("A1")
    for status, state in (("Pool", "withdrawn"), ("Neu", "planned")):
        await world.applicants(f"A1,,Eins,a1@x.example,{status},")
        world.clock.advance(timedelta(minutes=5))
        await world.turn()
        assert await world.orders() == {"A1": state}
    assert (await world.order("A1"))["id"] == planned["id"]


async def test_d14_another_duplicate_is_swapped_into_the_same_order(world: World) -> None:
    await world.begin("A1,S1,Eins,a1@x.example,Neu,", "A2,S1,Eins,a2@x.example,Neu,")
    await world.turn()
    (planned,) = await world.rows()
    assert planned["external_id"] == "A2"  # the greatest external id (D23)
    await world.applicants("A2,S1,Eins,a2@x.example,Pool,")
    world.clock.advance(timedelta(minutes=5))
    await world.turn()
    (swapped,) = await world.rows()
    assert (swapped["id"], swapped["external_id"], swapped["state"]) == (planned["id"], "A1", "planned")


async def test_d14_an_order_that_was_tried_is_not_swapped(world: World) -> None:
    await world.begin("A1,S1,Eins,a1@x.example,Neu,", "A2,S1,Eins,a2@x.example,Neu,")
    await world.run()
    (tried,) = (await world.claim(*await world.turn())).orders
    await world.settle(tried, "queued", reason="451 later", not_before=world.clock.now())
    await world.change(status="Aus")
    assert (await world.claim(tried.id)).orders == []
    assert await world.orders() == {"A2": "planned"}
    await world.applicants("A2,S1,Eins,a2@x.example,Pool,")
    await world.change(status="An")
    world.clock.set(EIGHT)
    (order,) = await world.turn()
    assert (await world.claim(order)).orders == []
    assert await world.orders() == {"A2": "withdrawn"}


async def test_d14_a_change_of_the_query_is_looked_at_at_once(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Pool,")
    await world.turn()
    world.clock.advance(timedelta(seconds=1))
    changed = SETUP.replace("{field: status, in: [Neu]}", "{field: status, in: [Pool]}")
    await apply(world.database, changed, now=world.clock.now())
    await world.turn()
    assert await world.orders() == {"A1": "withdrawn", "A2": "planned"}


async def test_d16_c46_a_missed_dispatch_is_caught_up_within_the_hours_and_skipped_after_them(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.turn()
    world.clock.set(EIGHT + timedelta(hours=5, minutes=59))
    assert len(await world.turn()) == 1
    await world.applicants("A2,,Zwei,a2@x.example,Neu,")
    world.clock.set(EIGHT + timedelta(days=1, hours=6))
    assert await world.turn() == []
    skipped = await row(world.database, dispatch_runs, occasion_day=TOMORROW)
    assert (skipped["state"], skipped["recipients"]) == ("skipped", 1)
    assert "missed by more than 6 hours" in skipped["reason"]
    assert (await job_runs(world.database, JOB))[0]["reason"] == skipped["reason"]
    world.clock.advance(timedelta(hours=1))
    assert await world.turn() == []


async def test_d16_a_plan_that_was_missed_is_withdrawn_and_stays_so(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.turn()
    world.clock.set(EIGHT + timedelta(hours=7))
    await world.turn()
    order = await world.order("A1")
    assert (order["state"], order["reason"]) == ("withdrawn", "missed")
    # A person may still send to them: the same order goes out.
    assert (await world.run()).released == 1
    assert (await world.order("A1"))["id"] == order["id"]


async def test_d4_a_job_that_is_off_plans_and_releases_nothing_and_goes_on_in_time(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.turn()
    await world.change(status="Aus")
    world.clock.set(EIGHT + timedelta(minutes=1))
    assert await world.turn() == []
    assert await world.orders() == {"A1": "planned"}
    with pytest.raises(Refused, match="is Aus"):
        await world.run()
    world.clock.set(EIGHT + timedelta(hours=5))
    await world.change(status="An")
    assert len(await world.turn()) == 1


async def test_d4_nothing_expires_while_the_job_is_off(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    world.clock.set(EIGHT)
    await world.turn()
    await world.change(status="Aus")
    world.clock.set(EIGHT + timedelta(days=5))
    await world.turn()
    assert await world.orders() == {"A1": "queued"}
    await world.change(status="An")
    await world.turn()
    assert (await world.order("A1"))["state"] == "withdrawn"


async def test_d19_an_order_that_could_not_be_sent_in_time_is_withdrawn(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    world.clock.set(EIGHT)
    (order,) = await world.turn()
    world.clock.set(EIGHT + timedelta(days=2) - timedelta(seconds=1))
    await world.sweep()
    assert await world.orders() == {"A1": "queued"}
    world.clock.set(EIGHT + timedelta(days=2))
    assert (await world.claim(order)).orders == []
    assert (await world.order("A1"))["reason"] == "expired"


async def test_d27_the_cap_lets_the_more_important_letter_through(world: World) -> None:
    other = """
  - {name: Wichtig, status: An, query: Neue, letter: Brief, dispatch: rolling, time: "08:00", priority: 99}
"""
    setup = SETUP.replace("sync_minutes: 5", "sync_minutes: 5, frequency_cap_days: 7") + other.lstrip("\n")
    await world.begin("A1,,Eins,a1@x.example,Neu,", setup=setup)
    await world.turn()
    world.clock.set(EIGHT)
    await world.turn()
    open_orders = [(r["job_name"], r["state"]) for r in await world.rows() if r["state"] != "withdrawn"]
    assert open_orders == [("Wichtig", "queued")]
    world.clock.set(EIGHT + timedelta(days=7))
    await world.turn()
    await world.turn()
    assert {r["job_name"] for r in await world.rows(DAY + timedelta(days=7)) if r["state"] == "queued"} == {JOB}


async def test_d32_a_person_who_was_blocked_or_opted_out_gets_none(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    person = (await row(world.database, applications, external_id="A1"))["person_id"]
    async with world.database.begin() as connection:
        await connection.execute(update(persons).where(persons.c.id == person).values(opted_out_at=MORNING))
    world.clock.set(EIGHT)
    await world.turn()
    assert await world.orders() == {"A2": "queued"}


async def held_dispatch(world: World) -> None:
    """Ten letters yesterday, sixty held today."""
    await world.begin(*[f"A{n},,Name{n},a{n}@x.example,Neu," for n in range(10)])
    await world.change(repeat_guard_days="1")
    world.clock.set(EIGHT)
    assert len(await world.turn()) == 10
    await world.applicants(*[f"B{n},,Name{n},b{n}@x.example,Neu," for n in range(50)])
    world.clock.set(EIGHT + timedelta(days=1))
    assert await world.turn() == []


async def test_d36_s30_an_unusually_large_dispatch_waits_for_a_person(world: World) -> None:
    await held_dispatch(world)
    reasons = {r["reason"] for r in await world.rows(TOMORROW)}
    assert reasons == {"held: 60 > 30"}
    with pytest.raises(Refused, match="no held dispatch"):
        await apply(world.database, SETUP.replace("name: Gruß, status: An", "name: Leer, status: Aus"))
        await release_held(world.database, "Leer", author="anna", now=world.clock.now())
    assert await release_held(world.database, JOB, author="anna", now=world.clock.now()) == 1
    world.clock.advance(timedelta(seconds=1))
    # Ten still have yesterday's letter under way (D13).
    assert len(await world.turn()) == 50
    assert {r["state"] for r in await world.rows(TOMORROW)} == {"queued", "planned"}


async def test_i7_a_day_is_dispatched_once_however_often_it_is_run(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    assert (await world.run()).released == 1
    assert (await world.run()).released == 0
    world.clock.set(EIGHT)
    await world.turn()
    assert await world.count(write_orders) == await world.count(dispatch_runs, dispatch_runs.c.occasion_day == DAY) == 1


async def test_the_day_s_schedule_adds_only_who_newly_matches_after_a_run_by_hand(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    assert (await world.run()).released == 1
    await world.applicants("A2,,Zwei,a2@x.example,Neu,")
    world.clock.set(EIGHT)
    await world.turn()
    assert await world.orders() == {"A1": "queued", "A2": "queued"}


async def test_d2_the_repair_by_copy_repeats_nothing(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    await world.run()
    orders = {r["external_id"]: r["id"] for r in await world.rows()}
    await world.send(orders["A1"])
    who = {"author": "anna", "now": world.clock.now()}
    await copy_job(world.database, JOB, "Gruß neu", **who)  # type: ignore[arg-type]
    await delete_job(world.database, JOB, **who)  # type: ignore[arg-type]
    assert await world.orders() == {"A1": "sent", "A2": "withdrawn"}
    await world.change("Gruß neu", status="An")
    assert (await world.run("Gruß neu")).released == 1
    again = await world.order("A2")
    assert (again["id"], again["state"], again["job_name"]) == (orders["A2"], "queued", "Gruß neu")


async def test_i13_an_order_whose_doorbell_was_lost_is_rung_for_again(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.run()
    assert len(await world.turn()) == 1
    world.clock.advance(timedelta(minutes=3))
    assert await world.turn() == []  # something waits in the queue: no second one
    world.bus.waiting = 0
    (order,) = [m.order_id for m in await _rung(world)]
    assert order == (await world.order("A1"))["id"]


async def _rung(world: World) -> list[WriteOrderReady]:
    await world.sweep()
    return [message for message in world.bus.taken() if isinstance(message, WriteOrderReady)]


@pytest.mark.parametrize(
    ("change", "first", "second"),
    [  # the clock change of 2026 in Berlin: 29 March 02:00 -> 03:00, 25 October 03:00 -> 02:00
        (date(2026, 3, 29), "2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"),
        (date(2026, 10, 25), "2026-10-25T00:30:00+00:00", "2026-10-26T01:30:00+00:00"),
    ],
)
async def test_d15_c45_a_dispatch_time_in_the_clock_change_happens_once(
    world: World, change: date, first: str, second: str
) -> None:
    begin = datetime.fromisoformat(first) - timedelta(hours=20)
    await apply(world.database, SETUP.replace('"08:00"', '"02:30"'), now=begin)
    await world.applicants("A1,,Eins,a1@x.example,Neu,")
    released = []
    moment = datetime.fromisoformat(first) - timedelta(hours=2)
    while moment < datetime.fromisoformat(second) + timedelta(hours=1):
        world.clock.set(moment)
        if await world.turn():
            released.append(moment)
        moment += timedelta(minutes=15)
    assert released == [datetime.fromisoformat(first)]
    runs = await job_runs(world.database, JOB)
    sends = {run["occasion_day"]: datetime.fromisoformat(run["send_at"]) for run in runs}
    assert sends[change.isoformat()] == datetime.fromisoformat(first)
    assert sends[(change + timedelta(days=1)).isoformat()] == datetime.fromisoformat(second)
