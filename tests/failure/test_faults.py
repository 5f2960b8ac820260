"""Each fault of the matrix alone, in the middle of a dispatch: what was due ends as it should, and things go on.

One set of real servers and services for all of them. Each fault strikes when some letters of a job are out, and while
it is on another job is released. The checker looks at the orders of both; what one fault leaves behind the next one
would meet.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from services.cli.composition import ROLES
from shared.bus.connect import look
from shared.bus.messages import JobDue, WriteOrderReady
from shared.bus.topology import route_of
from shared.db.dispatch import run_now
from shared.db.tables import write_orders
from shared.errors import Conflict, Unavailable
from tests.chaos.checker import ENDS, Verdict, judge
from tests.chaos.ending import conclude
from tests.chaos.evidence import deliveries_of, gather
from tests.chaos.faults import do
from tests.chaos.plan import Event, Fault
from tests.chaos.scene import Scene, noting, open_scene
from tests.chaos.workload import Workload
from tests.smtp_ledger import read_ledger

#: What must be seen of a fault, or it was none: words of the services' logs, or what else came of it.
Evidence = str | Callable[["Struck"], bool]

#: A mailer met it between claim and outcome.
OF_A_MAILER = "intent_failed|settlement_waits|database_waits"
#: Whose role reads a route.
CONSUMERS = ((route_of(JobDue), "evaluator"), (route_of(WriteOrderReady), "mailer"))
#: Letters of each job, and how many a second the mail server takes. Before the fault it takes fewer: then some are out
#: and most are not when the fault strikes, however long striking takes.
EACH, RATE, RATE_BEFORE = 30, 40.0, 10.0
DEADLINE = 60.0
#: Seconds after which a job released while publishers are held back would have begun to arrive, if they were not.
SOON = 2.0


@dataclass
class Struck:
    """What came of one fault."""

    #: Whom its jobs wrote to, as the checker wants them.
    expected: dict[str, bool]
    #: Seconds from the end of the fault until the last letter of its jobs had ended.
    seconds: float
    log: str
    #: Letters of the job released while it was on that arrived soon all the same.
    early: int
    #: Pieces that the relays in front of broker and database did not let through at once.
    held_up: int
    #: Messages of other hands that the broker took.
    published: int
    #: Whether it found something to do.
    took: bool
    #: What came of every attempt at its letters.
    outcomes: list[str]


def _lease_ran_out(struck: Struck) -> bool:
    return "lease ran out" in struck.outcomes or any(one.startswith("late: ") for one in struck.outcomes)


def _nothing_published(struck: Struck) -> bool:
    return struck.early == 0


def _held_up(struck: Struck) -> bool:
    return struck.held_up > 10


def _half_open(struck: Struck) -> bool:
    # One piece each of half the relays at least: who waits for an answer says nothing more.
    return struck.held_up >= 3


def _repeated(struck: Struck) -> bool:
    return struck.published > 3 * 100


#: Fault, its rows in the matrix, its variant, and its evidence.
CASES: Sequence[tuple[str, Fault, int, Evidence]] = (
    ("c5", Fault.KILL, 3, '"started"'),
    ("c6", Fault.STOP, 0, _lease_ran_out),
    ("c10", Fault.BROKER_KILL, 0, "broker_lost"),
    ("c11", Fault.BROKER_RESTART, 0, "broker_lost"),
    ("c12", Fault.BROKER_WIPE, 0, "broker_lost"),
    ("c13", Fault.QUEUE_DELETED, 1, "broker_lost"),
    ("c14", Fault.MEMORY_ALARM, 0, _nothing_published),
    ("c15", Fault.QUEUE_FULL, 0, '"refused": [1-9]'),
    ("c17", Fault.FREEZE, 0, _half_open),
    ("c19", Fault.FAR_AWAY, 0, _held_up),
    ("c20_c48_c49", Fault.REPEATED, 0, _repeated),
    ("c21", Fault.POISON, 0, "dead_letter"),
    ("c24", Fault.DATABASE_CRASH, 0, OF_A_MAILER),
    ("c26", Fault.DATABASE_CRASH, 3, "settlement_waits"),
    ("c25", Fault.COMMIT_CUT, 0, "_waits|step_failed|intent_failed"),
    ("c27", Fault.READ_ONLY, 0, OF_A_MAILER),
    ("c30", Fault.DISK, 0, "of the log were dropped"),
    ("c32", Fault.MAIL_SERVER_AWAY, 0, "relay_away"),
    ("c51", Fault.AUS_AN, 0, ""),
    ("c58", Fault.FILES, 4, "Too many open files"),
    ("i7", Fault.RELEASED_TWICE, 0, ""),
)
IDS = [f"{rows}-{fault.value}" for rows, fault, _, _ in CASES]


@dataclass
class Series:
    """All faults of the run, and the checker's verdict about everything."""

    struck: list[Struck]
    verdicts: list[Verdict]
    whole: Verdict


async def strike_all(folder: Path) -> Series:
    # Due far in the future: each is dispatched by hand, when its fault's turn has come.
    workload = Workload(2 * len(CASES), EACH, minutes=24 * 60)
    crew = dict.fromkeys(ROLES, 2)
    scene = open_scene(folder, workload, Random(1), lambda _: None, embedded=False, crew=crew, resend=False)
    async with scene as opened:
        opened.mail.oracle.script, opened.mail.oracle.rate = noting(opened.asked, lambda *_: None), RATE
        looking_after = asyncio.create_task(_look_after(opened))
        await _first_signs(opened)
        struck = [await _strike(opened, number) for number in range(len(CASES))]
        looking_after.cancel()
        mails = deliveries_of(opened.mail.accepted, opened.asked)
        evidence = await gather(opened.database, read_ledger(folder / "ledger.jsonl"), opened.acts, mails)
        # Of nobody else it is in doubt whether a dot was under way.
        evidence.left_at_body = frozenset(opened.mail.oracle.left_at_body)
        verdicts = []
        for one in struck:
            orders = [order for order in evidence.orders if order["external_id"] in one.expected]
            verdicts.append(judge(evidence.about(orders), one.expected))
            one.outcomes = [str(attempt["outcome"]) for order in orders for attempt in evidence.of(order)]
        return Series(struck, verdicts, await conclude(opened))


async def _look_after(scene: Scene) -> None:
    while True:
        scene.crew.look_after()
        await asyncio.sleep(0.05)


async def _first_signs(scene: Scene) -> None:
    """Waits until the services work."""
    await _until(lambda: "".join(_logs(scene).values()).count('"started"') >= 2 * len(ROLES))


async def _all_at_work(scene: Scene) -> None:
    """Waits until every consumer has come back from the last fault: who is still away is not hit by the next one."""
    assert scene.broker is not None
    end = time.monotonic() + DEADLINE
    wanted = {route.queue: sum(slot.role == role for slot in scene.crew.slots) for route, role in CONSUMERS}
    while True:
        with suppress(Unavailable):
            found = {depth.queue: depth.consumers for depth in await look(scene.broker.url)}
            if all(found.get(queue) == count for queue, count in wanted.items()):
                return
        assert time.monotonic() < end, f"not all consumers have come back: {wanted} wanted"
        await asyncio.sleep(0.1)


async def _strike(scene: Scene, number: int) -> Struck:
    """The fault in the middle of one job, and while it is on another one is released."""
    _, fault, choice, _ = CASES[number]
    first, second = 2 * number, 2 * number + 1
    await _all_at_work(scene)
    before, told = len(scene.mail.accepted), _logs(scene)
    held_up, published, effects = _held_up_by_relays(scene), scene.published, scene.effects[fault]
    scene.mail.oracle.rate = RATE_BEFORE
    await _release(scene, first)
    await _until(lambda: len(scene.mail.accepted) >= before + 5)
    scene.struck.clear()
    striking = asyncio.create_task(do(scene, Event(0.0, fault, choice)))
    await asyncio.wait_for(scene.struck.wait(), DEADLINE)
    scene.mail.oracle.rate = RATE
    await _release(scene, second)
    await asyncio.wait({striking}, timeout=SOON)
    early = _arrived(scene, second)
    await striking
    over = time.monotonic()
    while not await _ended(scene, first, second):
        assert time.monotonic() < over + DEADLINE, f"{fault}: still on its way {DEADLINE} s after its end"
        await asyncio.sleep(0.1)
    seconds = time.monotonic() - over
    names = [f"{job}-{one}" for job in (first, second) for one in range(EACH)]
    expected = {name: scene.workload.has_address(name) for name in names}
    news = {name: text[len(told.get(name, "")) :] for name, text in _logs(scene).items()}
    held_up, published = _held_up_by_relays(scene) - held_up, scene.published - published
    took = scene.effects[fault] > effects
    return Struck(expected, seconds, "".join(news.values()), early, held_up, published, took, [])


async def _release(scene: Scene, job: int) -> None:
    """By hand; as soon as the database is there."""
    while True:
        with suppress(Unavailable, Conflict):
            async with scene.database.begin() as connection:
                await run_now(connection, scene.workload.job_of(job), None, scene.clock.now(), "test")
            return
        await asyncio.sleep(0.1)


def _arrived(scene: Scene, job: int) -> int:
    return sum(mail.recipient.startswith(f"kanarienvogel{job}-") for mail in list(scene.mail.accepted))


def _held_up_by_relays(scene: Scene) -> int:
    return sum(relay.held_up for relay in scene.all_relays)


async def _ended(scene: Scene, *jobs: int) -> bool:
    o = write_orders.c
    try:
        async with scene.database.read() as connection:
            mine = select(o.state).where(o.job_name.in_([scene.workload.job_of(job) for job in jobs]))
            states = (await connection.execute(mine)).scalars().all()
    except (Unavailable, Conflict):
        return False
    return len(states) == EACH * len(jobs) and set(states) <= ENDS


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
    assert verdict.states["sent"] + verdict.states["no_address"] + verdict.states["unclear"] == 2 * EACH
    assert verdict.states["unclear"] <= 10
    assert struck.seconds < DEADLINE
    assert struck.took, "the fault did nothing"
    seen = CASES[number][3]
    assert re.search(seen, struck.log) if isinstance(seen, str) else seen(struck), "nothing is seen of the fault"


def test_i1_i19_i22_after_all_faults_nothing_is_left_over(series: Series) -> None:
    assert series.whole.violations == []
