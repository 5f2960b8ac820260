"""A letter that the mail server is known to have accepted is never sent again, however late that is told (I20, D37)."""

from datetime import timedelta

import pytest

from services.mailer.journal import JournalEntry
from services.mailer.service import _settlement
from shared.db.order_commands import settle
from shared.db.tables import attempts, contact_entries, events
from shared.db.write_orders import outcomes
from shared.db.write_orders.claims import ClaimedOrder
from shared.db.write_orders.outcomes import Settlement
from tests.services.setup_files import row, rows
from tests.services.world import SETUP, World

AFTER_AN_OUTAGE = timedelta(minutes=16)
RESENDING = SETUP.replace("valid_days: 2", "valid_days: 2, on_unclear: resend")


async def handed_over(world: World, setup: str = SETUP, reply_lease: float = 60) -> ClaimedOrder:
    (order,) = await world.queued(setup=setup)
    (held,) = (await world.claim(order)).orders
    assert await world.intend(held, reply_lease=reply_lease) == {order}
    return held


async def decide(world: World, order_id: int, decision: str) -> None:
    await settle(world.database, order_id, decision, now=world.clock.now(), author="anna")


async def again_under_way(world: World, first: ClaimedOrder) -> ClaimedOrder:
    """The same order in another mailer's hands, after a person let it be sent again."""
    await world.settle(first, "unclear", reason="answer unknown")
    await decide(world, first.id, "resend")
    world.clock.advance(AFTER_AN_OUTAGE)
    (second,) = (await world.claim(first.id, mailer="m2")).orders
    return second


async def test_i20_c26_after_an_outage_the_waiting_answer_comes_before_a_resend(world: World) -> None:
    held = await handed_over(world, RESENDING, reply_lease=-1)
    world.clock.advance(AFTER_AN_OUTAGE)
    assert await world.turn() == [] and await world.state(held.id) == "unclear"
    world.clock.advance(timedelta(minutes=14))
    assert await world.turn() == []
    assert await world.settle(held, "sent") == {held.id}
    assert await world.state(held.id) == "sent"


async def test_d37_whose_answer_never_comes_is_sent_again_in_the_end(world: World) -> None:
    held = await handed_over(world, RESENDING, reply_lease=-1)
    await world.sweep()
    world.clock.advance(AFTER_AN_OUTAGE)
    assert await world.turn() == [held.id]


@pytest.mark.parametrize("by_now", ["queued", "claimed", "handed over", "unclear", "failed"])
async def test_i20_d37_an_accepted_letter_is_never_sent_again_however_late_its_answer_is(
    world: World, by_now: str
) -> None:
    first = await handed_over(world)
    second = await again_under_way(world, first)
    if by_now == "queued":
        await world.settle(second, "queued", reason="451", not_before=world.clock.now())
    elif by_now != "claimed":
        assert await world.intend(second) == {first.id}
    if by_now in ("unclear", "failed"):
        await world.settle(second, by_now, reason="what the server said")
    assert await world.settle(first, "sent") == {first.id}
    assert await world.state(first.id) == "sent" and await world.count(contact_entries) == 1
    assert await world.settle(first, "sent") == set()  # once
    history = await rows(world.database, events, noun="order", record_id=first.id)
    assert (history[-1]["action"], history[-1]["new"]) == ("settle", "sent")
    assert (await rows(world.database, attempts, order_id=first.id))[0]["outcome"] == "sent"
    # Nobody may go on with it: neither who holds it by now, nor who comes.
    assert await world.intend(second) == set() and await world.settle(second, "queued", reason="451") == set()
    world.clock.advance(AFTER_AN_OUTAGE)
    assert await world.turn() == [] and (await world.claim(first.id)).orders == []


@pytest.mark.parametrize("answer", ["queued", "failed", "unclear", "sent"])
async def test_i20_two_claims_of_one_order_settled_together_end_it_as_sent_once(world: World, answer: str) -> None:
    first = await handed_over(world)
    second = await again_under_way(world, first)
    assert await world.intend(second) == {first.id}
    now = world.clock.now()
    both = [
        Settlement(first.id, first.token, "sent", now, subject="Guten Tag", message_id=first.message_id),
        Settlement(first.id, second.token, answer, now, reason="what the server said"),  # type: ignore[arg-type]
    ]
    async with world.database.begin() as connection:
        assert await outcomes.settle(connection, both) == {first.id}
    assert await world.state(first.id) == "sent" and await world.count(contact_entries) == 1


async def test_i11_another_order_s_token_says_nothing_about_this_one(world: World) -> None:
    orders = await world.queued("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    first, second = (await world.claim(*orders)).orders
    async with world.database.begin() as connection:
        wrong = Settlement(first.id, second.token, "sent", world.clock.now())
        assert await outcomes.settle(connection, [wrong]) == set()
    assert await world.state(first.id) == "sending"


@pytest.mark.parametrize("how", ["a person", "a journal"])
async def test_d37_i12_evidence_stays_whoever_settles(world: World, how: str) -> None:
    first = await handed_over(world)
    seen = {"relay": "mail.example:25", "bytes": 1234, "body_hash": "abc"}
    await world.settle(first, "unclear", reason="answer unknown", **seen)
    if how == "a person":
        await decide(world, first.id, "sent")
    else:
        entry = JournalEntry(first.id, first.token, 250, "ok", world.clock.now(), "Guten Tag", first.message_id)
        async with world.database.begin() as connection:
            assert await outcomes.settle(connection, [_settlement(entry)], author="journal") == {first.id}
    told = await row(world.database, attempts, order_id=first.id)
    assert {name: told[name] for name in seen} == seen and told["outcome"] == "sent"
