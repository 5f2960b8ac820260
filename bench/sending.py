"""One mailer process from queue to `sent`, beside the limit and what else people use."""

import os
import subprocess
import time
from collections.abc import Callable

from bench.figures import Results
from bench.mail_sinks import smtp_sink, smtp_source
from bench.orders import queue_orders
from bench.peer_runs import celery_worker, install, post_office
from bench.site import Site

#: SMTP sessions, the same for everybody who lets himself be told; and half of them, as many as Postfix takes of one
#: client where nobody tells it otherwise (docs/decisions/0057).
SESSIONS, FEWER_SESSIONS = 100, 50
#: Processes of a Celery worker at its best: the number that does better in the run is the one that counts.
CELERY_PROCESSES = (4, 8)
_PATIENCE_SECONDS = 600

Tell = Callable[[str], None]


def measure_sending(results: Results, site: Site, letters: int, rounds: int, tell: Tell) -> None:
    """Rounds of smtp-source, our mailer and the peers, one after the other, so that noise meets all of them."""
    install()
    # django-post-office's rate is a difference of two times, which few letters drown in noise.
    fewer, of_office = max(500, letters // 5), max(500, letters // 2)
    with smtp_sink() as port, celery_worker() as celery, post_office() as office:
        for number in range(1, rounds + 1):
            tell(f"sending, round {number} of {rounds}")
            # First, as it tells how long the letters of all others are to be.
            results.add("mailer", mailer_rate(results, site, letters, port))
            size = letter_size(site)
            results.add("smtp-source", letters / smtp_source(port, letters, SESSIONS, size))
            results.add("celery, usual", celery.send(fewer // 2, port, best=False))
            for processes in CELERY_PROCESSES:
                rate = celery.send(fewer, port, best=True, processes=processes)
                results.add(f"celery, best, {processes} processes", rate)
            results.add("django-post-office, usual", office.send(of_office, port, best=False))
            results.add("django-post-office, best", office.send(of_office, port, best=True))
            rate = mailer_rate(results, site, letters // 2, port, sessions=FEWER_SESSIONS)
            results.add(f"mailer, {FEWER_SESSIONS} sessions", rate)
    results.take_better("celery, best", [f"celery, best, {processes} processes" for processes in CELERY_PROCESSES])
    results.notes.append(
        f"sending: {letters} letters of {size} bytes, {SESSIONS} SMTP sessions; peers {fewer} and {of_office}"
    )


def mailer_rate(
    results: Results, site: Site, letters: int, port: int, mailers: int = 1, sessions: int = SESSIONS
) -> float:
    """Letters a second of `mailers` processes, from the first claim to the last settlement."""
    ids = queue_orders(site, letters)
    site.ring(ids)
    settings = {"SMTP_URL": f"smtp://127.0.0.1:{port}", "KP_SMTP_CONNECTIONS": str(sessions)}
    if mailers == 1:
        with site.service("mailer", **settings) as process:
            _wait_until_sent(site, letters)
            _note_cost(results, process, letters, sessions)
    else:
        with site.services("mailer", mailers, **settings):
            _wait_until_sent(site, letters)
    with site.connect() as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM max(settled_at) - min(claimed_at)) FROM attempts"
        ).fetchone()
    assert row is not None
    return letters / float(row[0])


def letter_size(site: Site) -> int:
    """Bytes of the letters that were sent, on average."""
    with site.connect() as connection:
        row = connection.execute("SELECT avg(bytes)::int FROM attempts").fetchone()
    assert row is not None
    return int(row[0])


def _note_cost(results: Results, process: "subprocess.Popen[bytes]", letters: int, sessions: int) -> None:
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    cost = ticks / os.sysconf("SC_CLK_TCK") / letters * 1e6
    results.add(f"mailer, {sessions} sessions, microseconds of CPU a letter", cost)
    results.memory_mb[f"mailer, {sessions} sessions"] = high_water_mb(process.pid)


def high_water_mb(pid: int) -> float:
    """The most memory that a process has had so far."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _wait_until_sent(site: Site, letters: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with site.connect() as connection:
        while time.monotonic() < deadline:
            # From the end, where an open one is found at once: counting all takes the database from what is measured.
            opened = "SELECT 1 FROM write_orders WHERE state IN ('queued', 'sending') ORDER BY id DESC LIMIT 1"
            if connection.execute(opened).fetchone() is None:
                break
            time.sleep(0.25)
        states = dict(connection.execute("SELECT state, count(*) FROM write_orders GROUP BY state").fetchall())
    if states != {"sent": letters}:
        raise RuntimeError(f"{letters} letters were to be sent: {states}")
