"""How a mailer takes what doorbells name: a backlog in batches that grow."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from structlog import get_logger

from services.mailer.ahead import Holding
from services.mailer.service import Acks, _take_in
from shared.bus.interface import Delivery
from shared.bus.messages import WriteOrderReady
from tests.services.test_handing_over import deliverer_of
from tests.services.world import World


class Doorbells:
    """A subscription with so many messages, and then none any more."""

    def __init__(self, order_ids: Sequence[int]) -> None:
        self._waiting = [Delivery(WriteOrderReady(one), tag, 1, False, None) for tag, one in enumerate(order_ids)]
        #: For how many it was asked at a time.
        self.asked: list[int] = []

    async def batch(self, limit: int, linger: float) -> list[Delivery]:
        self.asked.append(limit)
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return taken


async def test_a_backlog_is_claimed_in_batches_that_grow_and_shrink_with_it(world: World, tmp_path: Path) -> None:
    orders = await world.queued(*(f"A{number},,Eins{number},a{number}@x.example,Neu," for number in range(16)))
    doorbells: Any = Doorbells(sorted(orders))
    claimed: asyncio.Queue[Holding] = asyncio.Queue()
    async with deliverer_of(world, tmp_path) as (sending, _, _oracle):
        left = await _take_in(sending, doorbells, claimed, Acks(doorbells), 2, 8, asyncio.Event(), get_logger())
    # Of the last batch 2 came.
    assert doorbells.asked == [2, 4, 8, 8, 4]
    assert [claimed.get_nowait().order.id for _ in range(claimed.qsize())] == sorted(orders) and left == []
