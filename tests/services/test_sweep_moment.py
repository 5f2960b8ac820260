"""The sweep takes one moment for all its statements: a lease may run out between two of them."""

import time
from typing import Any

import pytest
from sqlalchemy import event, update

from shared.db.column_types import lease_clock
from shared.db.tables import attempts, events, write_orders
from shared.db.write_orders.upkeep import return_expired_claims
from tests.services.setup_files import row, rows
from tests.services.world import World

TWO = ("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")


@pytest.mark.parametrize("phase", ["claimed", "handed_over"])
async def test_i4_i17_a_lease_that_runs_out_during_the_sweep_is_returned_as_a_whole_or_not_at_all(
    world: World, phase: str
) -> None:
    over, soon = await world.queued(*TWO)
    await world.claim(over, soon)
    for order, seconds in ((over, -1.0), (soon, 0.5)):
        values = {"phase": phase, "lease_until": lease_clock(seconds)}
        async with world.database.begin() as connection:
            await connection.execute(update(write_orders).where(write_orders.c.id == order).values(values))

    def slow_down(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE write_orders"):
            time.sleep(0.6)

    engine = world.database._writer.sync_engine
    event.listen(engine, "before_cursor_execute", slow_down)
    try:
        async with world.database.begin() as connection:
            await return_expired_claims(connection, world.clock.now())
    finally:
        event.remove(engine, "before_cursor_execute", slow_down)
    assert await world.state(over) == ("queued" if phase == "claimed" else "unclear")
    assert await world.state(soon) == "sending"
    ended = {one["order_id"] for one in await rows(world.database, attempts) if one["outcome"] is not None}
    told = {one["record_id"] for one in await rows(world.database, events, noun="order", action="unclear")}
    assert (ended, told) == (({over}, set()) if phase == "claimed" else (set(), {over}))
    assert (await row(world.database, write_orders, id=soon))["lease_token"] is not None
