"""What people decide about orders on both databases: unclear ones, blocks, retries, deleted jobs (D32, D35, D37)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.db import person_commands as people
from shared.db.jobs import copy_job, delete_job
from shared.db.order_commands import block, retry, settle, still_blocked, unblock
from shared.db.order_list import show_order
from shared.db.tables import attempts, blocks, contact_entries, events, write_orders
from shared.db.write_orders.outcomes import settle_as_sent
from shared.db.write_orders.upkeep import resend_unclear
from shared.errors import InvalidInput, Refused
from tests.services.setup_files import row, rows
from tests.services.world import DAY, JOB, MORNING, SETUP, World

ONE = "A1,,Eins,a1@x.example,Neu,"
MINUTE = timedelta(minutes=1)
RESENDS = SETUP.replace("valid_days: 2", "valid_days: 2, on_unclear: resend")


async def decide(world: World, order_id: int, decision: str) -> None:
    await settle(world.database, order_id, decision, now=world.clock.now(), author="anna")


async def unclear(world: World, setup: str = SETUP) -> int:
    (order,) = await world.queued(setup=setup)
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.settle(held, "unclear", reason="answer unknown", bytes=1234, relay="mail.example:25", body_hash="ab12")
    return order


async def history(world: World, order: int) -> list[tuple[Any, ...]]:
    """Who moved the order from where to where."""
    found = await rows(world.database, events, noun="order", record_id=order)
    return [(one["at"], one["author"], one["action"], one["old"], one["new"], one["reason"]) for one in found]


async def test_d37_the_evidence_is_shown(world: World) -> None:
    order = await unclear(world)
    async with world.database.read() as connection:
        (attempt,) = (await show_order(connection, order))["attempt_history"]
    assert (attempt["relay"], attempt["bytes"], attempt["outcome"]) == ("mail.example:25", 1234, "unclear")
    assert attempt["message_id"].startswith("<order-") and attempt["handed_over_at"]


async def test_d37_settled_as_sent_applies_everything_dated_at_the_hand_over(world: World) -> None:
    order = await unclear(world)
    world.clock.advance(timedelta(days=1))
    await decide(world, order, "sent")
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["sent_at"]) == ("sent", MORNING) and found["message_id"].startswith("<order-")
    assert (await row(world.database, contact_entries))["at"] == MORNING
    with pytest.raises(Refused, match="is sent, not unclear"):
        await decide(world, order, "resend")


async def test_i4_i17_settled_as_sent_says_who_and_when_and_keeps_the_evidence(world: World) -> None:
    order = await unclear(world)
    world.clock.advance(timedelta(days=1))
    await decide(world, order, "sent")
    now, reason = world.clock.now(), "settled as sent by anna"
    assert await history(world, order) == [(now, "anna", "settle", "unclear", "sent", reason)]
    found = await row(world.database, attempts)
    assert (found["outcome"], found["settled_at"], found["reply_text"]) == ("sent", now, reason)
    assert (found["relay"], found["bytes"], found["body_hash"]) == ("mail.example:25", 1234, "ab12")


async def test_d37_i4_a_resend_that_is_refused_for_good_leaves_the_letter_unclear(world: World) -> None:
    order = await unclear(world)
    await decide(world, order, "resend")
    world.clock.advance(15 * MINUTE)
    (again,) = (await world.claim(order)).orders
    await world.intend(again)
    await world.settle(again, "failed", reason="553 no such user", code=553)
    # The refusal is about the second one: the first may lie in the mailbox, and the order must say so.
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["reason"]) == ("unclear", "resend stopped: 553 no such user")
    (*_, last) = await history(world, order)
    assert last == (world.clock.now(), "mailer", "refused", "sending", "unclear", "resend stopped: 553 no such user")
    assert [one["outcome"] for one in await rows(world.database, attempts)] == ["unclear", "refused"]
    # Nothing sends it a third time by itself; a person decides.
    async with world.database.begin() as connection:
        assert not await resend_unclear(connection, world.clock.now(), 15 * MINUTE)
    await decide(world, order, "failed")
    assert (await row(world.database, write_orders, id=order))["state"] == "failed"


async def test_d37_i4_a_refusal_after_definite_answers_only_fails_the_letter(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.settle(held, "queued", reason="452 later", code=452, not_before=world.clock.now())
    (again,) = (await world.claim(order)).orders
    await world.intend(again)
    await world.settle(again, "failed", reason="553 no such user", code=553)
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["reason"]) == ("failed", "553 no such user")
    assert await history(world, order) == []


async def test_i4_i17_settled_as_sent_after_a_stopped_resend_is_dated_at_the_hand_over_in_doubt(world: World) -> None:
    order = await unclear(world)
    await decide(world, order, "resend")
    world.clock.advance(15 * MINUTE)
    (again,) = (await world.claim(order)).orders
    await world.intend(again)
    await world.settle(again, "queued", reason="not now", not_before=world.clock.now())
    await world.change(status="Aus")
    assert (await world.claim(order)).orders == []
    await decide(world, order, "sent")
    assert (await row(world.database, write_orders, id=order))["sent_at"] == MORNING
    reason = "settled as sent by anna"
    assert (await history(world, order))[-1] == (world.clock.now(), "anna", "settle", "unclear", "sent", reason)
    assert [one["outcome"] for one in await rows(world.database, attempts)] == ["unclear", "deferred"]


async def test_d37_i18_a_resend_waits_for_nobody_else_s_letter(world: World) -> None:
    first, _ = await world.queued(ONE, "A2,,Zwei,a2@x.example,Neu,", setup=RESENDS)
    (held,) = (await world.claim(first)).orders
    await world.intend(held)
    await world.settle(held, "unclear", reason="answer unknown")
    world.clock.advance(16 * MINUTE)
    await world.sweep()
    assert await world.orders() == {"A1": "queued", "A2": "queued"}


async def test_d37_i18_of_two_unclear_letters_to_one_person_one_is_resent_after_the_other(world: World) -> None:
    await world.begin(ONE, setup=SETUP.replace("repeat_guard_days: 30", "repeat_guard_days: 0"))
    for _ in range(2):
        await world.run(on=None)
        (held,) = (await world.claim(*[one["id"] for one in await world.rows()])).orders
        await world.intend(held)
        await world.settle(held, "unclear", reason="answer unknown")
        world.clock.advance(timedelta(days=1))
    first, second = [one["id"] for one in await world.rows()]
    world.clock.advance(timedelta(hours=-23))
    await world.change(on_unclear="resend", valid_days="5")
    # Both are due; two under way at once would break the key, and with it every repair of this sweep and the next.
    await world.sweep()
    assert [await world.state(one) for one in (first, second)] == ["queued", "unclear"]
    await world.send(first)
    await world.sweep()
    assert [await world.state(one) for one in (first, second)] == ["sent", "queued"]


@pytest.mark.parametrize("decision", ["sent", "failed"])
async def test_i4_a_decision_that_meets_a_resend_is_refused(world: World, decision: str) -> None:
    order = await unclear(world, setup=RESENDS)
    world.clock.advance(16 * MINUTE)
    async with world.database.begin() as connection:
        assert await resend_unclear(connection, world.clock.now(), 15 * MINUTE) == 1
        late = asyncio.create_task(decide(world, order, decision))
        await asyncio.sleep(0.3)
    with pytest.raises(Refused, match="is queued, not unclear"):
        await late
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["lease_token"]) == ("queued", None)
    with pytest.raises(Refused, match="not unclear any more"):
        async with world.database.begin() as connection:
            evidence = {"at": world.clock.now()}
            await settle_as_sent(connection, order, evidence, now=world.clock.now(), author="anna")
    assert [one[2] for one in await history(world, order)] == ["resend"]


async def test_d37_settled_as_failed_sends_nothing(world: World) -> None:
    order = await unclear(world)
    await decide(world, order, "failed")
    assert (await row(world.database, write_orders, id=order))["reason"] == "settled as failed by anna"
    assert await world.turn() == [] and await world.count(contact_entries) == 0


async def test_d37_c7_a_resend_waits_a_quarter_of_an_hour_and_is_the_same_letter(world: World) -> None:
    order = await unclear(world)
    await decide(world, order, "resend")
    assert await world.turn() == []
    world.clock.advance(15 * MINUTE)
    assert await world.turn() == [order]
    (again,) = (await world.claim(order)).orders
    (first, *_) = await rows(world.database, attempts, order_id=order)
    assert again.message_id == first["message_id"]


async def test_d37_what_was_given_up_while_it_was_unclear_waits_and_stops_as_any_resend(world: World) -> None:
    order = await unclear(world)
    await decide(world, order, "failed")
    await retry(world.database, order, now=world.clock.now(), author="anna")
    assert await world.turn() == [] and (await world.claim(order)).orders == []
    world.clock.advance(14 * MINUTE)
    assert await world.turn() == [] and (await world.claim(order)).orders == []
    world.clock.advance(MINUTE)
    assert await world.turn() == [order]
    # Valid as long as at first, from then on (D19).
    assert (await row(world.database, write_orders, id=order))["expires_at"] == world.clock.now() + timedelta(days=2)
    await world.change(status="Aus")
    assert (await world.claim(order)).orders == [] and await world.state(order) == "unclear"


async def test_d37_what_was_refused_for_certain_is_tried_again_at_once(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.settle(held, "failed", reason="553 no such user", code=553)
    await retry(world.database, order, now=world.clock.now(), author="anna")
    assert await world.turn() == [order] and len((await world.claim(order)).orders) == 1


@pytest.mark.parametrize("stop", ["Aus", "deleted from the query", "expired", "swept", "blocked", "job deleted"])
async def test_d37_what_stops_a_resend_makes_it_unclear_again(world: World, stop: str) -> None:
    order = await unclear(world)
    await decide(world, order, "resend")
    world.clock.advance(15 * MINUTE)
    who = "mailer"
    if stop == "Aus":
        await world.change(status="Aus")
    elif stop == "deleted from the query":
        await world.applicants("A1,,Eins,a1@x.example,Pool,")
    elif stop == "expired":
        world.clock.advance(timedelta(days=10))
    elif stop == "swept":
        who = "sweep"
        world.clock.advance(timedelta(days=10))
        await world.sweep()
    elif stop == "blocked":
        who = "anna"
        told = {"scope": "job", "reason": "asked", "until": None, "now": world.clock.now(), "author": who}
        assert await block(world.database, order, **told) == "too late"
    else:
        who = "anna"
        await delete_job(world.database, JOB, author=who, now=world.clock.now())
    assert (await world.claim(order)).orders == []
    found = await row(world.database, write_orders, id=order)
    assert found["state"] == "unclear" and found["reason"].startswith("resend stopped: ")
    # The history says so, and names no state that the order never had (I17).
    moves = [(old, new, author) for _, author, _, old, new, _ in await history(world, order)]
    assert moves == [("unclear", "queued", "anna"), ("queued", "unclear", who)]
    assert (await history(world, order))[-1][-1] == found["reason"]


@pytest.mark.parametrize("answer", ["queued", "failed"])
async def test_d37_a_resend_that_was_not_accepted_says_nothing_about_the_first_letter(
    world: World, answer: str
) -> None:
    order = await unclear(world)
    await decide(world, order, "resend")
    world.clock.advance(15 * MINUTE)
    (again,) = (await world.claim(order)).orders
    await world.intend(again)
    await world.settle(again, answer, reason="not now", not_before=world.clock.now())
    if answer == "failed":
        await decide(world, order, "resend")
        world.clock.advance(15 * MINUTE)
    await world.change(status="Aus")
    assert (await world.claim(order)).orders == []
    assert await world.state(order) == "unclear"


async def test_d37_jobs_that_say_so_resend_by_themselves(world: World) -> None:
    order = await unclear(world, setup=RESENDS)
    assert await world.turn() == []
    world.clock.advance(15 * MINUTE + timedelta(seconds=1))
    assert await world.turn() == [order]


async def test_d32_blocked_unblocked_and_blocked_for_good(world: World) -> None:
    await world.begin(ONE)
    await world.turn()
    order = (await world.order("A1"))["id"]
    now = world.clock.now()
    answer = await block(world.database, order, scope="job", reason="asked", until=None, now=now, author="anna")
    assert answer == "blocked" and (await world.order("A1"))["reason"] == "asked (anna)"
    world.clock.advance(5 * MINUTE)
    await world.turn()
    assert await world.orders() == {"A1": "blocked"}
    assert await unblock(world.database, order, now=world.clock.now(), author="anna") == "planned"
    await block(world.database, order, scope="all", reason="asked", until=None, now=now, author="anna")
    world.clock.set(MORNING + timedelta(days=1, hours=2))
    assert await world.turn() == []
    assert await unblock(world.database, order, now=world.clock.now(), author="anna") == "withdrawn"


async def test_d13_retry_is_for_failed_and_no_address_and_refused_while_another_is_under_way(world: World) -> None:
    (order,) = await world.queued("A1,,Eins,,Neu,")
    await world.claim(order)
    assert await world.state(order) == "no_address"
    await world.applicants(ONE)
    await retry(world.database, order, now=world.clock.now(), author="anna")
    assert await world.turn() == [order]
    with pytest.raises(Refused, match="only failed and no_address"):
        await retry(world.database, order, now=world.clock.now(), author="anna")


async def test_d35_deleting_a_job_keeps_what_was_sent_with_its_name(world: World) -> None:
    first, second = await world.queued(ONE, "A2,,Zwei,a2@x.example,Neu,")
    await world.send(first)
    await delete_job(world.database, JOB, author="anna", now=world.clock.now())
    assert [await world.state(order) for order in (first, second)] == ["sent", "withdrawn"]
    assert {r["job_name"] for r in await world.rows(DAY)} == {JOB}


async def blocked_order(world: World) -> int:
    """Of two planned orders, that of A1 is blocked for this letter alone."""
    await world.begin(ONE, "A2,,Zwei,a2@x.example,Neu,")
    await world.turn()
    order = (await world.order("A1"))["id"]
    await block(world.database, order, scope="letter", reason="asked", until=None, now=MORNING, author="anna")
    return int(order)


async def test_d32_blocking_again_says_what_is_and_stores_no_block_that_outlives_the_first(world: World) -> None:
    order = await blocked_order(world)

    async def again(scope: str) -> str:
        return await block(world.database, order, scope=scope, reason="more", until=None, now=MORNING, author="anna")

    assert await again("letter") == "was blocked already"
    assert await again("job") == "was blocked already; the wider block is stored"
    assert [(b["scope"], b["reason"]) for b in await rows(world.database, blocks)] == [
        ("letter", "asked"),
        ("job", "more"),
    ]
    assert await unblock(world.database, order, now=MORNING, author="anna") == "planned"
    assert await still_blocked(world.database, order) == ["blocked for this job by anna: more"]
    world.clock.advance(6 * MINUTE)
    await world.turn()
    assert await again("letter") == "is withdrawn"
    assert await again("all") == "is withdrawn; the wider block is stored"
    assert await people.unblock(world.database, "A1", job=JOB, now=MORNING, author="anna") == 1
    assert await still_blocked(world.database, order) == ["blocked for all jobs by anna: more"]


async def test_d32_a_wide_block_covers_a_narrow_one(world: World) -> None:
    await blocked_order(world)
    order = (await world.order("A2"))["id"]
    who: dict[str, Any] = {"reason": "asked", "now": MORNING, "author": "anna"}
    assert await block(world.database, order, scope="all", until=DAY, **who) == "blocked"
    assert await block(world.database, order, scope="all", until=DAY, **who) == "was blocked already"
    # Until a day is not for good.
    assert "stored" in await block(world.database, order, scope="job", until=None, **who)


async def test_d32_a_block_until_a_day_that_has_passed_is_refused(world: World) -> None:
    await blocked_order(world)
    order, yesterday = (await world.order("A2"))["id"], DAY - timedelta(days=1)
    who: dict[str, Any] = {"reason": "asked", "now": MORNING, "author": "anna"}
    with pytest.raises(InvalidInput, match="--until: '2026-11-22': has passed"):
        await block(world.database, order, scope="all", until=yesterday, **who)
    with pytest.raises(InvalidInput, match="--until: '2026-11-22': has passed"):
        await people.block(world.database, "A2", job=None, until=yesterday, **who)
    assert await world.state(order) == "planned" and await world.count(blocks) == 1
    assert (await people.block(world.database, "A2", job=None, until=DAY, **who)).stopped == 1


async def test_d35_d32_unblocked_after_its_job_was_deleted_it_goes_the_way_of_its_siblings(world: World) -> None:
    order = await blocked_order(world)
    await copy_job(world.database, JOB, "Kopie", author="anna", now=MORNING)
    await delete_job(world.database, JOB, author="anna", now=MORNING)
    await world.change("Kopie", status="An")
    assert await unblock(world.database, order, now=MORNING, author="anna") == "withdrawn"
    gone = await row(world.database, write_orders, id=order)
    assert (gone["withdrawn_by"], gone["reason"]) == ("job_deleted", "job deleted")
    # So the copy takes both over.
    await world.turn()
    assert {(r["external_id"], r["state"], r["job_name"]) for r in await world.rows(DAY)} == {
        ("A1", "planned", "Kopie"),
        ("A2", "planned", "Kopie"),
    }


async def test_d32_d14_unblocked_after_its_day_was_dropped_it_returns_with_its_siblings(world: World) -> None:
    order = await blocked_order(world)
    await world.change(dispatch="every_months=1 anchor=2026-12-24")
    assert await unblock(world.database, order, now=MORNING, author="anna") == "withdrawn"
    assert {(r["withdrawn_by"], r["reason"]) for r in await world.rows(DAY)} == {("sync", "schedule changed")}
    await world.change(dispatch="rolling")
    await world.turn()
    assert await world.orders(DAY) == {"A1": "planned", "A2": "planned"}
