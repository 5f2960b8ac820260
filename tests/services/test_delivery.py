"""From a queued order to its end on both databases: claim, last look, intent, settlement, repairs, decisions."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.db.core_data import reduce_to_core_data
from shared.db.order_commands import block
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, attempts, contact_entries, events, form_letters, persons, write_orders
from tests.services.setup_files import apply, row, rows
from tests.services.world import MORNING, SETUP, World

ONE = "A1,,Eins,a1@x.example,Neu,"
MINUTE = timedelta(minutes=1)


async def test_i3_two_mailers_never_hold_the_same_order(world: World) -> None:
    orders = await world.queued(ONE, "A2,,Zwei,a2@x.example,Neu,")
    first = await world.claim(*orders, mailer="m1")
    second = await world.claim(*orders, mailer="m2")
    assert {order.id for order in first.orders} == set(orders) and second.orders == []


async def test_an_order_before_its_time_is_not_claimed(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.settle(held, "queued", reason="451 later", not_before=world.clock.now() + MINUTE)
    assert (await world.claim(order)).orders == []
    world.clock.advance(MINUTE)
    (again,) = (await world.claim(order)).orders
    assert (again.attempt_no, again.message_id) == (2, held.message_id)


@pytest.mark.parametrize(
    ("change", "ends", "reason"),
    [
        ("A1,,Eins,a1@x.example,Pool,", "withdrawn", "no longer matches at the last look"),
        ("A1,,Eins,,Neu,", "no_address", "no e-mail address"),
        ("A1,,Eins,max@,Neu,", "no_address", "e-mail address is not valid: max@"),
    ],
)
async def test_d33_d34_the_last_look_decides_on_current_data(world: World, change: str, ends: str, reason: str) -> None:
    (order,) = await world.queued()
    await world.applicants(change)
    assert (await world.claim(order)).orders == []
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["reason"], found["attempts"]) == (ends, reason, 0)
    history = [e["new"] for e in await rows(world.database, events, noun="order", record_id=order)]
    assert history[-1] == ends


async def test_d33_who_opted_out_since_is_not_written_to(world: World) -> None:
    (order,) = await world.queued()
    await _opt_out(world)
    assert (await world.claim(order)).orders == []
    assert (await row(world.database, write_orders, id=order))["reason"] == "opted out"


async def test_d4_a_claim_of_a_job_that_is_off_puts_the_order_back(world: World) -> None:
    (order,) = await world.queued()
    await world.change(status="Aus")
    assert (await world.claim(order)).orders == []
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["reason"]) == ("planned", "job is off")


async def test_i12_a_letter_claimed_once_keeps_its_version_date_and_message_id(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.settle(held, "queued", reason="451", not_before=world.clock.now())
    await apply(world.database, SETUP.replace("Guten Tag {{", "Hallo {{"), now=world.clock.now())
    await apply(world.database, SETUP.replace("hr@firma", "hr@andere"), now=world.clock.now())
    assert (await row(world.database, form_letters, name="Brief"))["version"] > held.letter_version
    world.clock.advance(MINUTE)
    (again,) = (await world.claim(order)).orders
    same = ("letter_version", "mail_date", "message_id")
    assert [getattr(again, name) for name in same] == [getattr(held, name) for name in same]
    assert (await row(world.database, write_orders, id=order))["letter_version"] == held.letter_version


async def test_i15_an_order_that_is_claimed_again_and_again_without_outcome_ends(world: World) -> None:
    (order,) = await world.queued()
    for _ in range(5):
        assert len((await world.claim(order, lease=-1)).orders) == 1
        await world.sweep()
    assert (await world.claim(order)).orders == []
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["reason"]) == ("failed", "poison: five claims without an outcome")


async def test_i15_who_dies_with_a_poisonous_letter_does_not_share_its_fate(world: World) -> None:
    people = [f"A{number},,Nr{number},a{number}@x.example,Neu," for number in range(1, 61)]
    waiting, poison = await world.queued(*people), (await world.order("A3"))["id"]
    sizes = []
    for _ in range(60):
        held = (await world.claim(*waiting, lease=-1)).orders
        sizes.append(len(held))
        if any(order.id == poison for order in held):
            await world.sweep()  # its mailer died: no outcome for anybody
        else:
            for order in held:
                await world.settle(order, "sent")
    states = await world.orders()
    assert states.pop("A3") == "failed" and set(states.values()) == {"sent"}
    # All, all again, then fewer and fewer: what died with two mailers in a row still does not take long.
    assert sizes[:5] == [60, 60, 20, 5, 1]
    assert sizes.index(0) < 20


async def _opt_out(world: World) -> None:
    async with world.database.begin() as connection:
        await connection.execute(update(persons).values(opted_out_at=MORNING))


async def _switch_off(world: World) -> None:
    await world.change(status="Aus")


async def _switch_off_and_on(world: World) -> None:
    await world.change(status="Aus")
    await world.change(status="An")


async def _block(world: World) -> None:
    (order,) = await world.rows()
    await block(world.database, order["id"], scope="job", reason="x", until=None, now=world.clock.now(), author="anna")


async def _change_address(world: World) -> None:
    await world.applicants("A1,,Eins,neu@x.example,Neu,")


async def _change_letter(world: World) -> None:
    await apply(world.database, SETUP.replace("Guten Tag {{", "Hallo {{"), now=world.clock.now())


async def _change_query(world: World) -> None:
    await apply(world.database, SETUP.replace("in: [Neu]", "in: [Neu, Pool]"), now=world.clock.now())


async def _reduce(world: World) -> None:
    async with world.database.begin() as connection:
        settings = await load_system_settings(connection)
        ids = list((await connection.execute(select(applications.c.id))).scalars())
        await reduce_to_core_data(connection, ids, settings, world.clock.now())


@pytest.mark.parametrize(
    "meanwhile",
    [_switch_off, _switch_off_and_on, _opt_out, _block, _change_address, _change_letter, _change_query, _reduce],
)
async def test_i8_i9_i10_c52_c53_nothing_is_handed_over_after_a_change(world: World, meanwhile: Any) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await meanwhile(world)
    assert await world.intend(held) == set()
    assert (await row(world.database, write_orders, id=order))["handed_over_at"] is None


async def test_i11_without_a_valid_lease_nothing_is_handed_over(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order, lease=-1)).orders
    assert await world.intend(held) == set()
    await world.sweep()
    (taken,) = (await world.claim(order, mailer="m2")).orders
    assert await world.intend(held) == set()
    assert await world.intend(taken) == {order}
    assert await world.intend(taken) == set()  # once


async def test_i10_of_a_group_only_who_changed_is_refused(world: World) -> None:
    orders = await world.queued(ONE, "A2,,Zwei,a2@x.example,Neu,")
    held = (await world.claim(*orders)).orders
    await world.applicants("A1,,Eins,neu@x.example,Neu,")
    assert await world.intend(*held) == {(await world.order("A2"))["id"]}


async def test_i10_an_address_changed_by_another_program_is_noticed_before_the_dot(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(email="neu@x.example"))
    assert await world.intend(held) == set()


async def test_i14_an_order_past_its_validity_is_withdrawn_at_its_claim_too(world: World) -> None:
    (order,) = await world.queued()
    world.clock.advance(timedelta(days=2))
    assert (await world.claim(order)).others == {"withdrawn: expired": 1}
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["withdrawn_by"], found["reason"]) == ("withdrawn", "last_look", "expired")


async def test_i14_the_sweep_withdraws_what_nobody_claims(world: World) -> None:
    (order,) = await world.queued()
    world.clock.advance(timedelta(days=2))
    await world.sweep()
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["withdrawn_by"], found["reason"]) == ("withdrawn", "expired", "expired")


async def test_d32_i8_past_t2_a_block_comes_too_late_for_this_letter(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    answer = await block(
        world.database, order, scope="job", reason="asked", until=None, now=world.clock.now(), author="anna"
    )
    assert answer == "too late"
    await world.settle(held, "sent")
    assert await world.state(order) == "sent"
    world.clock.advance(timedelta(days=60))
    assert await world.turn() == []  # the wider block is stored


async def test_d40_an_accepted_letter_is_documented_at_once(world: World) -> None:
    (order,) = await world.queued()
    await world.send(order)
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["subject"], found["sent_at"]) == ("sent", "Guten Tag", MORNING)
    assert found["message_id"].endswith("@firma.example>")
    entry = await row(world.database, contact_entries, identity=f"order:{order}")
    assert (entry["medium"], entry["direction"], entry["at"]) == ("form_letter_mail", "outgoing", MORNING)
    application = await row(world.database, applications, external_id="A1")
    assert application["last_contact_at"] == application["last_outgoing_at"] == MORNING
    assert (await row(world.database, persons, id=application["person_id"]))["last_contact_at"] == MORNING


async def test_d40_d41_d42_a_final_rejection_sets_the_status_and_reduces(world: World) -> None:
    setup = SETUP.replace("sync_minutes: 5", "sync_minutes: 5, reduce_core_data: at_once").replace(
        "letter: Brief", "letter: Ende"
    )
    (order,) = await world.queued(setup=setup)
    await world.send(order)
    application = await row(world.database, applications, external_id="A1")
    absage = application["status_id"]
    assert absage and application["reduced_at"] == MORNING and not application["in_pool"]
    found = await row(world.database, write_orders, id=order)
    assert found["email"].startswith("hmac:") and found["message_id"].startswith("sha256:")
    (attempt,) = await rows(world.database, attempts)
    assert attempt["message_id"] is None and attempt["reply_text"] is None


async def test_d40_a_status_that_changed_since_the_claim_is_not_overwritten(world: World) -> None:
    (order,) = await world.queued(setup=SETUP.replace("letter: Brief", "letter: Ende"))
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.applicants("A1,,Eins,a1@x.example,Pool,")
    before = (await row(world.database, applications, external_id="A1"))["status_id"]
    await world.settle(held, "sent")
    assert (await row(world.database, applications, external_id="A1"))["status_id"] == before
    assert "status_not_set" in {e["action"] for e in await rows(world.database, events, noun="order")}


async def test_i6_settling_twice_or_late_changes_nothing(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    assert await world.settle(held, "sent") == {order}
    assert await world.settle(held, "sent") == set()
    assert await world.settle(held, "failed", reason="x") == set()
    assert await world.state(order) == "sent"
    assert await world.count(contact_entries) == 1


async def test_i11_a_fenced_mailer_s_answer_is_kept_but_moves_nothing(world: World) -> None:
    (order,) = await world.queued()
    (lost,) = (await world.claim(order, lease=-1)).orders
    await world.sweep()
    (held,) = (await world.claim(order, mailer="m2")).orders
    assert await world.settle(lost, "failed", reason="550 no") == set()
    assert await world.state(order) == "sending"
    first, _ = (await rows(world.database, attempts, order_id=order))[:2]
    assert first["outcome"] == "late: refused"
    await world.intend(held)
    assert await world.settle(held, "sent") == {order}


@pytest.mark.parametrize("state", ["sent", "failed", "unclear", "queued"])
async def test_several_letters_are_settled_in_one_transaction(world: World, state: str) -> None:
    orders = await world.queued(ONE, "A2,,Zwei,a2@x.example,Neu,", "A3,,Drei,a3@x.example,Neu,")
    held = (await world.claim(*orders)).orders
    assert await world.intend(*held) == set(orders)
    values = {} if state == "sent" else {"reason": "what the server said", "not_before": world.clock.now()}
    assert await world.settle_all(held, state, **values) == set(orders)
    assert {found["state"] for found in await world.rows()} == {state}


@pytest.mark.parametrize(("outcome", "ends"), [("failed", "failed"), ("unclear", "unclear"), ("queued", "queued")])
async def test_i14_every_outcome_ends_where_the_policy_says_with_its_reason(
    world: World, outcome: str, ends: str
) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    await world.settle(held, outcome, reason="what the server said", not_before=world.clock.now())
    found = await row(world.database, write_orders, id=order)
    assert (found["state"], found["reason"]) == (ends, "what the server said")
    assert await world.count(contact_entries) == 0


# Repairs


async def test_i5_a_lost_claim_returns_and_is_rung_for_at_once(world: World) -> None:
    (order,) = await world.queued()
    await world.claim(order, lease=-1)
    assert await world.turn() == [order]
    assert await world.state(order) == "queued"


async def test_i4_a_lost_hand_over_is_unclear_and_never_resent_by_itself(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.intend(held, reply_lease=-1)
    world.clock.advance(timedelta(hours=1))
    assert await world.turn() == []
    assert await world.state(order) == "unclear"
    # Nor later, when a job that is to would do so.
    world.clock.advance(timedelta(hours=1))
    assert await world.turn() == []
    assert await world.state(order) == "unclear"
    # The answer of that very attempt still counts, from the mailer or from its journal (I20).
    assert await world.settle(held, "sent") == {order}
    assert await world.state(order) == "sent"
