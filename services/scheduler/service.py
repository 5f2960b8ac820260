"""The scheduler's loops."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

from services.scheduler.chores import LOOK_SECONDS, do_chores
from services.scheduler.sealing import SEAL_SECONDS, seal
from services.scheduler.state_metrics import LOOK_SECONDS as STATE_SECONDS
from services.scheduler.state_metrics import tell_state
from services.scheduler.sweep import sweep
from services.scheduler.tick import tick
from shared.bus.interface import Bus
from shared.clock import Clock
from shared.db.engine import Database
from shared.db.suppressions import settle_waiting_wishes
from shared.handed_over import hold_if_older
from shared.lifecycle import every
from shared.settings import Settings

#: Seconds between two looks for wishes that wait to be noted.
WISH_SECONDS = 5.0


async def run_scheduler(
    database: Database, bus: Bus, clock: Clock, settings: Settings, log: Any, stop: asyncio.Event
) -> None:
    """Ticks, sweeps, notes wishes, seals the history, does the day's chores, tells how things stand, until `stop`."""
    ring_again = timedelta(seconds=settings.kp_ring_again_seconds)
    async with asyncio.TaskGroup() as group:
        group.create_task(every(settings.kp_tick_seconds, partial(tick, database, bus, clock, log), stop, log))
        group.create_task(
            every(settings.kp_tick_seconds, partial(sweep, database, bus, clock, ring_again, log), stop, log)
        )
        if settings.kp_health_port is not None:
            group.create_task(every(STATE_SECONDS, partial(tell_state, database, clock), stop, log))
        group.create_task(every(WISH_SECONDS, partial(settle_waiting_wishes, database), stop, log))
        group.create_task(every(SEAL_SECONDS, partial(seal, database, clock), stop, log))
        group.create_task(every(LOOK_SECONDS, partial(_do_chores, database, clock, settings, log, stop), stop, log))


async def _do_chores(database: Database, clock: Clock, settings: Settings, log: Any, stop: asyncio.Event) -> None:
    # Some of them erase, and wait while there is a hold: it must not depend on when a mailer looks.
    await hold_if_older(database, settings.kp_state_dir, clock)
    await do_chores(database, clock, log, stop)
