"""Every crash point once, one after another: each restarted process dies at the next point of its role."""

import asyncio
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from random import Random

from services.cli.composition import ROLES
from tests.chaos.crash_points import POINTS, CrashPoint, point_named
from tests.chaos.crew import Slot
from tests.chaos.ending import Progress, conclude
from tests.chaos.run import Outcome, outcome_of
from tests.chaos.scene import Scene, open_scene
from tests.chaos.workload import Workload

#: Seconds that a process gets to reach its point, and how often it is tried.
PATIENCE, TRIES = 6.0, 3
#: Seconds of life before a process is told to end, where its point is on that way.
BEFORE_SIGTERM = 1.0


class Itinerary:
    """The points that are left, by role, in their order: what the journal needs comes after what fills it."""

    def __init__(self, points: Sequence[CrashPoint], roles: Sequence[str]) -> None:
        self._left = {role: deque(p.name for p in points if role in ("all", p.role)) for role in roles}
        self._tries: Counter[str] = Counter()

    def next(self, role: str) -> tuple[str, int] | None:
        """The next point of a role, reached at its first pass."""
        return (self._left[role].popleft(), 1) if self._left[role] else None

    def again(self, role: str, name: str) -> bool:
        """A point that was not reached comes once more after the others; False after the last try."""
        self._tries[name] += 1
        if self._tries[name] >= TRIES:
            return False
        self._left[role].append(name)
        return True

    @property
    def done(self) -> bool:
        """Nothing is left to be tried."""
        return not any(self._left.values())


async def visit_points(
    folder: Path,
    workload: Workload,
    *,
    embedded: bool,
    resend: bool,
    points: Sequence[CrashPoint] = POINTS,
    seed: int = 1,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Dies once at each point; a point that is not reached is a violation like any other."""
    roles = ("all",) if embedded else ROLES
    itinerary = Itinerary(points, roles)
    scene = open_scene(
        folder,
        workload,
        Random(seed),
        itinerary.next,
        embedded=embedded,
        crew=dict.fromkeys(roles, 1),
        resend=resend,
    )
    async with scene as opened:
        missed = await _visit(opened, itinerary, progress)
        verdict = await conclude(opened, progress)
        verdict.violations += [f"crash point {name!r} was not reached" for name in missed]
        policy = "resend" if resend else "ask"
        return outcome_of(opened, f"each of {len(points)} crash points, on_unclear: {policy}", seed, verdict, Counter())


async def _visit(scene: Scene, itinerary: Itinerary, progress: Progress) -> list[str]:
    missed: list[str] = []
    while not itinerary.done or any(slot.crash_at for slot in scene.crew.slots):
        scene.crew.look_after(absence=0.0)
        for slot in scene.crew.slots:
            if slot.crash_at is not None and slot.process is not None:
                _urge(scene, slot, itinerary, missed)
        progress(len(scene.mail.accepted), scene.workload.orders)
        await asyncio.sleep(0.02)
    return missed


def _urge(scene: Scene, slot: Slot, itinerary: Itinerary, missed: list[str]) -> None:
    """Tells a process to end where its point needs that; gives up one that does not reach its point."""
    assert slot.crash_at is not None
    name, lived = slot.crash_at[0], time.monotonic() - slot.started_at
    if point_named(name).on_sigterm and lived > BEFORE_SIGTERM and not slot.told:
        scene.crew.tell_to_end(slot)
    elif lived > PATIENCE and scene.crew.send(slot, signal.SIGKILL):
        slot.crash_at = None
        if not itinerary.again(slot.role, name):
            missed.append(name)
