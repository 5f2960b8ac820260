"""What a run consists of: its own servers, its services, a mail server that misbehaves, and one clock for all."""

import asyncio
import os
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from shared.db.engine import Database
from shared.db.migrate import migrate
from shared.importing.applications import import_applications
from tests.chaos.acts import Act
from tests.chaos.crew import Crew
from tests.chaos.fast_clock import FastClock
from tests.chaos.nodes import Broker, DatabaseServer
from tests.chaos.plan import Fault
from tests.chaos.progress import watch
from tests.chaos.workload import BEGIN, Workload
from tests.mail_server import MailServer
from tests.servers.relay import Relay
from tests.services.setup_files import apply
from tests.smtp_scripts import Script, mixed_and_slow

#: Durations of production, scaled so that minutes fit into a run: the logic is unchanged (F.2). Seconds.
SCALED = {
    "KP_TICK_SECONDS": "0.2",
    "KP_LEASE_SECONDS": "4",
    "KP_REPLY_LEASE_SECONDS": "8",
    "KP_SMTP_TIMEOUT_SECONDS": "4",
    "KP_SMTP_FINAL_TIMEOUT_SECONDS": "5",
    "KP_GRACE_SECONDS": "10",
    "KP_SMTP_CONNECTIONS": "5",
    "KP_CLAIM_BATCH": "50",
}
#: How much faster the clock of a run goes.
SPEED = 60.0

Arm = Callable[[str], tuple[str, int] | None]


@dataclass
class Scene:
    """One run. Without broker and database server it is the embedded stack."""

    folder: Path
    workload: Workload
    crew: Crew
    database: Database
    clock: FastClock
    mail: MailServer
    rng: Random
    broker: Broker | None
    server: DatabaseServer | None
    #: By what they lead to and by the role whose second process speaks through them.
    relays: dict[str, dict[str, Relay]] = field(default_factory=dict)
    #: Begin and end (time.monotonic()) of every fault that holds up everybody.
    windows: list[tuple[float, float]] = field(default_factory=list)
    #: When broker or database came back (time.monotonic()), with the fault's name.
    returns: list[tuple[float, str]] = field(default_factory=list)
    #: Jobs that were switched to Aus and must be An at the end.
    off: set[str] = field(default_factory=set)
    #: What people did, in the order of the answers; the letter's editions so far.
    acts: list[Act] = field(default_factory=list)
    editions: int = 0
    #: When (time.monotonic()) a mail for a recipient was announced, and when nothing was due.
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    idle: list[tuple[float, float]] = field(default_factory=list)
    #: When everything had come to rest, or was given up.
    rested: float | None = None
    #: One fault of the servers at a time.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: Processes that were made to stand still, by their ids; how often each fault really did something.
    stopped: set[int] = field(default_factory=set)
    effects: Counter[Fault] = field(default_factory=Counter)
    #: Messages of other hands that the broker took.
    published: int = 0
    #: Set while a fault is on, and after it.
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    began: float = field(default_factory=time.monotonic)

    @property
    def all_relays(self) -> list[Relay]:
        """Every one of them."""
        return [relay for of_one in self.relays.values() for relay in of_one.values()]

    @property
    def embedded(self) -> bool:
        """One process on SQLite."""
        return self.broker is None

    @property
    def stack(self) -> str:
        """For people."""
        return "one process, SQLite" if self.embedded else "RabbitMQ, PostgreSQL"


@asynccontextmanager
async def open_scene(
    folder: Path,
    workload: Workload,
    rng: Random,
    arm: Arm,
    *,
    embedded: bool,
    crew: Mapping[str, int],
    resend: bool | None = None,
) -> AsyncIterator[Scene]:
    """Everything running, `crew` processes of each role; raises ServersImpossible where servers cannot be had.

    `arm` chooses crash points; `resend`: what all jobs do with unclear letters (None: half of them each).
    """
    broker = server = None
    try:
        if not embedded:
            server, broker = await asyncio.gather(asyncio.to_thread(DatabaseServer), asyncio.to_thread(Broker))
        url = server.url if server else f"sqlite:///{folder / 'kontaktpflege.sqlite3'}"
        database = Database(url, pool_size=4)
        await _prepare(database, folder, workload, resend)
        with MailServer(folder / "ledger.jsonl") as mail:
            clock = FastClock(BEGIN, time.time(), SPEED)
            scene = Scene(folder, workload, Crew(folder, clock, rng, arm), database, clock, mail, rng, broker, server)
            mail.oracle.script = noting(scene.asked, mixed_and_slow)
            direct = _environment(scene, url)
            for role, count in crew.items():
                second = direct if embedded else await _through_relays(scene, role, direct)
                for number in range(count):
                    scene.crew.add(role, second if number == 1 else direct)
            watching = asyncio.create_task(watch(database, clock, scene.idle))
            try:
                yield scene
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                scene.crew.end(0.5)
                await database.close()
    finally:
        for node in (broker, server):
            if node is not None:
                await asyncio.to_thread(node.close)


def noting(asked: dict[str, list[float]], script: Script) -> Script:
    """A mail server's manners, with the time at which each recipient was named."""

    def noted(address: str, attempt: int) -> str | None:
        asked[address].append(time.monotonic())
        return script(address, attempt)

    return noted


async def _prepare(database: Database, folder: Path, workload: Workload, resend: bool | None) -> None:
    await migrate(database)
    await apply(database, workload.setup(resend), now=BEGIN)
    file = folder / "applications.csv"
    workload.write_applicants(file)
    await import_applications(database, file, now=BEGIN, author="chaos")


def _environment(scene: Scene, url: str) -> dict[str, str]:
    return {
        **SCALED,
        "KP_STATE_DIR": str(scene.folder / "state"),
        "SMTP_URL": scene.mail.oracle.url,
        # By the run's clock, which runs faster.
        "KP_BACKOFF_SECONDS": str(1.5 * SPEED),
        "KP_RING_AGAIN_SECONDS": str(3 * SPEED),
        "TZ": os.environ.get("TZ", "UTC"),
        "DATABASE_URL": url,
        "BROKER_URL": scene.broker.url if scene.broker else "memory://",
    }


async def _through_relays(scene: Scene, role: str, direct: Mapping[str, str]) -> dict[str, str]:
    """Of the second process of a role: what it says to broker and database can be cut."""
    found = dict(direct)
    for name in ("DATABASE_URL", "BROKER_URL"):
        relay = Relay(direct[name])
        found[name] = await relay.open()
        scene.relays.setdefault(name, {})[role] = relay
    return found
