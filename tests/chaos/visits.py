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
#: Seconds until a dead process is started again: after what it died of has been looked at.
ABSENCE = 0.01
#: Seconds of life before a process is told to end, where its point is on that way.
BEFORE_SIGTERM = 1.0


class Itinerary:
    """The points that are left, by role, in their order: what the journal needs comes after what fills it."""

    def __init__(self, points: Sequence[CrashPoint], roles: Sequence[str]) -> None:
        self._order = {role: [p.name for p in points if role in ("all", p.role)] for role in roles}
        self._left = {role: deque(names) for role, names in self._order.items()}
        self._tries: Counter[str] = Counter()
        #: The points that were tried as often as they may be, and not reached.
        self.missed: list[str] = []

    def next(self, role: str) -> tuple[str, int] | None:
        """The next point of a role, reached at its first pass."""
        return (self._left[role].popleft(), 1) if self._left[role] else None

    def again(self, role: str, name: str) -> None:
        """A point that was not reached comes once more after the others, or is missed after the last try.

        With the point before it: what that one's victim leaves may be what leads here.
        """
        self._tries[name] += 1
        if self._tries[name] >= TRIES:
            self.missed.append(name)
            return
        before = self._order[role][: self._order[role].index(name)]
        self._left[role] += [*before[-1:], name]

    def tries(self, name: str) -> int:
        """How often a point was tried in vain."""
        return self._tries[name]

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
        await _visit(opened, itinerary, progress)
        verdict = await conclude(opened, progress)
        verdict.violations += [f"crash point {name!r} was not reached" for name in itinerary.missed]
        policy = "resend" if resend else "ask"
        return outcome_of(opened, f"each of {len(points)} crash points, on_unclear: {policy}", seed, verdict, Counter())


async def _visit(scene: Scene, itinerary: Itinerary, progress: Progress) -> None:
    while not itinerary.done or any(slot.crash_at for slot in scene.crew.slots):
        aims = {slot.name: slot.crash_at[0] for slot in scene.crew.slots if slot.crash_at is not None}
        for death in scene.crew.look_after(ABSENCE):
            if death.slot in aims and death.crash_point is None:
                itinerary.again(death.role, aims[death.slot])
        for slot in scene.crew.slots:
            if slot.crash_at is not None and slot.process is not None:
                _urge(scene, slot, itinerary)
        progress(len(scene.mail.accepted), scene.workload.orders)
        await asyncio.sleep(0.02)


def _urge(scene: Scene, slot: Slot, itinerary: Itinerary) -> None:
    """Tells a process to end where its point needs that; ends one that does not reach its point."""
    assert slot.crash_at is not None
    name, lived = slot.crash_at[0], time.monotonic() - slot.started_at
    # A process that is told before it listens dies of it: the next one has longer.
    if point_named(name).on_sigterm and lived > BEFORE_SIGTERM * (1 + itinerary.tries(name)) and not slot.told:
        scene.crew.tell_to_end(slot)
    elif lived > PATIENCE:
        scene.crew.send(slot, signal.SIGKILL)
