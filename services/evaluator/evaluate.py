"""The step: synchronise the run, commit, ring for what was released, ack."""

import asyncio
from typing import Any

from shared import traces
from shared.bus.interface import Bus, Delivery, Subscription
from shared.bus.messages import JobDue, WriteOrderReady
from shared.clock import Clock
from shared.db.dispatch import StepResult, synchronise
from shared.db.engine import Database
from shared.db.planner_statistics import renew_after_release
from shared.db.write_orders.upkeep import choose_to_ring, mark_rung
from shared.errors import Unavailable
from shared.metrics import EVALUATION_SECONDS, EVALUATIONS_BROKEN, RELEASED, timed
from shared.retry import retry_conflicts

#: Doorbells rung in one go.
RING_BATCH = 2000


async def evaluate(
    database: Database, bus: Bus, clock: Clock, run_id: int, log: Any, traceparent: str | None = None
) -> StepResult:
    """One run: plan or release it in one transaction, then ring. A crash in between is the sweep's to repair."""

    async def step() -> StepResult:
        async with database.begin() as connection:
            return await synchronise(connection, run_id, clock.now())

    with traces.span("evaluate", traceparent, kind="consumer", run=run_id) as span:
        with timed(EVALUATION_SECONDS):
            result = await retry_conflicts(step)
        RELEASED.inc(result.released)
        span.note(released=result.released, held=result.held is not None)
        if result.released or result.held:
            log.info("run_released", action="run_released", run=run_id, orders=result.released, held=result.held)
            await renew_after_release(database, result.released)
            await _ring(database, bus, clock, run_id)
    return result


async def _ring(database: Database, bus: Bus, clock: Clock, run_id: int) -> None:
    traced = traces.LETTERS_TRACED
    while bus.ready:
        chosen_at = clock.now()
        async with database.begin() as connection:
            ids = await choose_to_ring(connection, chosen_at, RING_BATCH, run_id)
        if not ids:
            return
        with traces.step("write order ready", kind="producer", orders=len(ids)) as ringing:
            parents = ringing.traceparents(len(ids), traced)
            taken = await bus.publish([WriteOrderReady(order_id) for order_id in ids], parents)
        traced = max(0, traced - len(ids))
        rung = [order_id for order_id, ok in zip(ids, taken, strict=True) if ok]
        async with database.begin() as connection:
            await mark_rung(connection, rung, chosen_at, clock.now())
        if len(rung) < len(ids):
            return


async def run_evaluator(database: Database, bus: Bus, clock: Clock, log: Any, stop: asyncio.Event) -> None:
    """Synchronises runs as their doorbells ring, until `stop`."""
    subscription = await bus.subscribe(JobDue, prefetch=1)
    closing = asyncio.create_task(_close_on(stop, subscription))
    try:
        while deliveries := await subscription.batch(limit=1, linger=0):
            await _deal_with(database, bus, clock, deliveries[0], subscription, log)
        await closing
    finally:
        closing.cancel()


async def _deal_with(
    database: Database, bus: Bus, clock: Clock, delivery: Delivery, subscription: Subscription, log: Any
) -> None:
    assert isinstance(delivery.message, JobDue)  # noqa: S101 - the route carries nothing else
    try:
        await evaluate(database, bus, clock, delivery.message.run_id, log, delivery.traceparent)
    except Unavailable as exc:
        # The row still says that it is due: the scheduler rings again when the database is back.
        log.warning("evaluation_postponed", action="job_due", run=delivery.message.run_id, reason=str(exc))
    except Exception:
        EVALUATIONS_BROKEN.inc()
        log.exception("evaluation_broken", action="job_due", run=delivery.message.run_id)
    await subscription.ack([delivery])


async def _close_on(stop: asyncio.Event, subscription: Subscription) -> None:
    await stop.wait()
    await subscription.close()
