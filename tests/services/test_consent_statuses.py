"""A status that rejects for want of consent goes on to do so while a job or an open question rejects with it."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from shared.db.jobs import delete_job
from shared.db.tables import application_statuses, contact_jobs
from shared.errors import InvalidInput
from tests.services.consent_world import (
    CONSENT,
    JOB,
    SILENCE,
    answer,
    application,
    asked,
    night,
    outcome,
    status_of,
)
from tests.services.setup_files import apply, row
from tests.services.world import World

POOL = "statuses: [{name: Absage, meta: pool}]"
#: Asks with another status from now on.
OTHER = CONSENT.replace("statuses: [", "statuses: [{name: Nein, meta: rejected}, ").replace(
    "status: Absage}", "status: Nein}"
)


async def meta(world: World) -> str:
    return str((await row(world.database, application_statuses, name="Absage"))["meta"])


async def refused(world: World, file: str, says: str) -> None:
    for dry_run in (True, False):
        with pytest.raises(InvalidInput, match=says) as found:
            await apply(world.database, file, dry_run=dry_run)
        assert found.value.place.endswith("statuses, 'Absage', meta") and found.value.value == "pool"
    assert await meta(world) == "rejected"


async def test_s23_a_status_that_a_job_rejects_with_keeps_its_meaning(world: World) -> None:
    await world.begin(setup=CONSENT)
    await refused(world, POOL, "job 'Einwilligung' rejects with it .* give the job another status first")
    await apply(world.database, "statuses: [{name: Ablehnung, was: Absage, meta: rejected}]")
    await apply(world.database, "statuses: [{name: Absage, was: Ablehnung, meta: rejected}]")
    # In one file with the job that lets go of it, whatever comes first there.
    await apply(world.database, OTHER.replace("{name: Absage, meta: rejected}", "{name: Absage, meta: pool}"))
    assert await meta(world) == "pool"
    # And one that comes to reject may be asked with at once.
    back = CONSENT.replace("statuses: [", "statuses: [{name: Nein, meta: offer}, ")
    await apply(world.database, back)
    assert await meta(world) == "rejected"


async def test_s23_an_open_question_keeps_the_meaning_of_its_status(world: World) -> None:
    (order,) = await asked(world)
    await apply(world.database, OTHER)
    await refused(world, POOL, "1 open consent questions reject with it; keep rejected until they are answered or over")
    await answer(world, order, "stay")
    await apply(world.database, POOL)
    assert await meta(world) == "pool"


async def test_the_silence_of_a_deleted_job_holds_no_status_and_a_deletion_does(world: World) -> None:
    first, second = await asked(world, "A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    await answer(world, second, "delete")
    await delete_job(world.database, JOB, author="anna", now=world.clock.now())
    await refused(world, POOL, "1 open consent questions")
    assert await night(world, SILENCE) == 1
    assert await outcome(world, second) == ("deleted", None) and await outcome(world, first) == (None, None)
    await apply(world.database, POOL)


async def test_who_asks_to_be_deleted_is_reduced_whatever_the_status_has_become(world: World) -> None:
    (order,) = await asked(world)
    await answer(world, order, "stay")
    await apply(world.database, OTHER)
    await apply(world.database, POOL)
    await answer(world, order, "delete")
    before = (await application(world))["status_id"]
    assert await night(world, world.clock.now() + timedelta(days=3)) == 1
    found = await application(world)
    # Nobody is put into the pool by asking to be deleted.
    assert found["reduced_at"] is not None and found["status_id"] == before and not found["in_pool"]


async def test_silence_rejects_nobody_with_a_status_that_is_no_rejection(world: World) -> None:
    (order,) = await asked(world)
    # As by a letter that is settled while the status is changed.
    async with world.database.begin() as connection:
        await connection.execute(
            update(application_statuses).where(application_statuses.c.name == "Absage").values(meta="pool")
        )
    assert await night(world) == 1
    assert await outcome(world, order) == ("void", "its status rejects no more")
    assert await status_of(world) == ("new", False)
    assert (await row(world.database, contact_jobs, name=JOB))["status"] == "on"
