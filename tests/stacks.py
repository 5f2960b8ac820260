"""The whole product as users run it: real processes, over both stacks."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

import psycopg
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from tests.forked_commands import Process, run_command, start_service
from tests.prepared_data import fill

SAMPLE = Path(__file__).parent.parent / "services" / "cli" / "sample"
#: A moment at which no job of the sample comes due for many hours.
QUIET_MOMENT = "2026-11-23T13:00:00+01:00"
SCENARIOS = ("Prozesshänger", "Geburtstagsgrüße", "Endgültige Absage Pool")
#: Mails that must arrive for each scenario on 2026-11-23.
EXPECTED = {"Prozesshänger": 835, "Geburtstagsgrüße": 8, "Endgültige Absage Pool": 100}


class Stack:
    """One installation: its environment, its command line, its running services."""

    def __init__(
        self, folder: Path, database_url: str, broker_url: str, smtp_url: str, *, copies: bool = False
    ) -> None:
        """`copies`: its database is empty and its own, and may be replaced by a copy of one that was filled before."""
        self.folder, self.embedded, self.copies = folder, broker_url.startswith("memory:"), copies
        #: Its services are started as users start them, each with imports of its own.
        self.fresh = False
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("KP_")},
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            "SMTP_URL": smtp_url,
            "KP_STATE_DIR": str(folder / "state"),
            "KP_CLOCK_START": QUIET_MOMENT,
            "KP_TICK_SECONDS": "0.2",
            "KP_LEASE_SECONDS": "4",
            "KP_REPLY_LEASE_SECONDS": "6",
            "KP_SMTP_FINAL_TIMEOUT_SECONDS": "6",
            "KP_BACKOFF_SECONDS": "1",
            "KP_RING_AGAIN_SECONDS": "3",
            "KP_LOG_FORMAT": "json",
            # Many run side by side; tests of the console choose a port.
            "KP_CONSOLE_PORT": "0",
        }
        self.processes: list[tuple[str, Process]] = []

    def cli(
        self, *arguments: str, check: bool = True, stdin: TextIO | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """One command; its exit code is checked unless told otherwise."""
        done = run_command(arguments, {**self.environment, **environment}, stdin, 300)
        assert "Traceback" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def answer(self, *arguments: str) -> Any:
        """The JSON document that a command prints."""
        return json.loads(self.cli(*arguments, "--json").stdout)

    def load_sample(self) -> None:
        """Schema, setup, applications, contacts."""
        self._fill(("sample",), self._load_sample)

    def _fill(self, what: tuple[str, ...], load: Callable[[], None]) -> None:
        # Services that run already hold on to the database.
        if not self.copies or self.running():
            load()
            return
        given = sorted(self.environment.items())
        settings = (f"{name}={value}" for name, value in given if name.startswith("KP_") and name != "KP_STATE_DIR")
        fill(self.environment["DATABASE_URL"], (*what, *settings), load)

    def _load_sample(self) -> None:
        self.cli("migrate")
        self.cli("apply", str(SAMPLE / "setup.yaml"))
        self.cli("import", "applications", str(SAMPLE / "applications.csv"))
        self.cli("import", "contacts", str(SAMPLE / "contacts.csv"))

    def load_many(self, count: int) -> None:
        """Schema, setup, and so many applicants with an address whom nobody has written to for long."""
        self._fill(("many", str(count)), lambda: self._load_many(count))

    def _load_many(self, count: int) -> None:
        file = self.folder / "many.csv"
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["external_id", "last_name", "email", "vacancy", "recruiter", "status", "received_on"])
            for number in range(count):
                person = [f"T-{number:04d}", f"Muster{number}", f"t{number}@firma.example", "Koch", "a.weber"]
                writer.writerow([*person, "Neu online", "2026-01-05"])
        self.cli("migrate")
        self.cli("apply", str(SAMPLE / "setup.yaml"))
        self.cli("import", "applications", str(file))

    def start(self, *roles: str, **environment: str) -> None:
        """Starts services; on the embedded stack one process holds them all."""
        for role in ("all",) if self.embedded else roles or ("scheduler", "evaluator", "mailer"):
            log = (self.folder / f"{role}-{len(self.processes)}.log").open("wb")
            process = start_service(role, {**self.environment, **environment}, log, fresh=self.fresh)
            self.processes.append((role, process))

    def kill(self, role: str) -> None:
        """kill -9 of every running process of a role (embedded: of the one there is)."""
        for name, process in self.running():
            if name in (role, "all"):
                process.kill()
                process.wait(10)

    def running(self) -> list[tuple[str, Process]]:
        return [(role, process) for role, process in self.processes if process.poll() is None]

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; returns the exit codes."""
        running = self.running()
        for _, process in running:
            process.send_signal(signal.SIGTERM)
        return {f"{role}-{number}": process.wait(60) for number, (role, process) in enumerate(running)}

    def close(self) -> None:
        for _, process in self.running():
            process.kill()
            process.wait(10)

    def has_logged(self, what: str) -> bool:
        """Whether a service has written it, however long ago."""
        return any(what in path.read_text(errors="replace") for path in self.folder.glob("*.log"))

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))

    def states(self, day: str = "2026-11-23") -> dict[str, int]:
        """How many orders of an occasion day are in each state, straight from the rows: polled often."""
        url = self.environment["DATABASE_URL"]
        query = "SELECT state, count(*) FROM write_orders WHERE occasion_day = {} GROUP BY state"
        # By the drivers alone: an engine looks around in each new connection, which costs more than the answer.
        if self.embedded:
            with closing(sqlite3.connect(str(make_url(url).database), timeout=30)) as file:
                return dict(file.execute(query.format("?"), (day,)).fetchall())
        _, arguments = PGDialect_psycopg().create_connect_args(make_url(url))
        with closing(psycopg.connect(**arguments)) as connection:
            return dict(connection.execute(query.format("%s"), (day,)).fetchall())

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Waits for a state, with a deadline."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s\n{self.logs()}"
            time.sleep(0.1)
