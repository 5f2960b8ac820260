"""Consent letters, answered with "delete me": no letter meanwhile, and no import brings anybody back (D25, S29)."""

from datetime import timedelta

import pytest

from shared.db import person_commands as people
from shared.db.opt_outs import TO_BE_DELETED
from shared.db.suppressions import settle_waiting_wishes
from shared.db.tables import events, persons, suppressions
from tests.services.consent_world import JOB, PERSON, SILENCE, answer, asked, night, outcome, status_of, with_setting
from tests.services.setup_files import row, rows
from tests.services.test_suppressions import erase, holds
from tests.services.world import World

OPTED_OUT = {"opted_out_at"}


async def opt_out(world: World) -> bool:
    world.clock.advance(timedelta(minutes=1))
    now = world.clock.now()
    return (await people.opt_out(world.database, "A1", reason=None, author="candidate", now=now)).changed


async def opt_in(world: World) -> None:
    world.clock.advance(timedelta(minutes=1))
    await people.opt_in(world.database, "A1", author="candidate", now=world.clock.now())


@pytest.mark.parametrize("stage", ["queued", "claimed"])
async def test_d25_who_asks_to_be_deleted_is_not_written_to_from_that_moment(world: World, stage: str) -> None:
    (order,) = await asked(world)
    await world.run("Gruß")
    (other,) = await world.turn()
    held = (await world.claim(other)).orders if stage == "claimed" else []
    await answer(world, order, "delete")
    assert await holds(world, "A1") == OPTED_OUT and await world.state(other) == "withdrawn"
    assert await world.intend(*held) == set() and (await world.claim(other)).orders == []
    (event,) = await rows(world.database, events, action="opt_out")
    assert (event["noun"], event["author"], event["reason"]) == ("person", "candidate", TO_BE_DELETED)
    assert (await row(world.database, persons))["opted_out_by"] == "candidate"
    await settle_waiting_wishes(world.database)
    assert await world.count(suppressions) == 2


async def test_d25_staying_after_all_takes_back_what_the_deletion_asked_for_and_no_more(world: World) -> None:
    (order,) = await asked(world)
    await answer(world, order, "delete")
    await answer(world, order, "stay")
    assert await holds(world, "A1") == set() and await world.count(suppressions) == 0
    assert [one["action"] for one in await rows(world.database, events, noun="person")][-1] == "opt_in"
    await night(world)
    assert await outcome(world, order) == (None, None) and await status_of(world) == ("new", False)


async def test_d25_staying_leaves_an_opt_out_of_the_persons_own(world: World) -> None:
    (order,) = await asked(world)
    assert await opt_out(world)
    await answer(world, order, "delete")
    await answer(world, order, "stay")
    assert await holds(world, "A1") == OPTED_OUT


async def test_d25_an_opt_out_said_after_the_deletion_is_the_persons_own(world: World) -> None:
    (order,) = await asked(world)
    await answer(world, order, "delete")
    assert await opt_out(world) and not await opt_out(world)
    await answer(world, order, "stay")
    assert await holds(world, "A1") == OPTED_OUT


async def test_d25_staying_after_silence_opts_nobody_in_or_out(world: World) -> None:
    (order,) = await asked(world, setup=with_setting("{after_months: 6}"))
    await night(world)
    assert await outcome(world, order) == ("lapsed", None)
    await answer(world, order, "stay")
    assert await holds(world, "A1") == set() and await status_of(world) == ("new", False)
    assert await rows(world.database, events, action="opt_in") == []


async def twice_asked(world: World) -> tuple[int, int]:
    """Two consent letters to the same person, in two years."""
    (first,) = await asked(world, "A1,S1,Eins,a1@x.example,Neu,")
    await answer(world, first, "stay")
    world.clock.advance(timedelta(days=366))
    await world.run(JOB, world.clock.now().date())
    await world.turn()
    (second,) = [row["id"] for row in await world.rows() if row["job_name"] == JOB and row["state"] == "queued"]
    await world.send(second)
    return first, second


async def test_d25_whichever_letter_the_answers_are_given_to_the_last_one_counts(world: World) -> None:
    first, second = await twice_asked(world)
    await answer(world, second, "delete")
    assert await holds(world, "A1") == OPTED_OUT
    # The same answer as a year ago, by the old letter: it is a new one.
    await answer(world, first, "stay")
    assert await holds(world, "A1") == set()
    await answer(world, first, "delete")
    await answer(world, second, "delete")
    assert await holds(world, "A1") == OPTED_OUT
    await answer(world, first, "stay")
    assert await holds(world, "A1") == set()
    await night(world, world.clock.now() + timedelta(days=3))
    assert await outcome(world, second) == ("void", "answered another letter since")
    assert await status_of(world) == ("new", False)


async def test_d25_the_same_answer_again_counts_after_another_letter_was_answered(
    world: World,
) -> None:
    first, second = await twice_asked(world)
    await answer(world, second, "stay")
    await answer(world, first, "delete")
    assert await holds(world, "A1") == OPTED_OUT
    await answer(world, second, "stay")
    assert await holds(world, "A1") == set()
    await night(world, world.clock.now() + timedelta(days=3))
    assert await outcome(world, first) == ("void", "answered another letter since")


@pytest.mark.parametrize("since", ["at once", "an earlier release"])
async def test_s29_who_was_deleted_does_not_come_back_with_an_import(world: World, since: str) -> None:
    (order,) = await asked(world)
    await answer(world, order, "delete")
    if since != "at once":
        async with world.database.begin() as connection:
            await connection.execute(persons.update().values(opted_out_at=None))
            await connection.execute(suppressions.delete())
    await night(world, SILENCE)
    assert await status_of(world) == ("rejected", True)
    await world.applicants("B1,,Zwei,A1@x.example,Neu,", "C1,,Drei,c1@x.example,Neu,")
    assert await holds(world, "B1") == OPTED_OUT and await holds(world, "C1") == set()
    await erase(world, "B1")
    await world.applicants(PERSON.replace("A1,", "D1,"))
    assert await holds(world, "D1") == OPTED_OUT


async def test_d25_who_takes_part_again_before_the_deletion_is_deleted_and_not_opted_out(world: World) -> None:
    (order,) = await asked(world)
    await answer(world, order, "delete")
    await opt_in(world)
    await night(world, SILENCE)
    assert await status_of(world) == ("rejected", True) and await holds(world, "A1") == set()
