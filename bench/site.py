"""An installation of its own for a measurement: database, vhost, setup, and services as processes."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from bench.letter import HTML, SUBJECT, TEXT
from shared.bus.connect import open_bus
from shared.bus.interface import Bus
from shared.bus.messages import WriteOrderReady
from shared.db.engine import Database
from shared.logs import get_logger
from tests.servers import __main__ as servers
from tests.servers.fresh import fresh_database, fresh_vhost

T = TypeVar("T")
#: Doorbells published together.
_TOGETHER = 2000

SETUP = f"""
settings: {{time_zone: Europe/Berlin, sender: "Personalabteilung <hr@firma.example>", frequency_cap_days: 7}}
statuses:
  - {{name: Neu, meta: new}}
  - {{name: Pool, meta: pool}}
  - {{name: Prüfung, meta: in_process}}
  - {{name: Gespräch, meta: interview}}
  - {{name: Angebot, meta: offer}}
  - {{name: Nachfrage, meta: in_process}}
  - {{name: Fachbereich, meta: in_process}}
  - {{name: Absage, meta: rejected}}
  - {{name: Absage nach Gespräch, meta: rejected}}
  - {{name: Eingestellt, meta: hired}}
users: [{{name: a.weber, display_name: Anna Weber, email: a.weber@firma.example, role: edit}}]
queries:
  - name: Nicht vergessen
    filters: [{{field: status, in: [Pool]}}, {{field: days_since_last_contact, more_than: 390}}]
  - {{name: Pool, filters: [{{field: status, in: [Pool]}}, {{field: has_email, is: true}}]}}
  - {{name: Geburtstag, filters: [{{field: birthday_in_days, from: 0, to: 0}}]}}
letters:
  - name: Brief
    language: de
    subject: {json.dumps(SUBJECT)}
    text: {json.dumps(TEXT)}
    html: {json.dumps(HTML)}
jobs:
  - {{name: Gruß, status: An, query: Pool, letter: Brief, dispatch: rolling, time: "23:59",
     sender: "user:a.weber", repeat_guard_days: 365, valid_days: 30}}
  - {{name: Nicht vergessen, status: An, query: Nicht vergessen, letter: Brief, dispatch: rolling, time: "23:59",
     sender: "user:a.weber", repeat_guard_days: 365, valid_days: 30}}
"""


@dataclass
class Site:
    """One installation."""

    database_url: str
    broker_url: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str, given: str | None = None) -> str:
        """What `kontaktpflege ARGUMENTS` says; raises RuntimeError with its words."""
        done = subprocess.run(
            _program(arguments), env=self._environment({}), input=given, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"kontaktpflege {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    @contextmanager
    def service(self, role: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A service that has said that it started; it is told to end afterwards."""
        log = self.folder / f"{role}-{time.monotonic_ns()}.log"
        # A state of its own: orders that the round before has sent are forgotten, and a mailer that remembered them
        # would hold the database for an older copy (C56).
        state = tempfile.mkdtemp(prefix="state-", dir=self.folder)
        given = self._environment({"KP_STATE_DIR": state, **settings})
        with log.open("wb") as output:
            process = subprocess.Popen(_program(("run", role)), env=given, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    @contextmanager
    def services(self, role: str, count: int, **settings: str) -> Iterator[list["subprocess.Popen[bytes]"]]:
        """Several processes of a service."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.service(role, **settings)) for _ in range(count)]

    def connect(self) -> psycopg.Connection[Any]:
        """A connection that commits each statement."""
        return psycopg.connect(self.database_url, autocommit=True)

    def on_database(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """Runs product code on the database."""

        async def run() -> T:
            database = Database(self.database_url, pool_size=4)
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(run())

    def on_bus(self, work: Callable[[Bus], Awaitable[T]]) -> T:
        """Runs product code on the broker."""

        async def run() -> T:
            bus = open_bus(self.broker_url, get_logger("bench"))
            await bus.open()
            try:
                return await work(bus)
            finally:
                await bus.close()

        return asyncio.run(run())

    def ring(self, order_ids: Sequence[int]) -> None:
        """Publishes the doorbells of these orders."""

        async def publish(bus: Bus) -> None:
            for start in range(0, len(order_ids), _TOGETHER):
                taken = await bus.publish([WriteOrderReady(one) for one in order_ids[start : start + _TOGETHER]])
                if not all(taken):
                    raise RuntimeError("the broker refused doorbells")

        self.on_bus(publish)

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "BROKER_URL": self.broker_url,
            "KP_STATE_DIR": str(self.folder / "state"),
            "KP_LOG_FORMAT": "json",
            **self.environment,
            **settings,
        }


@contextmanager
def new_site() -> Iterator[Site]:
    """An installation with the bench's setup, removed afterwards."""
    given = servers.environment()
    with (
        tempfile.TemporaryDirectory(prefix="kontaktpflege-bench-") as folder,
        fresh_database(given["TEST_DATABASE_URL"]) as database_url,
        fresh_vhost(given) as broker_url,
    ):
        site = Site(database_url, broker_url, Path(folder))
        site.command("migrate")
        setup = site.folder / "setup.yaml"
        setup.write_text(SETUP)
        site.command("apply", str(setup))
        yield site


def _program(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "services", *arguments]
