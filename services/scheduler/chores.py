"""What is done once a day, after two at night: persons (D24), wishes (S29), consent, core data (D42), old rows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from shared.clock import Clock
from shared.db.consent_outcomes import carry_out_due
from shared.db.daily_chores import TakenChore, chore_due, end_chore, keep_chore, take_chore
from shared.db.duplicates import assign_persons
from shared.db.engine import Database
from shared.db.history_seals import tell_head
from shared.db.reduction import reduce_due
from shared.db.retention import remove_outdated
from shared.db.suppressions import note_missing_wishes

#: Seconds between two looks whether a chore is due.
LOOK_SECONDS = 15.0
#: Each yields after every batch what it has done so far.
CHORES: Mapping[str, Callable[..., AsyncIterator[Any]]] = {
    "duplicates": assign_persons,
    "wishes": note_missing_wishes,
    "consent": carry_out_due,
    "core data": reduce_due,
    "history head": tell_head,
    "retention": remove_outdated,
}


async def do_chores(database: Database, clock: Clock, log: Any, stop: asyncio.Event) -> None:
    """Does the chores of the day that nobody has done and nobody is at work on."""
    for name, work in CHORES.items():
        day = await chore_due(database, name, clock.now())
        chore = await take_chore(database, name, day, clock.now()) if day else None
        if chore is not None:
            await _do(chore, work, database, clock, log, stop)


async def _do(
    chore: TakenChore, work: Callable[..., Any], database: Database, clock: Clock, log: Any, stop: asyncio.Event
) -> None:
    finished, result = False, None
    try:
        async with aclosing(work(database, now=clock.now(), author="scheduler")) as batches:
            async for so_far in batches:
                result = so_far
                if stop.is_set() or not await keep_chore(database, chore, clock.now()):
                    return
        finished = True
        log.info("chore_done", action="chore_done", chore=chore.name, day=str(chore.day), result=_counts(result))
    finally:
        await end_chore(database, chore, clock.now(), done=finished)


def _counts(result: Any) -> Any:
    return {"checked": result.checked, "moved": result.moved} if hasattr(result, "checked") else result
