"""One installation in a test: a clock that is moved, a bus that records, the services' own steps one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from structlog import get_logger

from services.evaluator.evaluate import evaluate
from services.mailer.letters import Letters
from services.scheduler.sweep import sweep
from services.scheduler.tick import tick
from shared.bus.interface import QueueDepth
from shared.bus.messages import JobDue, Message, WriteOrderReady
from shared.bus.topology import ROUTES
from shared.clock import FixedClock
from shared.db.dispatch import StepResult, run_now
from shared.db.engine import Database
from shared.db.jobs import set_job
from shared.db.system_settings import ensure_instance_id, load_system_settings
from shared.db.tables import applications, write_orders
from shared.db.write_orders.claims import Claim, Claimant, ClaimedOrder, claim
from shared.db.write_orders.intents import Intent, intend
from shared.db.write_orders.outcomes import Settlement, settle
from tests.services.import_files import Files, lines
from tests.services.setup_files import apply

JOB = "Gruß"
DAY = date(2026, 11, 23)
#: 07:00 in Berlin, an hour before the job's dispatch.
MORNING = datetime.fromisoformat("2026-11-23T07:00:00+01:00")
SETUP = """
settings: {time_zone: Europe/Berlin, catch_up_hours: 6, sync_minutes: 5, sender: "HR <hr@firma.example>"}
statuses: [{name: Neu, meta: new}, {name: Pool, meta: pool}, {name: Absage, meta: rejected}]
users: [{name: a.weber, display_name: Anna Weber, email: a.weber@firma.example, role: edit}]
queries:
  - {name: Neue, filters: [{field: status, in: [Neu]}]}
  - {name: Geburtstag, filters: [{field: birthday_in_days, from: 0, to: 0}]}
letters:
  - {name: Brief, subject: "Guten Tag", text: "Guten Tag {{ applicant.last_name }}"}
  - {name: Ende, subject: "Absage", text: "Leider nein", sets_status: Absage}
jobs:
  - {name: Gruß, status: An, query: Neue, letter: Brief, dispatch: rolling, time: "08:00", sender: "user:a.weber",
     repeat_guard_days: 30, valid_days: 2}
"""
#: With four eyes, and people who can look.
EYES = SETUP.replace("sync_minutes: 5", "sync_minutes: 5, four_eyes: yes").replace(
    "users: [",
    "users: ["
    + "".join(f"{{name: {name}, display_name: {name}, role: operate}}, " for name in ("anna", "bert", "clara")),
)
COLUMNS = "external_id,duplicate_set,last_name,email,status,birth_date"


class RecordingBus:
    """Takes every message and keeps it; nobody reads it here."""

    ready = True

    def __init__(self) -> None:
        self.messages: list[Message] = []
        #: Messages in each queue, as depths tells. While there are any, no doorbell is taken for lost.
        self.waiting = 1

    async def publish(self, messages: Sequence[Message], _: Sequence[str] = ()) -> list[bool]:
        self.messages += messages
        return [True] * len(messages)

    async def depths(self) -> list[QueueDepth]:
        return [QueueDepth(route.queue, self.waiting, 1) for route in ROUTES]

    def taken(self) -> list[Message]:
        """What was published since the last call."""
        found, self.messages = self.messages, []
        return found


@dataclass
class World:
    """The installation."""

    database: Database
    folder: Path
    clock: FixedClock = field(default_factory=lambda: FixedClock(MORNING))
    bus: Any = field(default_factory=RecordingBus)
    log: Any = field(default_factory=get_logger)

    async def begin(self, *applicants: str, setup: str = SETUP) -> None:
        """The setup, applied the evening before, and applicants as rows of COLUMNS."""
        async with self.database.begin() as connection:
            await ensure_instance_id(connection)
        await apply(self.database, setup, now=MORNING - timedelta(hours=12))
        await self.applicants(*applicants)

    async def applicants(self, *rows: str) -> None:
        report = await Files(self.database, self.folder).applications(lines(COLUMNS, *rows))
        assert not report.bad_rows

    async def queued(self, *applicants: str, setup: str = SETUP) -> list[int]:
        """Orders released by hand and rung for, one per applicant."""
        await self.begin(*(applicants or ("A1,,Eins,a1@x.example,Neu,",)), setup=setup)
        await self.run()
        return await self.turn()

    async def change(self, name: str = JOB, **pairs: str) -> Any:
        return await set_job(self.database, name, pairs, author="anna", now=self.clock.now())

    async def run(self, name: str = JOB, on: date | None = DAY) -> StepResult:
        """`job run`."""
        async with self.database.begin() as connection:
            result, _ = await run_now(connection, name, on, self.clock.now(), "anna")
        return result

    async def turn(self) -> list[int]:
        """One tick, the evaluator's answer to every JobDue, one sweep; returns the orders that were rung for."""
        await tick(self.database, self.bus, self.clock, self.log)
        for message in self.bus.taken():
            assert isinstance(message, JobDue)
            await evaluate(self.database, self.bus, self.clock, message.run_id, self.log)
        await self.sweep()
        return [message.order_id for message in self.bus.taken() if isinstance(message, WriteOrderReady)]

    async def sweep(self, ring_again: timedelta = timedelta(minutes=2)) -> None:
        await sweep(self.database, self.bus, self.clock, ring_again, self.log)

    async def claim(self, *order_ids: int, mailer: str = "m1", lease: float = 60) -> Claim:
        """T1."""
        async with self.database.begin() as connection:
            settings = await load_system_settings(connection)
            message_ids = Letters(None).message_ids(settings)
            return await claim(connection, order_ids, Claimant(mailer, lease, self.clock.now(), settings, message_ids))

    async def intend(self, *held: ClaimedOrder, reply_lease: float = 60) -> set[int]:
        """T2."""
        async with self.database.begin(at_once=True) as connection:
            intents = [Intent(o.id, o.token, o.job_id, 2048, "0" * 64) for o in held]
            return await intend(connection, intents, reply_lease, self.clock.now())

    async def settle(self, order: ClaimedOrder, state: str, **values: Any) -> set[int]:
        """T3."""
        return await self.settle_all([order], state, **values)

    async def settle_all(self, orders: Sequence[ClaimedOrder], state: str, **values: Any) -> set[int]:
        """T3 of several orders in one transaction."""
        settlements = [self._settlement(order, state, **values) for order in orders]
        async with self.database.begin() as connection:
            return await settle(connection, settlements)

    def _settlement(self, order: ClaimedOrder, state: Any, **values: Any) -> Settlement:
        sent = {"subject": "Guten Tag", "message_id": order.message_id} if state == "sent" else {}
        return Settlement(order.id, order.token, state, self.clock.now(), **sent, **values)

    async def send(self, *order_ids: int) -> None:
        """T1 to T3 of orders that the mail server accepts."""
        for order in (await self.claim(*order_ids)).orders:
            assert await self.intend(order) == {order.id}
            await self.settle(order, "sent")

    async def orders(self, day: date | None = None) -> dict[str, str]:
        """State of the orders by application's external id, or of those of one day."""
        return {row["external_id"]: row["state"] for row in await self.rows(day)}

    async def rows(self, day: date | None = None) -> list[dict[str, Any]]:
        """The orders with their application's external id."""
        o, a = write_orders.c, applications.c
        statement = select(write_orders, a.external_id).join(applications, a.id == o.application_id).order_by(o.id)
        if day is not None:
            statement = statement.where(o.occasion_day == day)
        async with self.database.read() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def order(self, application: str) -> dict[str, Any]:
        (found,) = [row for row in await self.rows() if row["external_id"] == application]
        return found

    async def state(self, order_id: int) -> str:
        """The state of one order."""
        return next(str(row["state"]) for row in await self.rows() if row["id"] == order_id)

    async def count(self, table: Any, *where: Any) -> int:
        async with self.database.read() as connection:
            return int((await connection.execute(select(func.count()).select_from(table).where(*where))).scalar_one())
