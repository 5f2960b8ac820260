"""What the database does to a letter under way: no letter fails for it, none that was sent is lost (I20, C25, C28)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError
from structlog.testing import capture_logs

from services.mailer import deliver
from services.mailer.ahead import Holding
from services.mailer.deliver import Deliverer
from shared.db.engine import Database
from shared.db.tables import write_orders
from shared.errors import Conflict, Unavailable
from tests.services.setup_files import row
from tests.services.test_handing_over import deliverer_of, recorded
from tests.services.test_lock_waits import postgres_world
from tests.services.world import World

__all__ = ["postgres_world"]
#: No list of known errors holds it.
STRANGE = InternalError("UPDATE write_orders", {}, Exception("something nobody has seen before"))


@asynccontextmanager
async def settling(sending: Deliverer) -> AsyncIterator[None]:
    """T3 is at work, and has done everything when it is left."""
    task = asyncio.create_task(sending.settlements.run())
    try:
        yield
        assert await sending.finish(20)
    finally:
        task.cancel()


async def test_i20_c29_no_free_connection_is_a_database_that_is_away(database: Database) -> None:
    """In `run all` on SQLite three services share the one connection that writes."""
    pool = database._writer.sync_engine.pool
    assert pool._timeout >= (300 if database.dialect == "sqlite" else 30)  # type: ignore[attr-defined]
    pool._timeout = 0.2  # type: ignore[attr-defined]
    try:
        async with AsyncExitStack() as others:
            for _ in range(pool.size()):  # type: ignore[attr-defined]
                await others.enter_async_context(database.begin())
            with pytest.raises(Unavailable, match="every connection is in use"):
                async with database.begin():
                    pass
    finally:
        pool._timeout = 30  # type: ignore[attr-defined]


async def test_c28_a_cancelled_statement_is_tried_again(postgres_world: World) -> None:
    with pytest.raises(Conflict):
        async with postgres_world.database.begin() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 50"))
            await connection.execute(text("SELECT pg_sleep(5)"))


async def test_i20_i14_whatever_breaks_t2_fails_no_letter_and_sends_none(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = await world.queued()

    async def breaks(*_: Any) -> set[int]:
        raise STRANGE

    monkeypatch.setattr(deliver, "intend", breaks)
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        found, writing = await sending.claim([order])
        assert writing is not None
        with capture_logs() as told:
            async with settling(sending):
                await recorded(sending, Holding(found.orders[0], writing, lambda: None))
        assert "intent_failed" in {line["event"] for line in told}
        assert oracle.mails == []
    waits = await row(world.database, write_orders, id=order)
    assert waits["state"] == "queued" and waits["reason"] == "the database did not answer before the final dot"


async def test_i15_i20_c22_a_settlement_that_breaks_holds_up_no_other_and_is_made_in_the_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = await world.queued(*(f"A{number},,Eins,a{number}@x.example,Neu," for number in range(3)))
    mended, often, at_last = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tries: list[int] = []
    settle = deliver.settle

    async def breaks(connection: Any, settlements: Sequence[Any]) -> set[int]:
        ids = [one.order_id for one in settlements]
        if orders[1] in ids and not mended.is_set():
            tries.append(len(ids))
            if len(tries) == 4:
                often.set()
            raise STRANGE
        return await settle(connection, settlements)

    monkeypatch.setattr(deliver, "settle", breaks)
    monkeypatch.setattr(deliver, "FIRST_RETRY", 0.02)
    acked: list[int] = []

    def ack(order: int) -> None:
        acked.append(order)
        if order == orders[1]:
            at_last.set()

    async with deliverer_of(world, tmp_path) as (sending, journal, oracle):
        found, writing = await sending.claim(orders)
        assert writing is not None
        for one in found.orders:
            await recorded(sending, Holding(one, writing, partial(ack, one.id)))
        with capture_logs() as told:
            async with settling(sending), asyncio.timeout(20):
                await often.wait()
                assert [await world.state(order) for order in orders] == ["sent", "sending", "sent"]
                # Until then its letter is in the journal, and its doorbell is not acked.
                assert not await sending.finish(5) and len(journal._open) == 1 and set(acked) == {orders[0], orders[2]}
                mended.set()
                await at_last.wait()
        assert len(oracle.mails) == 3 and journal._open == {}
    pauses = [line["again_in_seconds"] for line in told if line["event"] == "settlement_broken"]
    assert pauses[:3] == [0.02, 0.04, 0.08]
    # Together once, then alone, again and again.
    assert tries == [3, 1, 1, 1] + [1] * (len(tries) - 4)
    assert await world.state(orders[1]) == "sent" and set(acked) == set(orders)
