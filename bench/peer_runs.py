"""Runs the peers: installs them once, gives each its own database and vhost, and times a number of letters."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from bench.letter import HTML, SUBJECT, TEXT
from tests.servers import __main__ as servers
from tests.servers.fresh import fresh_database, fresh_vhost

_FOLDER = Path(__file__).resolve().parent / "peers"
_ENVIRONMENT = Path(__file__).resolve().parents[1] / ".state" / "bench-peers"
_PATIENCE_SECONDS = 300


def install() -> None:
    """An environment with the peers in their pinned versions, made once."""
    requirements = _FOLDER / "requirements.txt"
    stamp = _ENVIRONMENT / "installed.txt"
    if stamp.is_file() and stamp.read_text() == requirements.read_text():
        return
    uv = Path(sys.executable).parent / "uv"
    make = [str(uv), "venv", "--quiet", "--clear", str(_ENVIRONMENT), "--python", sys.executable]
    subprocess.run(make, check=True)
    into = [str(uv), "pip", "install", "--quiet", "--python", str(_ENVIRONMENT / "bin" / "python"), "-r"]
    subprocess.run([*into, str(requirements)], check=True)
    stamp.write_text(requirements.read_text())


class CeleryWorker:
    """A Celery worker: `usual` opens a connection for each mail, `best` keeps it and builds mails by hand."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def send(self, letters: int, port: int, *, best: bool, processes: int = 4) -> float:
        """Letters a second, from the first one noted as sent to the last."""
        given = {**self._environment, "PEER_SMTP_PORT": str(port), "PEER_BEST": "1" if best else "0"}
        with psycopg.connect(given["PEER_DATABASE"], autocommit=True) as connection:
            connection.execute(_PEER_TABLE)
            connection.execute(_PEER_LETTERS, {"letters": letters})
            connection.execute("VACUUM ANALYZE peer_letters")
            _run(["python", "celery_fill.py", "1", str(letters)], given)
            options = ["--concurrency", str(processes), "--without-gossip", "--without-mingle", "--without-heartbeat"]
            with _started(["celery", "-A", "celery_worker", "worker", "-l", "ERROR", *options], given):
                _wait_until_sent(connection)
            found = connection.execute("SELECT extract(epoch FROM max(sent_at) - min(sent_at)) FROM peer_letters")
            row = found.fetchone()
        assert row is not None
        return letters / float(row[0])


class PostOffice:
    """django-post-office's `send_queued_mail`: as its documentation shows it, and with processes and threads."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def send(self, letters: int, port: int, *, best: bool) -> float:
        """Letters a second, without what the command needs when nothing is queued."""
        given = {**self._environment, "PEER_SMTP_PORT": str(port), "PEER_BEST": "1" if best else "0"}
        command = ["python", "-m", "django", "send_queued_mail", *(["--processes", "2"] if best else [])]
        _run(["python", "post_office_fill.py", "0"], given)
        idle = _timed(command, given)
        _run(["python", "post_office_fill.py", str(letters)], given)
        busy = _timed(command, given)
        with psycopg.connect(given["PEER_DATABASE"], autocommit=True) as connection:
            left = connection.execute(
                "SELECT count(*) FROM post_office_email WHERE status IS DISTINCT FROM 0"
            ).fetchone()
        if left != (0,):
            raise RuntimeError(f"django-post-office left {left} mails")
        return letters / (busy - idle)


_PEER_TABLE = """
DROP TABLE IF EXISTS peer_letters;
CREATE TABLE peer_letters (id int PRIMARY KEY, email text, last_name text, salutation text, vacancy text,
  state text DEFAULT 'queued', sent_at timestamptz)
"""

_PEER_LETTERS = """
INSERT INTO peer_letters
SELECT n, 'a' || n || '@b.example', 'Müller-' || n, (ARRAY['female', 'male'])[1 + n %% 2], 'Elektroniker'
FROM generate_series(1, %(letters)s) n
"""


@contextmanager
def celery_worker() -> Iterator[CeleryWorker]:
    """One with a vhost and a database of its own."""
    given = servers.environment()
    with fresh_database(given["TEST_DATABASE_URL"]) as database, fresh_vhost(given) as broker:
        yield CeleryWorker({**_base(), "PEER_BROKER": broker, "PEER_DATABASE": database})


@contextmanager
def post_office() -> Iterator[PostOffice]:
    """One with a database of its own."""
    with fresh_database(servers.environment()["TEST_DATABASE_URL"]) as database:
        parts = urlsplit(database)
        yield PostOffice(
            {
                **_base(),
                "DJANGO_SETTINGS_MODULE": "post_office_site",
                "PEER_DATABASE": database,
                "PEER_DATABASE_NAME": parts.path.removeprefix("/"),
                "PEER_DATABASE_USER": parts.username or "",
                "PEER_DATABASE_PORT": str(parts.port),
            }
        )


def _base() -> dict[str, str]:
    templates = json.dumps({"subject": SUBJECT, "text": TEXT, "html": HTML})
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**plain, "PEER_TEMPLATES": templates, "PYTHONPATH": str(_FOLDER)}


def _program(command: list[str]) -> list[str]:
    return [str(_ENVIRONMENT / "bin" / command[0]), *command[1:]]


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(_program(command), env=environment, cwd=_FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")


def _timed(command: list[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    _run(command, environment)
    return time.perf_counter() - began


@contextmanager
def _started(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(_program(command), env=environment, cwd=_FOLDER, stdout=said, stderr=said)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_sent(connection: psycopg.Connection[object]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        # As for ours: from the end, not by counting.
        opened = "SELECT 1 FROM peer_letters WHERE state <> 'sent' ORDER BY id DESC LIMIT 1"
        if connection.execute(opened).fetchone() is None:
            return
        time.sleep(0.2)
    raise RuntimeError("the Celery worker did not send everything")
