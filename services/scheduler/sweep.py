"""Repairs: claims that ran out, orders that expired, doorbells that are wanted or were lost (I1, I13, I18)."""

from datetime import timedelta
from typing import Any

from shared import traces
from shared.bus.interface import Bus
from shared.bus.messages import WriteOrderReady
from shared.bus.topology import route_of
from shared.clock import Clock
from shared.db.engine import Database
from shared.db.plan_basis import forget_read_changes
from shared.db.send_slots import forget_idle_slots
from shared.db.service_instances import store_depths
from shared.db.write_orders.interventions import RESEND_AFTER
from shared.db.write_orders.upkeep import (
    choose_to_ring,
    mark_rung,
    release_manual_orders,
    resend_unclear,
    return_expired_claims,
    ring_lost_again,
    withdraw_expired,
)
from shared.metrics import DOORBELLS, QUEUE_MESSAGES, REPAIRS

#: Doorbells rung in one go.
RING_BATCH = 2000


async def sweep(database: Database, bus: Bus, clock: Clock, ring_again: timedelta, log: Any) -> None:
    """One pass over the rows, then the doorbells."""
    now = clock.now()
    async with database.begin() as connection:
        repaired = await return_expired_claims(connection, now)
        repaired["expired"] = await withdraw_expired(connection, now)
        repaired["released"] = await release_manual_orders(connection, now)
        repaired["resent"] = await resend_unclear(connection, now, RESEND_AFTER)
        await forget_idle_slots(connection, now)
    await forget_read_changes(database, now)
    for repair, count in repaired.items():
        REPAIRS.labels(repair).inc(count)
    if any(repaired.values()):
        log.info("sweep", action="sweep", **repaired)
    if bus.ready:
        await measure(database, bus, clock, ring_again)
        await ring(database, bus, clock, log)
    else:
        QUEUE_MESSAGES.clear()  # unknown, not as they were


async def measure(database: Database, bus: Bus, clock: Clock, ring_again: timedelta) -> None:
    """Stores the queue depths; an empty queue shows which doorbells were lost."""
    depths = await bus.depths()
    for depth in depths:
        QUEUE_MESSAGES.labels(depth.queue).set(depth.messages)
    now = clock.now()
    orders = route_of(WriteOrderReady).queue
    empty = all(depth.messages == 0 for depth in depths if depth.queue == orders)
    async with database.begin() as connection:
        await store_depths(connection, [(d.queue, d.messages, d.consumers) for d in depths], now)
        if empty:
            await ring_lost_again(connection, now, ring_again)


async def ring(database: Database, bus: Bus, clock: Clock, log: Any) -> None:
    """Rings for queued orders whose time has come, batch by batch: choose, commit, publish, mark."""
    while True:
        chosen_at = clock.now()
        async with database.begin() as connection:
            ids = await choose_to_ring(connection, chosen_at, RING_BATCH)
        if not ids:
            return
        with traces.span("write order ready", kind="producer", orders=len(ids)) as ringing:
            parents = ringing.traceparents(len(ids), traces.LETTERS_TRACED)
            taken = await bus.publish([WriteOrderReady(order_id) for order_id in ids], parents)
        rung = [order_id for order_id, ok in zip(ids, taken, strict=True) if ok]
        async with database.begin() as connection:
            await mark_rung(connection, rung, chosen_at, clock.now())
        DOORBELLS.labels("rung").inc(len(rung))
        DOORBELLS.labels("refused").inc(len(ids) - len(rung))
        log.info("write_order_ready", action="write_order_ready", rung=len(rung), refused=len(ids) - len(rung))
        if len(rung) < len(ids):
            return
