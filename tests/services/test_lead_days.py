"""D12's promise: who gets which letter on which day does not depend on the lead days."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from shared.db import person_commands as people
from shared.db.tables import application_statuses, applications
from tests.services.competing_jobs import Found, a_setup, invented, live_through
from tests.services.history_guards import delete_everything
from tests.services.world import DAY, MORNING, World
from tests.sizes import size

DAYS = 5


async def lived(world: World, seed: int, leads: tuple[int, ...]) -> Found:
    """Days with data that changes early on each of them, the same for every choice of lead days."""
    rng = random.Random(seed)
    world.clock.set(MORNING)
    await world.begin(*invented(rng), setup=a_setup(rng, leads))

    async def change(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        async with world.database.begin() as connection:
            names = list((await connection.execute(select(applications.c.external_id))).scalars())
            moved = update(applications).where(applications.c.external_id.in_(chance.sample(sorted(names), 2)))
            status = select(application_statuses.c.id).where(
                application_statuses.c.name == chance.choice(["Neu", "Pool"])
            )
            await connection.execute(moved.values(status_id=status.scalar_subquery()))
        await world.applicants(
            f"N{number},{chance.choice(['', 'S1'])},Neu,n{number}@x.example,Neu,1970-11-2{number + 3}"
        )
        until = world.clock.now().date() + timedelta(days=2)
        blocked = {"job": None, "until": until, "reason": "Ruhe", "author": "anna"}
        await people.block(world.database, chance.choice(sorted(names)), now=world.clock.now(), **blocked)

    return await live_through(world, DAY, DAYS, change)


async def emptied(world: World) -> None:
    async with world.database.begin() as connection:
        await delete_everything(connection)


@pytest.mark.parametrize("seed", range(size(1, 20)))
async def test_d12_the_letters_and_their_days_are_the_same_for_all_lead_days(world: World, seed: int) -> None:
    without = await lived(world, seed, (0, 0, 0))
    await emptied(world)
    with_leads = await lived(world, seed, (3, 1, 2))
    assert without == with_leads
    assert without
