"""When something is tried again (the only importer of tenacity). Never around DATA: only connects and transactions."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from shared.errors import Conflict, Unavailable

T = TypeVar("T")


async def retry_conflicts(transaction: Callable[[], Awaitable[T]], attempts: int = 8) -> T:
    """Runs a whole transaction again when it met another one (deadlock, serialization, lock timeout)."""
    try:
        # Nearly always enough, and what counts the tries costs as much as a letter.
        return await transaction()
    except Conflict as exc:
        met: Conflict | None = exc
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Conflict),
        wait=wait_random_exponential(multiplier=0.02, max=1.0),
        stop=stop_after_attempt(attempts),
        reraise=True,
    )

    # tenacity awaits only what it recognises as a coroutine function, which a lambda is not.
    async def once() -> T:
        nonlocal met
        if met is not None:
            first, met = met, None
            raise first
        return await transaction()

    return await retrying(once)


async def wait_until_available(
    connect: Callable[[], Awaitable[T]],
    log: Any,
    what: str,
    longest_pause: float = 10.0,
    also: tuple[type[Exception], ...] = (),
) -> T:
    """Calls `connect` until it no longer raises Unavailable (or one of `also`), with full jitter; the log says so."""

    def say(state: RetryCallState) -> None:
        reason = state.outcome.exception() if state.outcome else None
        pause = round(state.next_action.sleep, 1) if state.next_action else 0
        log.warning("waiting", action="waiting", what=what, reason=str(reason), again_in_seconds=pause)

    retrying = AsyncRetrying(
        retry=retry_if_exception_type((Unavailable, *also)),
        wait=wait_random_exponential(multiplier=0.5, max=longest_pause),
        before_sleep=say,
        reraise=True,
    )

    async def once() -> T:
        return await connect()

    return await retrying(once)
