"""One run by a plan: dispatch, break, let it come to rest, judge."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

from services.cli.composition import ROLES
from tests.chaos.checker import Verdict
from tests.chaos.crash_points import POINTS, CrashPoint
from tests.chaos.crew import Death
from tests.chaos.ending import Progress, conclude
from tests.chaos.faults import do
from tests.chaos.plan import Fault, Plan
from tests.chaos.progress import stalls, until_next
from tests.chaos.scene import Scene, open_scene
from tests.chaos.workload import Workload

#: Clocks of restarted processes may go wrong by so many seconds of the run's time.
SKEWS = (0.0, 0.0, 60.0, -60.0)


@dataclass
class Outcome:
    """What a run found."""

    title: str
    stack: str
    seed: int
    verdict: Verdict
    deaths: list[Death]
    faults: Counter[str]
    #: Seconds until the next letter arrived after a kill, and after broker or database had returned.
    after_kill: list[float]
    after_return: list[float]
    seconds: float

    @property
    def kills(self) -> int:
        """Processes killed, at random and by crash points."""
        return sum(death.exit_code == -9 for death in self.deaths)

    @property
    def crash_points(self) -> Counter[str]:
        """Crash points that killed somebody."""
        return Counter(death.crash_point for death in self.deaths if death.crash_point)


class Armoury:
    """Gives every `every`-th start of a role the next crash point; a shuffled round of all of them, then the next."""

    def __init__(self, rng: Random, every: int) -> None:
        self._rng, self._every = rng, every
        self._waiting: dict[str, list[CrashPoint]] = {}
        self._starts: Counter[str] = Counter()

    def next(self, role: str) -> tuple[str, int] | None:
        """The crash point of the next process of a role, and the pass that counts."""
        self._starts[role] += 1
        if self._starts[role] % self._every:
            return None
        if not self._waiting.get(role):
            points = [one for one in POINTS if role in ("all", one.role) and not one.on_sigterm]
            self._rng.shuffle(points)
            self._waiting[role] = points
        return self._waiting[role].pop().name, self._rng.choice((1, 1, 2, 3))


async def run_chaos(
    folder: Path,
    plan: Plan,
    workload: Workload,
    *,
    embedded: bool,
    resend: bool | None = None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """The whole run in `folder`; raises ServersImpossible where servers cannot be had."""
    (folder / "plan.json").write_text(plan.as_json())
    rng = Random(plan.seed)
    armoury = Armoury(rng, every=2)
    crew = {"all": 1} if embedded else {role: 3 if role == "mailer" else 2 for role in ROLES}
    scene = open_scene(folder, workload, rng, armoury.next, embedded=embedded, crew=crew, resend=resend)
    async with scene as opened:
        opened.crew.skews = SKEWS
        await _break(opened, plan, progress)
        verdict = await conclude(opened, progress)
        faults = Counter({fault.value: n for fault, n in opened.effects.items() if fault is not Fault.KILL})
        return outcome_of(opened, f"{plan.kills} kills", plan.seed, verdict, faults)


async def _break(scene: Scene, plan: Plan, progress: Progress) -> None:
    """Every event at its time, and crash points as they are reached, until all kills are done."""
    started, under_way = time.monotonic(), []
    events = list(plan.events)
    while events or scene.crew.killed < plan.kills:
        now = time.monotonic() - started
        while events and events[0].at <= now:
            under_way.append(asyncio.create_task(do(scene, events.pop(0))))
        if not events and now > plan.seconds:
            # Crash points that nobody reaches any more are made up for at random.
            scene.crew.kill_any()
            await asyncio.sleep(1.0)
        scene.crew.look_after()
        progress(len(scene.mail.accepted), scene.workload.orders)
        await asyncio.sleep(0.05)
    await asyncio.gather(*under_way)


def outcome_of(scene: Scene, title: str, seed: int, verdict: Verdict, faults: Counter[str]) -> Outcome:
    """The figures of a run that has ended."""
    deaths = scene.crew.deaths
    arrivals = sorted(mail.at for mail in scene.mail.accepted)
    excused, end = [*scene.windows, *scene.idle], scene.rested or time.monotonic()
    kills = [death.at for death in deaths if death.exit_code == -9]
    after_kill = until_next(kills, arrivals, excused, end)
    after_return = until_next([at for at, _ in scene.returns], arrivals, excused, end)
    verdict.violations += stalls(after_kill, after_return)
    return Outcome(
        title,
        scene.stack,
        seed,
        verdict,
        deaths,
        faults,
        after_kill,
        after_return,
        time.monotonic() - scene.began,
    )
