"""A short chaos run on each stack; the long ones are `make chaos`."""

import asyncio
import json
import os
from pathlib import Path

from tests.chaos.plan import Fault, make_plan
from tests.chaos.report import as_json, show
from tests.chaos.run import Outcome, run_chaos
from tests.chaos.workload import Workload
from tests.sizes import size

#: The same faults each time, unless another seed is asked for.
SEED = int(os.environ.get("CHAOS_SEED", "7"))
PLANS = (make_plan(SEED, 8, 75.0, embedded=True), make_plan(SEED, size(14, 22), size(66, 90)))
#: Each is dispatched while things break.
JOBS = 25, size(22, 30)


async def both(folder: Path) -> list[Outcome]:
    """Side by side: two services of one stack are idle most of the time."""
    for name in ("embedded", "distributed"):
        (folder / name).mkdir()
    small, large = Workload(jobs=JOBS[0], each=10, minutes=3), Workload(jobs=JOBS[1], each=30, minutes=3)
    return list(
        await asyncio.gather(
            run_chaos(folder / "embedded", PLANS[0], small, embedded=True),
            run_chaos(folder / "distributed", PLANS[1], large, embedded=False),
        )
    )


def test_i1_i2_i3_i4_i6_i7_i12_i17_i18_i20_i22_c5_nothing_lost_nothing_twice(tmp_path: Path) -> None:
    outcomes = asyncio.run(both(tmp_path))
    for found in outcomes:
        show(found)
    for plan, found in zip(PLANS, outcomes, strict=True):
        assert found.verdict.violations == [], found.stack
        assert found.verdict.lost == found.verdict.duplicated == 0
        assert found.verdict.false_sent == found.verdict.false_failed == 0
        assert found.kills >= plan.kills and found.crash_points
    figures = json.loads(as_json(outcomes))
    assert figures["seed"] == SEED
    assert figures["kills"] == sum(found.kills for found in outcomes) == sum(run["kills"] for run in figures["runs"])
    assert figures["orders"] == 10 * JOBS[0] + 30 * JOBS[1] and figures["orders"] >= figures["sent"] > 0
    assert figures["lost"] == figures["duplicated"] == figures["false_sent"] == figures["false_failed"] == 0
    assert figures["unclear_explained"] == figures["unclear"]
    assert figures["ambiguous_flagged"] == figures["ambiguous"] > 0
    # Nearly every fault of the plan found something to do.
    planned = [event for one in PLANS for event in one.events if event.fault is not Fault.KILL]
    assert sum(figures["faults"].values()) >= 0.8 * len(planned)
    assert figures["poison"] <= 2
    assert figures["bound"] == 3 / figures["handed_over"] and figures["sent"] <= figures["handed_over"]
    assert 0 <= figures["recovery_seconds"]["after_kill"]["median"] < 30
