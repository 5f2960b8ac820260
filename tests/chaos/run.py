"""One run: set up, dispatch, break, let it come to rest, judge."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import func, select, text

from services.cli.composition import ROLES
from shared.db.engine import Database
from shared.db.migrate import migrate
from shared.db.tables import contact_jobs, dispatch_runs, write_orders
from shared.errors import Conflict, Unavailable
from shared.importing.applications import import_applications
from tests.chaos.checker import Verdict, gather, judge, leaks
from tests.chaos.crash_points import POINTS, CrashPoint
from tests.chaos.crew import Crew, Death
from tests.chaos.fast_clock import FastClock
from tests.chaos.faults import Scene, do, switch_on_again
from tests.chaos.nodes import Broker, DatabaseServer
from tests.chaos.plan import Event, Fault, Plan
from tests.chaos.workload import BEGIN, Workload
from tests.mail_server import MailServer
from tests.servers.relay import Relay
from tests.services.setup_files import apply
from tests.smtp_ledger import read_ledger
from tests.smtp_scripts import mixed

#: Durations of production and of a run, in seconds: logic unchanged, time compressed (F.2).
SCALED = {
    "KP_TICK_SECONDS": "0.2",
    "KP_LEASE_SECONDS": "4",
    "KP_REPLY_LEASE_SECONDS": "8",
    "KP_SMTP_TIMEOUT_SECONDS": "4",
    "KP_SMTP_FINAL_TIMEOUT_SECONDS": "5",
    "KP_GRACE_SECONDS": "10",
    "KP_SMTP_CONNECTIONS": "5",
    "KP_CLAIM_BATCH": "50",
    "KP_LOG_LEVEL": "info",
}
#: Seconds without a fault after which everything must have come to rest.
QUIESCENCE = 180.0


@dataclass
class Outcome:
    """What a run found."""

    plan: Plan
    workload: Workload
    stack: str
    verdict: Verdict
    deaths: list[Death]
    faults: Counter[str]
    #: Crash points that killed somebody, and those armed that nobody reached.
    crash_points: Counter[str]
    not_reached: list[str]
    #: Seconds until the next letter arrived after a kill, and after broker or database had returned.
    after_kill: list[float]
    after_return: list[float]
    exit_codes: dict[str, int]
    seconds: float
    violations: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Processes killed, at random and by crash points."""
        return sum(death.exit_code == -9 for death in self.deaths)


class Armoury:
    """Gives every second start of a role the next crash point; a shuffled round of all of them, then the next."""

    def __init__(self, rng: Random, *, roles: frozenset[str], every: int = 2) -> None:
        self._rng, self._every = rng, every
        self._waiting: dict[str, list[CrashPoint]] = {role: [] for role in roles}
        self._starts: Counter[str] = Counter()

    def next(self, role: str) -> tuple[str, int] | None:
        """The crash point of the next process of a role."""
        self._starts[role] += 1
        if self._starts[role] % self._every:
            return None
        if not self._waiting[role]:
            points = [one for one in POINTS if (role == "all" or one.role == role) and not one.on_sigterm]
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
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Outcome:
    """The whole run in `folder`; raises ServersImpossible where servers cannot be had."""
    began = time.monotonic()
    broker = server = None
    try:
        if not embedded:
            server, broker = await asyncio.gather(asyncio.to_thread(DatabaseServer), asyncio.to_thread(Broker))
        with MailServer(folder / "ledger.jsonl") as mail:
            return await _run(folder, plan, workload, mail, broker, server, resend, progress, began)
    finally:
        for node in (broker, server):
            if node is not None:
                await asyncio.to_thread(node.close)


async def _run(
    folder: Path,
    plan: Plan,
    workload: Workload,
    mail: MailServer,
    broker: Broker | None,
    server: DatabaseServer | None,
    resend: bool | None,
    progress: Callable[[str, int, int], None],
    began: float,
) -> Outcome:
    (folder / "plan.json").write_text(plan.as_json())
    rng = Random(plan.seed)
    url = server.url if server else f"sqlite:///{folder / 'kontaktpflege.sqlite3'}"
    database = Database(url, pool_size=4)
    await _prepare(database, folder, workload, resend)
    speed = workload.jobs * workload.minutes * 60 / plan.seconds
    clock = FastClock(BEGIN, time.time(), speed)
    roles = frozenset({"all"}) if broker is None else frozenset(ROLES)
    armoury = Armoury(rng, roles=roles, every=1 if broker is None else 2)
    crew = Crew(folder, clock, rng, armoury.next)
    crew.skews = (0.0, 0.0, 60.0, -60.0)
    mail.oracle.script = mixed
    scene = Scene(folder, crew, database, clock, mail, rng, broker, server)
    environments = await _environments(scene, url, speed)
    for role in sorted(roles):
        for number in range({"mailer": 3, "all": 1}.get(role, 2)):
            crew.add(role, environments[number % len(environments)])
    try:
        await _break(scene, plan, workload, progress)
        crew.disarm()
        await switch_on_again(scene)
        await _come_to_rest(scene, workload, progress)
        unclear = await _count(database, write_orders.c.state == "unclear")
        codes = await asyncio.to_thread(crew.end)
        verdict = await _judge(scene, workload)
        if await _count(database, write_orders.c.state == "unclear") != unclear:
            verdict.violations.append("I19: SIGTERM left letters unclear")
        verdict.violations += [f"I19: {name} ended with {code}" for name, code in codes.items() if code]
    finally:
        crew.end(0.5)
        await database.close()
    return _outcome(scene, plan, workload, verdict, codes, began)


async def _prepare(database: Database, folder: Path, workload: Workload, resend: bool | None) -> None:
    await migrate(database)
    await apply(database, workload.setup(resend), now=BEGIN)
    file = folder / "applications.csv"
    workload.write_applicants(file)
    await import_applications(database, file, now=BEGIN, author="chaos")


async def _environments(scene: Scene, url: str, speed: float) -> list[dict[str, str]]:
    """Of the first and of the second process of a role: the second speaks through relays that can be cut."""
    common = {
        **SCALED,
        "KP_STATE_DIR": str(scene.folder / "state"),
        "SMTP_URL": scene.mail.oracle.url,
        # By the run's clock, which runs faster.
        "KP_BACKOFF_SECONDS": str(1.5 * speed),
        "KP_RING_AGAIN_SECONDS": str(3 * speed),
        "TZ": os.environ.get("TZ", "UTC"),
    }
    if scene.broker is None:
        return [{**common, "DATABASE_URL": url, "BROKER_URL": "memory://"}]
    scene.relays = [Relay(url), Relay(scene.broker.url)]
    through = [await relay.open() for relay in scene.relays]
    return [
        {**common, "DATABASE_URL": url, "BROKER_URL": scene.broker.url},
        {**common, "DATABASE_URL": through[0], "BROKER_URL": through[1]},
    ]


async def _break(scene: Scene, plan: Plan, workload: Workload, progress: Callable[[str, int, int], None]) -> None:
    """Every event at its time, and crash points as they are reached, until all kills are done."""
    started, under_way = time.monotonic(), []
    events = list(plan.events)
    while events or scene.crew.killed < plan.kills:
        now = time.monotonic() - started
        while events and events[0].at <= now:
            under_way.append(asyncio.create_task(do(scene, events.pop(0))))
        if not events and now > plan.seconds * 1.5:
            break  # the rest of the crash points are not reached: there is no more work
        if not events and now > plan.seconds:
            scene.crew.send(scene.crew.slots[scene.rng.randrange(len(scene.crew.slots))], 9)
            await asyncio.sleep(1.0)
        scene.crew.look_after()
        progress("letters", len(scene.mail.accepted), workload.orders)
        await asyncio.sleep(0.05)
    await asyncio.gather(*under_way)


async def _come_to_rest(scene: Scene, workload: Workload, progress: Callable[[str, int, int], None]) -> None:
    """No faults: waits until every run is dispatched and no order waits; the checker tells what did not."""
    deadline = time.monotonic() + QUIESCENCE
    waiting = write_orders.c.state.in_(("planned", "queued", "sending"))
    while time.monotonic() < deadline:
        scene.crew.look_after()
        progress("letters", len(scene.mail.accepted), workload.orders)
        try:
            open_runs = await _count(scene.database, dispatch_runs.c.state != "dispatched")
            runs = await _count(scene.database, dispatch_runs.c.state == "dispatched")
            resends = await _resends_due(scene.database)
            if not open_runs and runs == workload.jobs and not resends and not await _count(scene.database, waiting):
                return
        except (Unavailable, Conflict):
            pass
        await asyncio.sleep(0.3)


async def _resends_due(database: Database) -> int:
    """Unclear letters that their job sends again by itself after a quarter of an hour."""
    job, order = contact_jobs.c, write_orders.c
    which = (order.state == "unclear", job.on_unclear == "resend", ~order.reason.startswith("resend stopped"))
    statement = select(func.count()).select_from(write_orders.join(contact_jobs, job.id == order.job_id)).where(*which)
    async with database.read() as connection:
        return int((await connection.execute(statement)).scalar_one())


async def _count(database: Database, where: Any) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).where(where))).scalar_one())


async def _judge(scene: Scene, workload: Workload) -> Verdict:
    ledger = read_ledger(scene.folder / "ledger.jsonl")
    expected = {
        name: workload.has_address(name)
        for name in (f"{job}-{number}" for job in range(workload.jobs) for number in range(workload.each))
    }
    verdict = judge(await gather(scene.database, ledger), expected)
    verdict.violations += leaks(scene.folder.glob("*.log"), "kanarienvogel")
    if scene.broker is None:
        async with scene.database.read() as connection:
            sound = (await connection.execute(text("PRAGMA integrity_check"))).scalar_one()
        verdict.violations += [] if sound == "ok" else [f"C29: integrity check: {sound}"]
    return verdict


def _outcome(
    scene: Scene, plan: Plan, workload: Workload, verdict: Verdict, codes: dict[str, int], began: float
) -> Outcome:
    deaths = scene.crew.deaths
    arrivals = sorted(mail.at for mail in scene.mail.accepted)
    faults = Counter(event.fault.value for event in plan.events if event.fault is not Fault.KILL)
    kills = [death.at for death in deaths if death.exit_code == -9]
    return Outcome(
        plan,
        workload,
        "one process, SQLite" if scene.broker is None else "RabbitMQ, PostgreSQL",
        verdict,
        deaths,
        faults,
        Counter(death.crash_point for death in deaths if death.crash_point),
        [],
        _until_next(kills, arrivals),
        _until_next([at for at, _ in scene.returns], arrivals),
        codes,
        time.monotonic() - began,
        _unexpected(deaths) + verdict.violations,
    )


def _until_next(moments: list[float], arrivals: list[float]) -> list[float]:
    """Seconds from each moment to the next letter that arrived; what came after the last letter does not count."""
    later = (next((at for at in arrivals if at > moment), None) for moment in moments)
    return [at - moment for moment, at in zip(moments, later, strict=True) if at is not None]


def _unexpected(deaths: list[Death]) -> list[str]:
    """Processes that ended by themselves."""
    return [f"{one.slot} ended by itself with {one.exit_code}" for one in deaths if one.exit_code != -9]


__all__ = ["Event", "Outcome", "run_chaos"]
