"""A mailer that stands still between T2 and the dot (SIGSTOP, a paused machine) for longer than the lease (I11, C6)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shared.db.tables import write_orders
from tests.services.setup_files import row
from tests.services.smtp_sending import pool_for
from tests.services.test_decisions import decide
from tests.services.test_handing_over import deliver_one, deliverer_of, expire
from tests.services.world import World


@pytest.mark.parametrize("meanwhile", ["nothing", "unclear", "failed"])
async def test_i11_c6_no_dot_is_written_when_the_reply_s_lease_is_over(
    world: World, tmp_path: Path, meanwhile: str
) -> None:
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        sending._pool = pool_for(oracle, reply_lease=0.2)
        ask = sending.intents.submit

        async def stopped_after(handing: Any) -> bool:
            granted = await ask(handing)
            assert granted
            if meanwhile != "nothing":
                await expire(world, order)
                await world.sweep()
                assert await world.state(order) == "unclear"
            if meanwhile == "failed":
                await decide(world, order, "failed")
            await asyncio.sleep(0.3)
            return granted

        sending.intents.submit = stopped_after  # type: ignore[method-assign]
        await deliver_one(sending, order)
        await sending._pool.close()
        assert oracle.mails == [] and oracle.ledger == []
    ended = await row(world.database, write_orders, id=order)
    # Not handed over, whoever thought so meanwhile: it goes again, unless a person has decided.
    assert ended["state"] == ("failed" if meanwhile == "failed" else "queued")
    assert meanwhile == "failed" or ended["handed_over_at"] is None
