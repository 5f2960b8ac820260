"""How a service lives: it repeats its steps, says it is alive, and ends in order on SIGTERM."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from shared.errors import Conflict, KontaktpflegeError, Unavailable

#: Seconds between signs of life; a service unseen for three times as long counts as gone.
HEARTBEAT_SECONDS = 5.0


async def every(seconds: float, step: Callable[[], Awaitable[Any]], stop: asyncio.Event, log: Any) -> None:
    """Repeats `step` until `stop`, whatever happens to one of them: what fails is logged and tried again."""
    while not stop.is_set():
        try:
            await step()
        except (Unavailable, Conflict) as exc:
            log.warning("step_failed", action="step_failed", reason=str(exc), again_in_seconds=seconds)
        except KontaktpflegeError as exc:
            log.error("step_refused", action="step_refused", reason=str(exc))
        except Exception:
            log.exception("step_broken", action="step_broken")
        await pause(seconds, stop)


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Waits, or less when `stop` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def run_together(parts: Sequence[Callable[[asyncio.Event], Awaitable[None]]]) -> None:
    """Runs services side by side until SIGTERM or SIGINT; each then ends in its own order (I19).

    A service that breaks ends the others too: a supervisor is to start the process again.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(_stopping_others(part, stop))
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _stopping_others(part: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
    try:
        await part(stop)
    finally:
        stop.set()
