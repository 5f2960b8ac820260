"""What people decide about a person: opt-out, blocks, and the file that shows them (D25, D26, D32)."""

from datetime import timedelta
from typing import Any

import pytest

from shared.db import person_commands as people
from shared.db.jobs import copy_job, delete_job
from shared.db.order_commands import block as block_order
from shared.db.order_commands import unblock as unblock_order
from shared.db.person_file import show_person
from shared.db.tables import blocks, events
from shared.errors import InvalidInput, NotFound, Refused
from tests.services.setup_files import rows
from tests.services.world import DAY, JOB, MORNING, SETUP, World

#: Two applications of one person, and somebody else.
PEOPLE = ("A1,S1,Eins,a1@x.example,Neu,", "A2,S1,Eins,a2@x.example,Pool,", "B1,,Zwei,b1@x.example,Neu,")
SECOND = '  - {name: Zweiter, status: An, query: Neue, letter: Brief, dispatch: rolling, time: "09:00"}\n'
EIGHT = MORNING + timedelta(hours=1)


async def opt_out(world: World, application: str = "A1") -> people.Stopped:
    return await people.opt_out(world.database, application, reason="Anruf", author="anna", now=world.clock.now())


async def block(world: World, **values: Any) -> people.Stopped:
    usual: dict[str, Any] = {"application": "A2", "job": None, "until": None, "reason": "Ruhe", "author": "anna"}
    return await people.block(world.database, **usual | values, now=world.clock.now())


async def unblock(world: World, job: str | None = None) -> int:
    return await people.unblock(world.database, "A1", job=job, author="anna", now=world.clock.now())


async def file_of(world: World, application: str = "A2") -> dict[str, Any]:
    async with world.database.read() as connection:
        return await show_person(connection, application)


async def test_d25_opting_out_stops_what_is_planned_and_on_its_way_for_all_applications(world: World) -> None:
    await world.queued(*PEOPLE)
    assert await opt_out(world, "A2") == people.Stopped(1, 0)
    assert await opt_out(world) == people.Stopped(changed=False)
    assert (await world.order("A1"))["reason"] == "opted out"
    world.clock.set(EIGHT + timedelta(days=40))
    await world.turn()
    assert {r["external_id"] for r in await world.rows(DAY + timedelta(days=40))} == {"B1"}
    (event,) = await rows(world.database, events, action="opt_out")
    assert (event["author"], event["reason"]) == ("anna", "Anruf")


async def test_d33_opting_out_meets_a_claim_before_its_hand_over_and_is_too_late_after_it(world: World) -> None:
    ids = await world.queued(*PEOPLE)
    one, two = sorted((await world.claim(*ids)).orders, key=lambda order: str(order.application["external_id"]))
    assert await world.intend(two) == {two.id}
    assert await opt_out(world, "A1") == people.Stopped(1, 0)
    assert await world.intend(one) == set()
    assert await opt_out(world, "B1") == people.Stopped(0, 1)
    await world.settle(two, "sent")
    assert await world.orders() == {"A1": "withdrawn", "B1": "sent"}


async def test_d25_opting_in_lets_plans_to_come_count_the_person_again(world: World) -> None:
    await world.begin(*PEOPLE)
    await opt_out(world)
    assert (await file_of(world))["opted_out_by"] == "anna"
    await people.opt_in(world.database, "A2", author="anna", now=world.clock.now())
    await world.turn()
    assert set(await world.orders()) == {"A1", "B1"}


@pytest.mark.parametrize("job", [JOB, None])
async def test_d32_a_person_is_blocked_before_any_order_shows_and_unblocked(world: World, job: str | None) -> None:
    await world.begin(*PEOPLE, setup=SETUP + SECOND)
    assert await block(world, job=job) == people.Stopped(0, 0)
    await world.turn()
    blocked = {JOB} if job else {JOB, "Zweiter"}
    assert {r["job_name"] for r in await world.rows() if r["external_id"] == "A1"} == {JOB, "Zweiter"} - blocked
    (standing,) = (await file_of(world))["blocks"]
    assert (standing["reason"], standing["author"]) == ("Ruhe", "anna") and JOB in [*standing["jobs"], JOB]
    assert await unblock(world, job) == 1
    world.clock.advance(timedelta(minutes=6))
    await world.turn()
    assert {r["job_name"] for r in await world.rows() if r["external_id"] == "A1"} == {JOB, "Zweiter"}
    with pytest.raises(Refused, match="has no block"):
        await unblock(world, job)


async def test_d32_a_block_of_a_person_stops_orders_and_lifting_it_brings_them_back(world: World) -> None:
    await world.begin(*PEOPLE)
    await world.turn()
    assert await block(world, job=JOB) == people.Stopped(1, 0)
    assert (await world.order("A1"))["reason"] == "Ruhe (anna)"
    await unblock(world, JOB)
    assert (await world.order("A1"))["state"] == "planned"
    await block(world, job=JOB)
    world.clock.set(EIGHT + timedelta(minutes=1))
    await unblock(world, JOB)
    assert (await world.order("A1"))["reason"] == "unblocked after its send moment"


async def test_d32_a_block_survives_planning_copying_and_deletion(world: World) -> None:
    await world.begin(*PEOPLE)
    await world.turn()
    order = (await world.order("A1"))["id"]
    now, author = world.clock.now(), "anna"
    await block_order(world.database, order, scope="job", reason="Ruhe", until=None, now=now, author=author)
    await copy_job(world.database, JOB, "Kopie", author=author, now=now)
    await delete_job(world.database, JOB, author=author, now=now)
    await world.change("Kopie", status="An")
    world.clock.set(EIGHT + timedelta(days=31))
    await world.turn()
    assert {r["external_id"] for r in await world.rows() if r["job_name"] == "Kopie"} == {"B1"}
    assert (await file_of(world))["blocks"][0]["jobs"] == ["Kopie"]


async def test_d32_all_orders_that_one_block_stopped_come_back_with_it(world: World) -> None:
    await world.begin(*PEOPLE, setup=SETUP + SECOND)
    await world.turn()
    order = next(r["id"] for r in await world.rows() if (r["external_id"], r["job_name"]) == ("A1", JOB))
    now = world.clock.now()
    await block_order(world.database, order, scope="all", reason="Ruhe", until=DAY, now=now, author="anna")
    assert [r["state"] for r in await world.rows() if r["external_id"] == "A1"] == ["blocked", "blocked"]
    assert await unblock_order(world.database, order, now=now, author="bert") == "planned"
    assert [r["state"] for r in await world.rows() if r["external_id"] == "A1"] == ["planned", "planned"]
    assert [(b["lifted_by"], b["until"]) for b in await rows(world.database, blocks)] == [("bert", DAY)]


async def test_d26_the_file_shows_the_person_whatever_application_is_asked_for(world: World) -> None:
    await world.queued(*PEOPLE)
    first, second = await file_of(world, "A1"), await file_of(world, "A2")
    assert first == second and first["one_person_by"] == "duplicate set" and first["duplicate_set"] == "S1"
    assert [one["external_id"] for one in first["applications"]] == ["A1", "A2"]
    assert [(one["job"], one["state"]) for one in first["letters"]] == [(JOB, "queued")]
    with pytest.raises(NotFound, match="application 'A9'"):
        await file_of(world, "A9")


async def test_d32_a_block_without_reason_or_with_a_day_for_one_job_is_refused(world: World) -> None:
    await world.begin(*PEOPLE)
    for values in ({"reason": " "}, {"job": JOB, "until": DAY}):
        with pytest.raises(InvalidInput):
            await block(world, **values)
    assert await world.count(blocks) == 0
