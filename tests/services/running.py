"""The three services on one database in this process, as in `run all`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.evaluator.evaluate import run_evaluator
from services.mailer.service import run_mailer
from services.scheduler.service import run_scheduler
from shared.bus.connect import open_bus
from shared.clock import ShiftedClock
from shared.lifecycle import run_together
from shared.settings import Settings, load_settings
from tests.services.world import World

DEADLINE = 12.0


async def run_all(
    world: World, settings: Settings, stop: asyncio.Event, mailers: int = 1, broker_url: str = "memory://"
) -> None:
    """Scheduler, evaluator and mailer, as in `run all`, with more mailers or another broker if asked for."""
    clock, bus = ShiftedClock(world.clock.now()), open_bus(broker_url, world.log)
    await bus.open()
    parts = [
        lambda ended: run_scheduler(world.database, bus, clock, settings, world.log, ended),
        lambda ended: run_evaluator(world.database, bus, clock, world.log, ended),
        *[lambda ended: run_mailer(world.database, bus, clock, settings, world.log, ended)] * mailers,
    ]
    try:
        await run_together(parts, stop)
    finally:
        await bus.close()


def settings_for(folder: Path, smtp_url: str, **given: Any) -> Settings:
    """Settings of services that tick often and give up early."""
    values = {"KP_TICK_SECONDS": 0.1, "KP_LEASE_SECONDS": 2, "KP_REPLY_LEASE_SECONDS": 3, "KP_BACKOFF_SECONDS": 0.2}
    values["KP_SMTP_FINAL_TIMEOUT_SECONDS"] = 3
    named = {**values, "KP_STATE_DIR": folder / "state", "SMTP_URL": smtp_url, **given}
    return load_settings({name: str(value) for name, value in named.items()})


@asynccontextmanager
async def running(
    world: World, settings: Settings, mailers: int = 1, broker_url: str = "memory://"
) -> AsyncIterator[None]:
    """Services run while it is entered; they must not end by themselves."""
    stop = asyncio.Event()
    services = asyncio.create_task(run_all(world, settings, stop, mailers, broker_url))
    try:
        yield
        assert not services.done(), "the services ended"
    finally:
        stop.set()
        await services


async def until(world: World, holds: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """Waits for states of orders, by application."""
    end = time.monotonic() + DEADLINE
    while not holds(found := await world.orders()):
        assert time.monotonic() < end, await world.rows()
        await asyncio.sleep(0.05)
    return found
