"""What is fuzzed, and for how long: cases of one target are tried until the time is up or one of them fails."""

import asyncio
import time
import traceback
from ast import literal_eval
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

#: Cases of one round; each round has the next seed.
ROUND = 200
#: Seconds that one case may take.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What is set up for a target: its cases, and how one is tried; a crash is an exception.

    Cases consist of texts, bytes, numbers, None, tuples, lists and mappings: a failing one is written down as Python
    writes it, and read again.
    """

    cases: SearchStrategy[Any]
    attempt: Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Target:
    """A name, and what sets the stage in an empty folder."""

    name: str
    staged: Callable[[Path], AbstractAsyncContextManager[Stage]]


@dataclass(slots=True)
class Outcome:
    """How many cases were tried from which seed on, and the smallest that failed."""

    target: str
    seed: int
    tried: int = 0
    failed: bool = False
    case: Any = None
    reason: str = ""

    def keep(self, folder: Path) -> Path:
        """Writes the failing case down, so that `try_again` finds it."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.target}-{self.seed}.txt"
        comment = "".join(
            f"# {line}\n" for line in self.reason.encode("ascii", "backslashreplace").decode().split("\n")
        )
        file.write_text(f"{comment}{(self.target, self.case)!a}\n", encoding="ascii")
        return file


def fuzz(target: Target, seconds: float, first_seed: int, *, shrink: bool = True) -> Outcome:
    """Tries cases for so long; ends early with the first failure, made as small as it can be if that is wanted."""
    outcome = Outcome(target.name, first_seed)
    with TemporaryDirectory(prefix="kontaktpflege-fuzz-") as folder, asyncio.Runner() as runner:
        staged = target.staged(Path(folder))
        stage = runner.run(_entered(staged))
        try:
            # Setting the stage is not part of the time.
            end = time.monotonic() + seconds
            while time.monotonic() < end and not outcome.failed:
                _round(runner, stage, outcome, end, shrink)
                outcome.seed += 0 if outcome.failed else 1
        finally:
            runner.run(_left(staged))
    return outcome


def try_again(targets: dict[str, Target], file: Path) -> None:
    """Tries the case that `Outcome.keep` has written; raises what it raised."""
    lines = file.read_text(encoding="ascii").splitlines()
    name, case = literal_eval(next(line for line in lines if not line.startswith("#")))

    async def attempt() -> None:
        with TemporaryDirectory(prefix="kontaktpflege-fuzz-") as folder:
            async with targets[name].staged(Path(folder)) as stage:
                await stage.attempt(case)

    asyncio.run(attempt())


async def _entered(staged: AbstractAsyncContextManager[Stage]) -> Stage:
    return await staged.__aenter__()


async def _left(staged: AbstractAsyncContextManager[Stage]) -> None:
    await staged.__aexit__(None, None, None)


def _round(runner: asyncio.Runner, stage: Stage, outcome: Outcome, end: float, shrink: bool) -> None:
    async def bounded(case: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            await stage.attempt(case)

    @seed(outcome.seed)
    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
    )
    @given(stage.cases)
    def attempt(case: Any) -> None:
        if time.monotonic() > end and not outcome.failed:
            return
        outcome.tried += 1
        try:
            runner.run(bounded(case))
        except Exception:
            # The last one kept is the smallest: others are tried on the way to it.
            outcome.failed, outcome.case, outcome.reason = True, case, traceback.format_exc(limit=-8)
            raise

    try:
        attempt()
    except Exception:
        # Hypothesis says more than the case when one fails only sometimes; it is kept all the same.
        if not outcome.failed:
            raise
