"""Consent letters: what is no silence - letters that may not have arrived, people of whom something else is known."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from shared.db.consent_answers import load_question
from shared.db.holds import hold_in_force, release_hold
from shared.db.order_commands import settle
from shared.db.person_commands import block, opt_out
from shared.db.tables import applications, consent_requests, contact_entries, returned_mails
from tests.services.consent_world import (
    CONSENT,
    JOB,
    PERSON,
    SILENCE,
    acts,
    answer,
    application,
    asked,
    night,
    outcome,
    question,
    status_of,
    with_setting,
)
from tests.services.setup_files import rows
from tests.services.world import MORNING, World


@pytest.mark.parametrize("state", ["unclear", "failed", "queued"])
async def test_silence_to_a_letter_that_is_not_known_to_have_arrived_is_no_answer(world: World, state: str) -> None:
    await world.begin(PERSON, setup=CONSENT)
    await world.run(JOB)
    (held,) = (await world.claim(*await world.turn())).orders
    await world.intend(held)
    later = {"not_before": SILENCE + timedelta(days=1)} if state == "queued" else {}
    await world.settle(held, state, reason="as it was", **later)
    assert await night(world, SILENCE + timedelta(days=365)) == 0
    assert await status_of(world) == ("new", False)
    assert await rows(world.database, consent_requests) == []


async def test_silence_to_nobody_without_address_is_no_answer(world: World) -> None:
    await asked(world, "A1,,Eins,,Neu,")
    assert "no_address" in {one["state"] for one in await world.rows()}
    assert await night(world) == 0


async def test_an_answer_proves_that_an_unclear_letter_arrived(world: World) -> None:
    await world.begin(PERSON, setup=CONSENT)
    await world.run(JOB)
    (held,) = (await world.claim(*await world.turn())).orders
    await world.intend(held)
    await world.settle(held, "unclear", reason="no answer")
    await answer(world, held.id, "delete")
    # Settled as sent afterwards: the question is dated, the answer stays.
    await settle(world.database, held.id, "sent", now=world.clock.now(), author="anna")
    found = await question(world, held.id)
    assert (found["asked_at"], found["answer"]) == (MORNING, "delete")
    assert await night(world, MORNING + timedelta(days=2)) == 1
    assert await status_of(world) == ("rejected", True)


async def test_settled_as_sent_by_a_person_asks_from_the_hand_over_on(world: World) -> None:
    await world.begin(PERSON, setup=CONSENT)
    await world.run(JOB)
    (held,) = (await world.claim(*await world.turn())).orders
    await world.intend(held)
    await world.settle(held, "unclear", reason="no answer")
    world.clock.advance(timedelta(days=3))
    await settle(world.database, held.id, "sent", now=world.clock.now(), author="anna")
    assert (await question(world, held.id))["asked_at"] == MORNING
    assert await night(world) == 1


async def changed_status(world: World) -> None:
    await world.applicants(PERSON.replace("Neu", "Pool"))


async def wrote_back(world: World) -> None:
    theirs = await application(world)
    entry = {"identity": "id:1", "application_id": theirs["id"], "at": MORNING + timedelta(days=1), "medium": "mail"}
    async with world.database.begin() as connection:
        await connection.execute(insert(contact_entries).values(entry | {"direction": "incoming"}))


async def opted_out(world: World) -> None:
    await opt_out(world.database, "A1", reason=None, author="anna", now=MORNING + timedelta(days=1))


async def blocked(world: World) -> None:
    who: dict[str, Any] = {"author": "anna", "now": MORNING + timedelta(days=1)}
    await block(world.database, "A1", job=None, until=None, reason="we talk", **who)


async def moved(world: World) -> None:
    await world.applicants(PERSON.replace("a1@", "new@"))


async def came_back(world: World) -> None:
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(usable_email=None))


async def was_returned(world: World) -> None:
    (order,) = [one for one in await world.rows() if one["email"] == "a1@x.example"]
    mail = {"identity": "m", "order_id": order["id"], "at": MORNING, "kind": "soft", "effect": "recorded"}
    async with world.database.begin() as connection:
        await connection.execute(insert(returned_mails).values(mail))


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (was_returned, "the letter came back"),
        (changed_status, "status changed since"),
        (wrote_back, "heard from since"),
        (opted_out, "opted out"),
        (blocked, "blocked since"),
        (moved, "address changed since"),
        (came_back, "no usable address any more"),
    ],
)
async def test_whoever_something_else_happened_to_is_not_silent(world: World, happens: Any, reason: str) -> None:
    one, other = await asked(world, PERSON, "B1,,Zwei,b1@x.example,Neu,", setup=with_setting("at_once"))
    await happens(world)
    if happens is came_back:
        other = one
    assert await night(world) == 2
    assert await outcome(world, one) == ("void", reason)
    assert not (await status_of(world))[1]
    assert await acts(world, one) == [("consent_void", "scheduler")]
    if other != one:
        assert await outcome(world, other) == ("lapsed", None)
    # What they answer later still counts.
    await answer(world, one, "delete")
    assert await night(world, SILENCE + timedelta(days=3)) == 1
    assert (await status_of(world))[1]


async def test_c56_nobody_is_silent_or_deleted_while_the_database_is_held(world: World) -> None:
    orders = await asked(world, PERSON, "B1,,Zwei,b1@x.example,Neu,")
    await answer(world, orders[1], "delete")
    async with world.database.begin() as connection:
        # A mailer handed a letter over that this database knows nothing of.
        assert await hold_in_force(connection, 1 << 40, world.clock.now())
    assert await night(world) == 0
    assert [await outcome(world, order) for order in orders] == [(None, None)] * 2
    await release_hold(world.database, author="anna", now=world.clock.now())
    assert await night(world) == 2


async def test_a_letter_that_sets_a_status_itself_lets_its_silent_readers_lapse(world: World) -> None:
    setup = CONSENT.replace('subject: "Dürfen wir?",', 'subject: "Dürfen wir?", sets_status: Pool,')
    (order,) = await asked(world, setup=setup)
    assert (await status_of(world))[0] == "pool"
    assert await night(world) == 1
    assert await outcome(world, order) == ("lapsed", None)
    assert (await status_of(world))[0] == "rejected"


async def test_an_answer_by_the_link_of_an_earlier_letter_is_one_to_the_later(world: World) -> None:
    (first,) = await asked(world, setup=CONSENT.replace("repeat_guard_days: 365,", "repeat_guard_days: 31,"))
    await answer(world, first, "stay")
    world.clock.set(SILENCE + timedelta(days=300))
    await world.run(JOB, None)
    (second,) = await world.turn()
    await world.send(second)
    async with world.database.read() as connection:
        assert (await load_question(connection, first)).answer is None
    said = await answer(world, first, "stay")
    assert said == await answer(world, first, "stay")
    assert len(await acts(world, first)) == 2
    assert await night(world, SILENCE + timedelta(days=400)) == 1
    assert await outcome(world, second) == ("void", "answered another letter since")
    assert await status_of(world) == ("new", False)


@pytest.mark.parametrize("what", ["delete", "silence"])
async def test_nobody_who_was_hired_is_rejected(world: World, what: str) -> None:
    setup = CONSENT.replace("statuses: [", "statuses: [{name: Eingestellt, meta: hired}, ")
    (order,) = await asked(world, setup=setup)
    if what == "delete":
        await answer(world, order, "delete")
    await world.applicants(PERSON.replace("Neu", "Eingestellt"))
    assert await night(world) == 1
    assert await outcome(world, order) == ("void", "hired")
    assert await status_of(world) == ("hired", False)
