"""Consent letters: what silence and answers lead to, and what is no silence."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from shared.db.consent_answers import ERASED, NO_QUESTION, answer_question, load_question
from shared.db.duplicates import assign_persons
from shared.db.jobs import delete_job
from shared.db.tables import applications, consent_requests, contact_entries, persons
from shared.db.timeline import person_timeline
from shared.domain.consent import Answer
from shared.errors import NotFound, Refused
from tests.services.consent_world import (
    CONSENT,
    JOB,
    LAST_DAY,
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
from tests.services.setup_files import row, rows
from tests.services.world import DAY, MORNING, World


async def in_pool(world: World, *names: str) -> None:
    async with world.database.begin() as connection:
        which = applications.c.external_id.in_(names)
        await connection.execute(update(applications).where(which).values(in_pool=True, pool_since=DAY))


async def test_a_sent_letter_asks_until_the_end_of_the_last_day(world: World) -> None:
    (order,) = await asked(world)
    found = await question(world, order)
    assert (found["asked_at"], found["answer"], found["outcome"]) == (MORNING, None, None)
    async with world.database.read() as connection:
        assert (await load_question(connection, order)).answer_by == LAST_DAY.date()
    assert await night(world, LAST_DAY) == 0
    assert await night(world) == 1


async def test_silence_rejects_and_reduces_as_the_setting_says(world: World) -> None:
    (order,) = await asked(world, setup=with_setting("at_once"))
    await in_pool(world, "A1")
    assert await night(world) == 1
    assert await outcome(world, order) == ("lapsed", None)
    assert await status_of(world) == ("rejected", True)
    assert (await application(world))["in_pool"] is False
    assert await acts(world, order) == [("consent_lapsed", "scheduler")]
    # Once more changes nothing.
    assert await night(world, SILENCE + timedelta(days=1)) == 0


@pytest.mark.parametrize("setting", ["off", "{after_months: 6}"])
async def test_silence_without_reduction_at_once_only_rejects(world: World, setting: str) -> None:
    await asked(world, setup=with_setting(setting))
    await night(world)
    found = await application(world)
    assert await status_of(world) == ("rejected", False)
    assert (found["email"], found["rejected_by_letter_at"]) == ("a1@x.example", SILENCE)


async def test_stay_renews_and_counts_as_contact(world: World) -> None:
    (order,) = await asked(world, setup=with_setting("at_once"))
    said = await answer(world, order, "stay")
    assert (said.answer, said.is_open, said.answer_by) == (Answer.STAY, True, None)
    assert await night(world) == 0
    found = await application(world)
    assert await status_of(world) == ("new", False)
    at = MORNING + timedelta(hours=1)
    person = await row(world.database, persons, id=found["person_id"])
    assert (found["last_contact_at"], person["last_contact_at"], found["last_outgoing_at"]) == (at, at, MORNING)
    assert await acts(world, order) == [("consent_stay", "candidate")]


@pytest.mark.parametrize("setting", ["off", "at_once", "{after_months: 6}"])
async def test_delete_is_carried_out_after_a_whole_day_whatever_the_setting(world: World, setting: str) -> None:
    (order,) = await asked(world, setup=with_setting(setting))
    said = await answer(world, order, "delete")
    assert said.deleted_on == DAY + timedelta(days=2)
    assert await night(world, MORNING + timedelta(days=1, hours=16)) == 0
    assert await night(world, MORNING + timedelta(days=2)) == 1
    assert await outcome(world, order) == ("deleted", None)
    assert await status_of(world) == ("rejected", True)
    assert (await application(world))["email"] is None
    assert await acts(world, order) == [("consent_delete", "candidate"), ("consent_deleted", "candidate")]
    with pytest.raises(Refused, match=ERASED):
        await answer(world, order, "stay")


async def test_the_later_answer_counts_until_it_is_carried_out(world: World) -> None:
    (order,) = await asked(world)
    await answer(world, order, "delete")
    await answer(world, order, "stay")
    assert await night(world, SILENCE) == 0
    # Consent that was renewed can be withdrawn as easily, any time.
    world.clock.set(SILENCE + timedelta(days=100))
    await answer(world, order, "delete")
    assert await night(world, SILENCE + timedelta(days=103)) == 1
    assert (await status_of(world))[1]


async def test_the_same_answer_again_changes_nothing(world: World) -> None:
    (order,) = await asked(world)
    first = await answer(world, order, "delete")
    # Else a reader who clicks every day would never be deleted.
    assert await answer(world, order, "delete", timedelta(hours=20)) == first
    assert await acts(world, order) == [("consent_delete", "candidate")]
    entries = [one for one in await rows(world.database, contact_entries) if one["direction"] == "incoming"]
    assert len(entries) == 1


async def test_an_answer_after_the_last_day_counts_while_nobody_has_carried_out_silence(world: World) -> None:
    (order,) = await asked(world)
    world.clock.set(LAST_DAY)
    await answer(world, order, "stay")
    assert await night(world) == 0
    assert await status_of(world) == ("new", False)


async def test_stay_takes_silence_back_while_nothing_is_erased(world: World) -> None:
    (order,) = await asked(world, setup=with_setting("{after_months: 6}"))
    await in_pool(world, "A1")
    await night(world)
    said = await answer(world, order, "stay", timedelta(days=5))
    assert (said.answer, said.is_lapsed) == (Answer.STAY, False)
    found = await application(world)
    assert await status_of(world) == ("new", False)
    assert (found["in_pool"], found["pool_since"], found["rejected_by_letter_at"]) == (True, DAY, None)
    assert await outcome(world, order) == (None, None)


async def test_stay_after_silence_leaves_a_status_that_somebody_has_set_since(world: World) -> None:
    (order,) = await asked(world, setup=with_setting("{after_months: 6}"))
    await night(world)
    await world.applicants(PERSON.replace("Neu", "Pool"))
    await answer(world, order, "stay")
    assert (await status_of(world))[0] == "pool"


async def test_stay_after_the_reduction_is_told_that_it_is_too_late(world: World) -> None:
    (order,) = await asked(world, setup=with_setting("at_once"))
    await night(world)
    with pytest.raises(Refused, match=ERASED):
        await answer(world, order, "stay")
    async with world.database.read() as connection:
        assert not (await load_question(connection, order)).is_open


async def test_silence_waits_while_the_job_is_aus_and_deletions_do_not(world: World) -> None:
    silent, asks = await asked(world, PERSON, "B1,,Zwei,b1@x.example,Neu,")
    await answer(world, asks, "delete")
    await world.change(JOB, status="Aus")
    assert await night(world) == 1
    assert await outcome(world, silent) == (None, None)
    assert await outcome(world, asks) == ("deleted", None)
    await world.change(JOB, status="An")
    assert await night(world, SILENCE + timedelta(days=30)) == 1
    assert await outcome(world, silent) == ("lapsed", None)


@pytest.mark.parametrize("how", ["deleted", "asks no more"])
async def test_a_job_that_is_gone_or_asks_no_more_lets_nobody_lapse(world: World, how: str) -> None:
    silent, asks = await asked(world, PERSON, "B1,,Zwei,b1@x.example,Neu,")
    if how == "deleted":
        await delete_job(world.database, JOB, author="anna", now=world.clock.now())
    else:
        await world.change(JOB, consent="", letter="Brief")
    await answer(world, asks, "delete")
    assert await night(world) == 1
    assert await outcome(world, silent) == (None, None)
    assert await status_of(world, "B1") == ("rejected", True)


async def test_delete_takes_what_else_the_person_has_in_the_pool_and_silence_does_not(world: World) -> None:
    same = ("A1,S1,Eins,a1@x.example,Neu,", "A2,S1,Eins,a1@x.example,Pool,", "A3,S1,Eins,a1@x.example,Pool,")
    others = ("B1,S2,Zwei,b1@x.example,Neu,", "B2,S2,Zwei,b1@x.example,Pool,")
    asks, _ = await asked(world, *same, *others)
    await in_pool(world, "A2", "B2")
    await answer(world, asks, "delete")
    assert await night(world) == 2
    assert [await status_of(world, name) for name in ("A1", "A2")] == [("rejected", True)] * 2
    # An application of its own outside of the pool is a recruiter's matter.
    assert await status_of(world, "A3") == ("pool", False)
    assert await status_of(world, "B1") == ("rejected", False)
    assert await status_of(world, "B2") == ("pool", False)


async def merge(world: World) -> None:
    """A1 and B1 turn out to be one person."""
    await world.applicants("A1,S1,Eins,a1@x.example,Neu,", "B1,S1,Zwei,b1@x.example,Neu,")
    async for _ in assign_persons(world.database, now=world.clock.now(), author="scheduler"):
        pass


@pytest.mark.parametrize("merged_first", [True, False])
async def test_merged_persons_have_answered_once_they_answered_one_letter(world: World, merged_first: bool) -> None:
    one, other = await asked(world, "A1,,Eins,a1@x.example,Neu,", "B1,,Zwei,b1@x.example,Neu,")
    if merged_first:
        await merge(world)
    await answer(world, one, "stay")
    if not merged_first:
        await merge(world)
    assert await night(world) == 1
    assert await outcome(world, other) == ("void", "answered another letter since")
    assert [await status_of(world, name) for name in ("A1", "B1")] == [("new", False)] * 2


@pytest.mark.parametrize("later", ["stay", "delete"])
async def test_of_merged_persons_answers_the_later_counts(world: World, later: str) -> None:
    one, other = await asked(world, "A1,,Eins,a1@x.example,Neu,", "B1,,Zwei,b1@x.example,Neu,")
    await answer(world, one, "delete")
    await answer(world, other, later)
    await merge(world)
    await night(world, MORNING + timedelta(days=3))
    kept = later == "stay"
    assert await outcome(world, one) == (("void", "answered another letter since") if kept else ("deleted", None))
    assert [(await status_of(world, name))[1] for name in ("A1", "B1")] == [not kept] * 2


async def test_who_was_reduced_meanwhile_is_left_alone(world: World) -> None:
    (order,) = await asked(world)
    async with world.database.begin() as connection:
        await connection.execute(update(applications).values(reduced_at=MORNING))
    assert await night(world) == 1
    assert await outcome(world, order) == ("void", "reduced to core data")


async def test_letters_that_ask_nothing_take_no_answer(world: World) -> None:
    (order,) = await world.queued(PERSON)
    await world.send(order)
    with pytest.raises(Refused, match=NO_QUESTION):
        await answer(world, order, "stay")
    with pytest.raises(NotFound):
        await answer_question(world.database, 4711, Answer.STAY, now=MORNING)
    assert await rows(world.database, consent_requests) == []


async def test_the_timeline_tells_who_answered_what(world: World) -> None:
    (order,) = await asked(world, setup=with_setting("{after_months: 6}"))
    await night(world)
    await answer(world, order, "stay")
    async with world.database.read() as connection:
        told = await person_timeline(connection, (await application(world))["person_id"])
    kinds = [(one["kind"], one["author"]) for one in told if one["kind"] != "letter"]
    assert kinds == [
        ("consent_stay", "candidate"),
        ("status", "candidate"),
        ("status", "scheduler"),
        ("consent_lapsed", "scheduler"),
        ("contact", None),
    ]


async def test_an_answer_that_meets_the_night_counts_or_is_told_that_it_is_too_late(world: World) -> None:
    people = [f"A{number},,Name{number},a{number}@x.example,Neu," for number in range(4)]
    orders = await asked(world, *people, setup=with_setting("at_once"))
    world.clock.set(SILENCE)

    async def say(order: int) -> bool:
        try:
            await answer_question(world.database, order, Answer.STAY, now=SILENCE)
        except Refused:
            return False
        return True

    _, *counted = await asyncio.gather(night(world), *(say(one) for one in orders))
    for order, name, stays in zip(orders, ("A0", "A1", "A2", "A3"), counted, strict=True):
        assert await outcome(world, order) == ((None, None) if stays else ("lapsed", None))
        assert (await status_of(world, name))[1] is not stays


async def test_many_are_carried_out_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.consent_outcomes.BATCH", 2)
    people = [f"A{number},,Name{number},a{number}@x.example,Neu," for number in range(5)]
    orders = await asked(world, *people)
    assert await night(world) == 5
    assert {await outcome(world, one) for one in orders} == {("lapsed", None)}


async def test_the_last_day_is_one_of_the_jobs_time_zone(world: World) -> None:
    setup = CONSENT.replace("repeat_guard_days: 365,", "repeat_guard_days: 365, time_zone: America/New_York,")
    (order,) = await asked(world, setup=setup)
    due = (await question(world, order))["due_at"]
    assert due == datetime.fromisoformat("2026-12-24T00:00:00-05:00")
