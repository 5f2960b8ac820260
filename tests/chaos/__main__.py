"""`python -m tests.chaos`: kills services, broker and database while letters go out, and counts the letters."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from rich.progress import Progress

from tests.chaos.ending import Progress as Tell
from tests.chaos.plan import make_plan
from tests.chaos.report import as_json, show
from tests.chaos.run import Outcome, run_chaos
from tests.chaos.scene import SPEED
from tests.chaos.visits import visit_points
from tests.chaos.workload import Workload
from tests.servers.state import ServersImpossible

#: Seconds of a run for each kill: a process needs some to do anything before it is killed.
SECONDS_PER_KILL = 4.0
#: Real seconds between two dispatches.
SECONDS_PER_JOB = 3.0
#: Rounds of all crash points in a full run, for each stack and each policy for unclear letters.
ROUNDS = 5
#: Enough work for one round: a dispatch each second.
VISITED = Workload(jobs=50, each=6, minutes=1)

Step = Callable[[Path, Tell], Awaitable[Outcome]]


def main() -> int:
    """0: no invariant was violated; 1: at least one was, or servers cannot be had."""
    arguments = _arguments()
    outcomes: list[Outcome] = []
    for name, letters, step in _steps(arguments):
        folder = Path(tempfile.mkdtemp(prefix="kontaktpflege-chaos-"))
        try:
            outcome = _with_progress(name, letters, partial(step, folder))
        except ServersImpossible as exc:
            print(exc, file=sys.stderr)
            return 1
        outcomes.append(outcome)
        show(outcome)
        if outcome.verdict.violations or arguments.keep:
            print(f"plan, logs, ledger and evidence: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if arguments.out:
            arguments.out.write_text(as_json(outcomes), encoding="utf-8")
    return int(any(outcome.verdict.violations for outcome in outcomes))


def _steps(arguments: argparse.Namespace) -> Iterator[tuple[str, int, Step]]:
    """One run, or all of a full one: its name, its letters, and what to do in which folder."""
    if arguments.full:
        for seed in range(arguments.seed, arguments.seed + ROUNDS):
            for embedded in (True, False):
                for resend in (False, True):
                    visit = partial(_visit, embedded=embedded, resend=resend, seed=seed)
                    yield f"crash points, seed {seed}", VISITED.orders, visit
    seconds = arguments.seconds or max(20.0, arguments.kills * SECONDS_PER_KILL)
    jobs = max(1, min(arguments.orders, round(seconds / SECONDS_PER_JOB)))
    workload = Workload(jobs, -(-arguments.orders // jobs), minutes=round(SECONDS_PER_JOB * SPEED / 60))
    yield (
        f"{arguments.kills} kills, seed {arguments.seed}",
        workload.orders,
        partial(_break, arguments, workload, seconds),
    )


async def _visit(folder: Path, tell: Tell, *, embedded: bool, resend: bool, seed: int) -> Outcome:
    return await visit_points(folder, VISITED, embedded=embedded, resend=resend, seed=seed, progress=tell)


async def _break(
    arguments: argparse.Namespace, workload: Workload, seconds: float, folder: Path, tell: Tell
) -> Outcome:
    plan = make_plan(arguments.seed, arguments.kills, seconds, embedded=arguments.embedded, full=arguments.full)
    resend = {"ask": False, "resend": True}.get(arguments.unclear)
    return await run_chaos(folder, plan, workload, embedded=arguments.embedded, resend=resend, progress=tell)


def _with_progress(name: str, letters: int, step: Callable[[Tell], Awaitable[Outcome]]) -> Outcome:
    async def work(tell: Tell) -> Outcome:
        return await step(tell)

    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=letters)
        return asyncio.run(work(lambda done, total: bar.update(task, completed=done, total=total)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=100, help="kill -9 of services, about half of them at crash points"
    )
    parser.add_argument("--orders", type=int, default=5000, help="letters to send")
    parser.add_argument("--seconds", type=float, help="duration of the dispatches; default: 4 s for each kill")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="the same seed, the same faults")
    parser.add_argument("--embedded", action="store_true", help="one process on SQLite, no broker")
    parser.add_argument(
        "--full",
        action="store_true",
        help="every crash point 5 times over; broker killed 10 times, restarted 5, wiped 2",
    )
    parser.add_argument("--unclear", choices=("both", "ask", "resend"), default="both", help="the jobs' on_unclear")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
