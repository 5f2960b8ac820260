"""How a service lives: it repeats its steps, says it is alive, and ends in order on SIGTERM."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
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


@contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def unless_stopped(waiting: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Waits for something that may take for ever; False, and it is cancelled, when `stop` comes first."""
    task, stopped = asyncio.create_task(waiting), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        await task
        return True
    finally:
        for one in (task, stopped):
            one.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def run_together(parts: Sequence[Callable[[asyncio.Event], Awaitable[None]]], stop: asyncio.Event) -> None:
    """Runs services side by side until `stop`; each then ends in its own order (I19).

    A service that breaks ends the others too: a supervisor is to start the process again.
    """
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(_stopping_others(part, stop))


async def _stopping_others(part: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
    try:
        await part(stop)
    finally:
        stop.set()
