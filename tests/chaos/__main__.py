"""`python -m tests.chaos`: kills services, broker and database while letters go out, and counts the letters."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import Progress

from tests.chaos.plan import make_plan
from tests.chaos.report import as_json, show
from tests.chaos.run import Outcome, run_chaos
from tests.chaos.workload import Workload
from tests.servers.state import ServersImpossible

#: Seconds of a run for each kill: a process needs some to do anything before it is killed.
SECONDS_PER_KILL = 4.0
#: Real seconds between two dispatches.
SECONDS_PER_JOB = 3.0
#: How much faster the clock of a run goes.
SPEED = 60


def main() -> int:
    """0: no invariant was violated; 1: at least one was, or servers cannot be had."""
    arguments = _arguments()
    outcomes = []
    for number in range(arguments.times):
        seed = arguments.seed + number
        folder = Path(tempfile.mkdtemp(prefix=f"kontaktpflege-chaos-{seed}-"))
        try:
            outcome = _one(arguments, seed, folder)
        except ServersImpossible as exc:
            print(exc, file=sys.stderr)
            return 1
        outcomes.append(outcome)
        show([outcome])
        if outcome.violations or arguments.keep:
            print(f"plan, logs, ledger and database: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.report:
        arguments.report.write_text(as_json(outcomes), encoding="utf-8")
    return int(any(outcome.violations for outcome in outcomes))


def _one(arguments: argparse.Namespace, seed: int, folder: Path) -> Outcome:
    seconds = arguments.seconds or max(20.0, arguments.kills * SECONDS_PER_KILL)
    jobs = max(1, min(arguments.orders, round(seconds / SECONDS_PER_JOB)))
    workload = Workload(jobs, -(-arguments.orders // jobs), minutes=round(SECONDS_PER_JOB * SPEED / 60))
    plan = make_plan(seed, arguments.kills, seconds, embedded=arguments.embedded, full=arguments.full)
    resend = {"ask": False, "resend": True}.get(arguments.unclear)
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"seed {seed}: letters", total=workload.orders)
        return asyncio.run(
            run_chaos(
                folder,
                plan,
                workload,
                embedded=arguments.embedded,
                resend=resend,
                progress=lambda _, done, total: bar.update(task, completed=done, total=total),
            )
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kill -9 of services, half of them at crash points")
    parser.add_argument("--orders", type=int, default=5000, help="letters to send")
    parser.add_argument("--seconds", type=float, help="duration of the dispatches; default: 4 s for each kill")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="the same seed, the same faults")
    parser.add_argument("--embedded", action="store_true", help="one process on SQLite, no broker")
    parser.add_argument("--full", action="store_true", help="broker killed 10 times, restarted 5, wiped 2; database 20")
    parser.add_argument("--unclear", choices=("both", "ask", "resend"), default="both", help="the jobs' on_unclear")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="so many runs, with seeds from --seed on")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
