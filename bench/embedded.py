"""The embedded mode, one process on SQLite without a broker: from the first claim to the last settlement."""

import csv
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import Results
from bench.mail_sinks import smtp_sink
from bench.site import SETUP, Site

_PATIENCE_SECONDS = 300
_FIELDS = ("external_id", "salutation", "first_name", "last_name", "email", "vacancy", "recruiter", "status")

Tell = Callable[[str], None]


def measure_embedded(results: Results, letters: int, tell: Tell) -> None:
    """Claim, last look, SMTP and settlement, with all services in the one process."""
    tell(f"embedded: {letters:,} letters")
    with tempfile.TemporaryDirectory(prefix="kontaktpflege-bench-") as name, smtp_sink() as port:
        folder = Path(name)
        settings = {"SMTP_URL": f"smtp://127.0.0.1:{port}", "KP_SMTP_CONNECTIONS": "50"}
        site = Site(f"sqlite:///{folder}/kp.db", "memory://", folder, {})
        site.command("migrate")
        (folder / "setup.yaml").write_text(SETUP, encoding="utf-8")
        site.command("apply", str(folder / "setup.yaml"))
        _write_csv(folder / "applicants.csv", letters)
        site.command("import", "applications", str(folder / "applicants.csv"))
        site.command("job", "run", "Gruß", "--yes")
        with site.service("all", **settings):
            results.add("embedded (SQLite, memory://)", letters / _seconds(folder / "kp.db", letters))


def _write_csv(path: Path, letters: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_FIELDS)
        for number in range(1, letters + 1):
            salutation = ("female", "male")[number % 2]
            who = (f"Vorname{number % 1000}", f"Müller-{number}", f"a{number}@d{number % 5000}.example")
            rows.writerow((f"A{number}", salutation, *who, "Elektroniker", "a.weber", "Pool"))


def _seconds(path: Path, letters: int) -> float:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        while time.monotonic() < deadline:
            time.sleep(0.5)
            first, last, sent = connection.execute(_PROGRESS).fetchone()
            if sent == letters:
                return float(last - first) / 1e6
    finally:
        connection.close()
    raise RuntimeError(f"embedded: {sent} of {letters} letters were sent in {_PATIENCE_SECONDS} s")


_PROGRESS = "SELECT min(claimed_at), max(settled_at), sum(outcome = 'sent') FROM attempts"
