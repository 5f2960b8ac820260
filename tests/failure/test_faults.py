"""Each fault of the matrix alone, in the middle of a dispatch: what was due ends as it should, and things go on.

One set of real servers and services for all of them: a job for each fault, which strikes when some of its letters are
out. The checker looks at the orders of that job; what one fault leaves behind the next one would meet.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from services.cli.composition import ROLES
from shared.db.dispatch import run_now
from shared.db.tables import write_orders
from shared.errors import Conflict, Unavailable
from tests.chaos.checker import ENDS, Verdict, judge
from tests.chaos.ending import conclude
from tests.chaos.evidence import gather
from tests.chaos.faults import do
from tests.chaos.plan import Event, Fault
from tests.chaos.scene import Scene, open_scene
from tests.chaos.workload import Workload
from tests.smtp_ledger import read_ledger

#: Fault, its rows in the matrix, its variant, and what the services' logs must tell of it.
CASES: Sequence[tuple[str, Fault, int, str]] = (
    ("c5", Fault.KILL, 3, ""),
    ("c6_c7", Fault.STOP, 0, ""),
    ("c10", Fault.BROKER_KILL, 0, "broker_lost"),
    ("c11", Fault.BROKER_RESTART, 0, "broker_lost"),
    ("c12", Fault.BROKER_WIPE, 0, "broker_lost"),
    ("c13", Fault.QUEUE_DELETED, 1, "broker_lost"),
    ("c14", Fault.MEMORY_ALARM, 0, ""),
    ("c15", Fault.QUEUE_FULL, 0, ""),
    ("c16_c17", Fault.FREEZE, 0, ""),
    ("c19", Fault.FAR_AWAY, 0, ""),
    ("c20_c48_c49", Fault.REPEATED, 0, ""),
    ("c21", Fault.POISON, 0, ""),
    ("c24", Fault.DATABASE_CRASH, 0, "_waits|step_failed|intent_failed"),
    ("c26", Fault.DATABASE_CRASH, 3, "_waits|step_failed|intent_failed"),
    ("c25", Fault.COMMIT_CUT, 0, "_waits|intent_failed"),
    ("c27", Fault.READ_ONLY, 0, "_waits|step_failed|intent_failed"),
    ("c30", Fault.DISK, 0, "of the log were dropped"),
    ("c32", Fault.MAIL_SERVER_AWAY, 0, "relay_away"),
    ("c51", Fault.AUS_AN, 0, ""),
    ("c58", Fault.FILES, 4, ""),
    ("i7", Fault.RELEASED_TWICE, 0, ""),
)
IDS = [f"{rows}-{fault.value}" for rows, fault, _, _ in CASES]
#: Letters of each job, and how many a second the mail server takes: some are out when the fault strikes.
EACH, RATE = 60, 40.0
DEADLINE = 60.0


@dataclass
class Struck:
    """What came of one fault."""

    #: Whom its job wrote to, as the checker wants them.
    expected: dict[str, bool]
    #: Seconds from the end of the fault until the last letter of its job had ended.
    seconds: float
    log: str


@dataclass
class Series:
    """All faults of the run, and the checker's verdict about everything."""

    struck: list[Struck]
    verdicts: list[Verdict]
    whole: Verdict


async def strike_all(folder: Path) -> Series:
    # Due far in the future: each is dispatched by hand, when its fault's turn has come.
    workload = Workload(len(CASES), EACH, minutes=24 * 60)
    crew = dict.fromkeys(ROLES, 2)
    scene = open_scene(folder, workload, Random(1), lambda _: None, embedded=False, crew=crew, resend=False)
    async with scene as opened:
        opened.mail.oracle.script, opened.mail.oracle.rate = lambda *_: None, RATE
        looking_after = asyncio.create_task(_look_after(opened))
        await _first_signs(opened)
        struck = [await _strike(opened, number) for number in range(len(CASES))]
        looking_after.cancel()
        evidence = await gather(opened.database, read_ledger(folder / "ledger.jsonl"))
        verdicts = []
        for one in struck:
            orders = [order for order in evidence.orders if order["external_id"] in one.expected]
            verdicts.append(judge(evidence.about(orders), one.expected))
        return Series(struck, verdicts, await conclude(opened))


async def _look_after(scene: Scene) -> None:
    while True:
        scene.crew.look_after()
        await asyncio.sleep(0.05)


async def _first_signs(scene: Scene) -> None:
    """Waits until the services work."""
    await _until(lambda: "".join(_logs(scene).values()).count('"started"') >= 2 * len(ROLES))


async def _strike(scene: Scene, number: int) -> Struck:
    _, fault, choice, _ = CASES[number]
    before, told = len(scene.mail.accepted), _logs(scene)
    async with scene.database.begin() as connection:
        await run_now(connection, scene.workload.job_of(number), None, scene.clock.now(), "test")
    await _until(lambda: len(scene.mail.accepted) >= before + 5)
    await do(scene, Event(0.0, fault, choice))
    over = time.monotonic()
    while not await _ended(scene, number):
        assert time.monotonic() < over + DEADLINE, f"{fault}: still on its way {DEADLINE} s after its end"
        await asyncio.sleep(0.1)
    names = [f"{number}-{one}" for one in range(EACH)]
    expected = {name: scene.workload.has_address(name) for name in names}
    news = {name: text[len(told.get(name, "")) :] for name, text in _logs(scene).items()}
    return Struck(expected, time.monotonic() - over, "".join(news.values()))


async def _ended(scene: Scene, number: int) -> bool:
    o = write_orders.c
    try:
        async with scene.database.read() as connection:
            mine = select(o.state).where(o.job_name == scene.workload.job_of(number))
            states = (await connection.execute(mine)).scalars().all()
    except (Unavailable, Conflict):
        return False
    return len(states) == EACH and set(states) <= ENDS


def _logs(scene: Scene) -> dict[str, str]:
    return {path.name: path.read_text(errors="replace") for path in scene.folder.glob("*.log")}


async def _until(holds: object) -> None:
    end = time.monotonic() + DEADLINE
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    yield asyncio.run(strike_all(tmp_path_factory.mktemp("faults")))


@pytest.mark.parametrize("number", range(len(CASES)), ids=IDS)
def test_i1_i2_i3_i4_i18_a_fault_in_mid_run(series: Series, number: int) -> None:
    struck, verdict = series.struck[number], series.verdicts[number]
    assert verdict.violations == []
    # One letter for each connection of a mailer can be in the window after the dot, and only where something was lost.
    assert verdict.states["sent"] + verdict.states["no_address"] + verdict.states["unclear"] == EACH
    assert verdict.states["unclear"] <= 10
    assert struck.seconds < DEADLINE
    expected = CASES[number][3]
    assert not expected or any(word in struck.log for word in expected.split("|"))


def test_i1_i19_i22_after_all_faults_nothing_is_left_over(series: Series) -> None:
    assert series.whole.violations == []
