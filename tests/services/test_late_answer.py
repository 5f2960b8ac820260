"""C7: a mailer stopped between T2 and the answer to its dot. The sweep gives it up; its answer still counts."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from services.mailer.ahead import Holding
from shared.db.tables import attempts
from shared.db.write_orders.interventions import RESEND_AFTER
from tests.services.setup_files import rows
from tests.services.test_handing_over import deliverer_of, expire, recorded
from tests.services.world import SETUP, World


@pytest.mark.parametrize("on_unclear", ["ask", "resend"])
async def test_c7_i3_i4_an_answer_after_the_lease_settles_the_order_and_one_letter_arrives(
    world: World, tmp_path: Path, on_unclear: str
) -> None:
    (order,) = await world.queued(setup=SETUP.replace("valid_days: 2", f"valid_days: 2, on_unclear: {on_unclear}"))
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        found, writing = await sending.claim([order])
        assert writing is not None
        answers: list[Callable[[], None]] = []
        write_down = oracle.write_down
        oracle.write_down = lambda entry, then: write_down(entry, partial(answers.append, then))  # type: ignore[method-assign]
        acked: list[int] = []
        holding = Holding(found.orders[0], writing, lambda: acked.append(order))
        delivering = asyncio.create_task(recorded(sending, holding))
        settling = asyncio.create_task(sending.settlements.run())
        async with asyncio.timeout(10):
            while not answers:  # noqa: ASYNC110 - stored, and the mailer waits for its 250
                await asyncio.sleep(0.01)
        # The mailer sleeps; its lease runs out, and somebody else looks.
        await expire(world, order)
        await world.sweep()
        assert await world.state(order) == "unclear"
        # Before a quarter of an hour nobody sends it again, whatever the job says about unclear letters.
        world.clock.advance(RESEND_AFTER / 2)
        await world.sweep()
        assert (await world.state(order), world.bus.taken()) == ("unclear", [])
        for answer in answers:
            answer()
        await asyncio.wait_for(delivering, 10)
        await asyncio.wait_for(sending.settlements.idle(), 10)
        settling.cancel()
        assert acked == [order]
        assert len(oracle.mails) == 1
    assert await world.state(order) == "sent"
    (attempt,) = await rows(world.database, attempts, order_id=order)
    assert attempt["outcome"] == "sent"
    # Nothing is sent again later either.
    world.clock.advance(3 * RESEND_AFTER)
    assert await world.turn() == []
