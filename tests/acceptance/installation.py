"""A good installation on servers of its own, of which tests spoil one thing at a time, and doctor as people call it."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
import structlog
from psycopg import sql

from services.public.app import build_public
from shared.bus.connect import open_bus
from shared.clock import SystemClock
from shared.db.engine import Database
from shared.settings import load_settings
from tests.chaos.nodes import Broker, DatabaseServer
from tests.forked_commands import run_command
from tests.mail_server import MailServer
from tests.page_server import answering
from tests.servers.fresh import at_path
from tests.smtp_scripts import well_behaved
from tests.stacks import SAMPLE

ROOT = Path(__file__).resolve().parents[2]
#: Part of every password: doctor must never say it.
SECRET = "geheim"
APP, READER, MAILER = "kp_app", "kp_reader", "anna"
#: The database that every test gets a copy of.
TEMPLATE = "house"
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Report:
    """What doctor said: its exit code, and its findings as in `--json`."""

    code: int
    findings: list[dict[str, Any]]
    err: str

    @property
    def wrong(self) -> list[dict[str, Any]]:
        """The findings that are not ok."""
        return [one for one in self.findings if one["verdict"] != "ok"]

    def the_only_trouble(self, check: str, *, place: str, value: str, fix: str, grave: bool = True) -> None:
        """Exactly one thing is wrong, and it is told with these words. What depends on it is not known."""
        found = [one for one in self.wrong if not one["value"].startswith("not known: ")]
        assert len(found) == 1, self.wrong
        (one,) = found
        assert (one["check"], one["verdict"]) == (check, "FAIL" if grave else "warn"), one
        assert place in one["place"] and value in one["value"] and fix in one["fix"], one
        assert self.code == int(grave)


class Servers:
    """A database server that asks for passwords, a broker, a mail server with STARTTLS and AUTH."""

    def __init__(self, folder: Path, certificate: Path, tls: Any) -> None:
        self.certificate, self._tls = certificate, tls
        self.database, self.broker = DatabaseServer(), Broker()
        self.mail = MailServer(folder / "ledger")
        self.mail.__enter__()
        with closing(psycopg.connect(self.database.url, autocommit=True)) as connection:
            for role in (APP, READER):
                create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                connection.execute(create.format(sql.Identifier(role), sql.Literal(f"{SECRET}-{role}")))
            self._ask_for_passwords(connection)
        self.keys = f"{SECRET}-of-links-{'x' * 32}"
        self.make_database(TEMPLATE, template="template0")
        environment = {**os.environ, "DATABASE_URL": self.database_url(TEMPLATE, APP)}
        for arguments in (["migrate"], ["apply", str(SAMPLE / "setup.yaml")]):
            command = [sys.executable, "-m", "services", *arguments]
            subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True)
        self._answer_candidates(folder)

    def _answer_candidates(self, folder: Path) -> None:
        """The candidates' page behind https, on a database of its own."""
        self.make_database("page", template=TEMPLATE)
        settings = load_settings({"KP_LINK_KEYS": self.keys, "KP_PUBLIC_URL": "https://localhost/pflege"})
        app = build_public(Database(self.database_url("page", APP)), SystemClock(), settings)
        self._page = answering(app, folder)
        self.page_url = f"https://localhost:{self._page.__enter__()}/pflege"

    def make_database(self, name: str, template: str) -> None:
        create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} ENCODING 'UTF8'")
        names = (sql.Identifier(one) for one in (name, APP, template))
        with closing(psycopg.connect(self.database.url, autocommit=True)) as connection:
            connection.execute(create.format(*names))

    def database_url(self, database: str, role: str, password: str = "") -> str:
        port = urlsplit(self.database.url).port
        return f"postgresql://{role}:{password or f'{SECRET}-{role}'}@127.0.0.1:{port}/{database}"

    def _ask_for_passwords(self, connection: "psycopg.Connection[Any]") -> None:
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        lines = ["host all kp_test 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"]
        copy = sql.SQL("COPY (SELECT unnest({}::text[])) TO {}")
        connection.execute(copy.format(sql.Literal(lines), sql.Literal(row[0])))
        connection.execute("SELECT pg_reload_conf()")

    def behave(self) -> None:
        """The mail server is as it should be again."""
        oracle = self.mail.oracle
        oracle.script, oracle.starttls, oracle.credentials = well_behaved, self._tls, (MAILER, f"{SECRET}-mail")
        oracle.verbs.clear()

    def close(self) -> None:
        self._page.__exit__(None, None, None)
        self.mail.__exit__()
        self.broker.close()
        self.database.close()


class Installation:
    """A database with the sample's setup, a vhost with its queues, secrets in files: nothing is wrong with it."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.servers, self.folder = servers, folder
        self.name = f"doctor_{os.getpid()}_{next(_NUMBERS)}"
        servers.behave()
        servers.make_database(self.name, template=TEMPLATE)
        self.make_vhost(self.name)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("KP_")},
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL_FILE": self.secret("database_url", self.database_url(APP)),
            "BROKER_URL_FILE": self.secret("broker_url", self.broker_url()),
            "SMTP_URL": f"smtp+starttls://{MAILER}@localhost:{servers.mail.oracle.port}",
            "SMTP_PASSWORD_FILE": self.secret("smtp_password", f"{SECRET}-mail"),
            "SSL_CERT_FILE": str(servers.certificate),
            "KP_STATE_DIR": str(folder / "state"),
            "KP_PUBLIC_PORT": "8081",
            "KP_PUBLIC_URL": servers.page_url,
            "KP_LINK_KEYS_FILE": self.secret("link_keys", servers.keys),
        }
        asyncio.run(self._declare())

    def make_vhost(self, name: str) -> None:
        self.manage("PUT", f"vhosts/{name}")
        self.allow("guest", ".*", ".*", ".*", vhost=name)

    def allow(self, user: str, configure: str, write: str, read: str, vhost: str = "") -> None:
        rights = {"configure": configure, "write": write, "read": read}
        self.manage("PUT", f"permissions/{vhost or self.name}/{user}", rights)

    def manage(self, method: str, path: str, body: Any = None) -> Any:
        return self.servers.broker.manage(method, path, body)

    async def _declare(self) -> None:
        """The queues, as the services declare them."""
        bus = open_bus(self.broker_url(), structlog.get_logger())
        await bus.open()
        await bus.close()

    def database_url(self, role: str, password: str = "") -> str:
        return self.servers.database_url(self.name, role, password)

    def granted(self, share: str) -> str:
        """The address of a role that has a share of the rights here, and no more."""
        assert self.command("migrate", f"--grant={share}={READER}").returncode == 0
        return self.database_url(READER)

    def broker_url(self, account: str = "guest:guest", vhost: str = "") -> str:
        return at_path(self.servers.broker.url.replace("guest:guest", account), vhost or self.name)

    def secret(self, name: str, content: str) -> str:
        path = self.folder / name
        path.write_text(content)
        path.chmod(0o600)
        return str(path)

    def execute(self, statement: LiteralString, *values: Any) -> None:
        """Somebody changes the database behind the system's back."""
        url = at_path(self.servers.database.url, self.name)
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(statement, values or None)

    def command(self, *arguments: str, **changed: str) -> "subprocess.CompletedProcess[str]":
        """A command of the product, to its end; "" takes a setting away."""
        environment = {name: value for name, value in {**self.environment, **changed}.items() if value}
        return run_command(arguments, environment, None, 60, self.folder)

    def doctor(self, *arguments: str, **changed: str) -> Report:
        """What it tells programs; never a secret."""
        document, err, code = self.said("doctor", *arguments, "--json", **changed)
        return Report(code, json.loads(document) if document else [], err)

    def said(self, *arguments: str, **changed: str) -> tuple[str, str, int]:
        """What a command says on stdout and on stderr, and its exit code; no secret is in it."""
        done = self.command(*arguments, **changed)
        assert SECRET not in done.stdout + done.stderr and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done.stdout, done.stderr, done.returncode
