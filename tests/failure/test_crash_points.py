"""Every labelled crash point once, on both stacks: whatever dies where, each letter ends as the rules say."""

import asyncio
from pathlib import Path

from tests.chaos.crash_points import POINTS
from tests.chaos.run import Outcome
from tests.chaos.visits import visit_points
from tests.chaos.workload import Workload

#: A dispatch each second, for as long as a round takes.
WORKLOAD = Workload(jobs=50, each=6, minutes=1)


async def on_both_stacks(folder: Path) -> dict[str, Outcome]:
    """Side by side: most of the time they wait."""
    folders = {name: folder / name for name in ("embedded", "distributed")}
    for one in folders.values():
        one.mkdir()
    rounds = [visit_points(one, WORKLOAD, embedded=name == "embedded", resend=False) for name, one in folders.items()]
    return dict(zip(folders, await asyncio.gather(*rounds), strict=True))


def test_i1_i2_i3_i4_i5_i18_c1_c2_c3_c4_every_crash_point_is_survived_on_both_stacks(tmp_path: Path) -> None:
    for stack, found in asyncio.run(on_both_stacks(tmp_path)).items():
        assert found.verdict.violations == [], stack
        assert set(found.crash_points) == {point.name for point in POINTS}, stack
        assert found.verdict.lost == found.verdict.duplicated == found.verdict.resent == 0, stack
        assert max(found.after_kill) < 30, stack


def test_there_are_enough_crash_points_and_each_has_a_name_of_its_own() -> None:
    assert len(POINTS) >= 30
    assert len({point.name for point in POINTS}) == len(POINTS)
