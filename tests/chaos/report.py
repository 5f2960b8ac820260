"""What a run found, for people and as JSON."""

import json
import platform
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.run import Outcome
from tests.servers.programs import program

#: Of the libraries that sending goes through.
_LIBRARIES = ("SQLAlchemy", "psycopg", "pika", "kombu", "aiosmtplib", "uvloop")


@dataclass(frozen=True, slots=True)
class Line:
    """One figure."""

    name: str
    value: Any


def lines(outcome: Outcome) -> list[Line]:
    """The figures of a run, in the order in which they are shown."""
    verdict = outcome.verdict
    unclear = verdict.states["unclear"]
    explained = (
        f"{unclear} (letter arrived {verdict.unclear_arrived}, not taken {verdict.unclear_not_taken}, "
        f"ended between T2 and the dot {verdict.unclear_no_dot}: mailer died or stood still "
        f"{verdict.unclear_no_dot - verdict.unclear_for_nothing})"
    )
    is_clean = not (verdict.lost or verdict.duplicated)
    sent = verdict.states["sent"]
    return [
        Line("stack", outcome.stack),
        Line("seed", outcome.seed),
        Line(
            "kills -9",
            f"{outcome.kills} ({sum(outcome.crash_points.values())} at {len(outcome.crash_points)} crash points)",
        ),
        *[Line(name, count) for name, count in sorted(outcome.faults.items())],
        Line("orders", sum(verdict.states.values())),
        Line("sent", sent),
        Line("no address", verdict.states["no_address"]),
        Line("stopped by people: blocked / withdrawn", f"{verdict.states['blocked']} / {verdict.states['withdrawn']}"),
        Line("refused by the mail server", verdict.states["failed"] - verdict.poison),
        Line("given up: five mailers in a row died with it", verdict.poison),
        Line(
            "dots that nobody can have answered / of these flagged",
            f"{verdict.ambiguous} / {verdict.ambiguous_flagged}",
        ),
        Line("unclear, each with its reason", explained),
        Line("sent again as the job says (on_unclear: resend)", verdict.resent),
        Line("lost", verdict.lost),
        Line("duplicated", verdict.duplicated),
        Line("falsely sent / falsely failed", f"{verdict.false_sent} / {verdict.false_failed}"),
        Line("next letter after a kill, seconds", spread(outcome.after_kill)),
        Line("next letter after broker or database came back", spread(outcome.after_return)),
        Line("95 % bound for a loss or duplicate per letter", bound(verdict.handed_over) if is_clean else "-"),
        Line("duration, seconds", round(outcome.seconds)),
        Line("versions", versions()),
    ]


def bound(trials: int) -> str:
    """None in n trials: with 95 % confidence it happens in less than 3/n of them (rule of three)."""
    return f"< {3 / trials:.1e}" if trials else "-"


def spread(seconds: list[float]) -> str:
    """Median and longest."""
    return f"median {median(seconds):.1f}, longest {max(seconds):.1f} ({len(seconds)})" if seconds else "-"


def versions() -> str:
    """Everything whose behaviour the run depends on."""
    found = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    found += [f"{name} {version(name)}" for name in _LIBRARIES]
    with suppress(Exception):
        said = subprocess.run([program("postgres"), "--version"], capture_output=True, text=True, check=True)
        found.append(said.stdout.strip().replace("postgres (PostgreSQL)", "PostgreSQL").split(" (")[0])
        said = subprocess.run([program("rabbitmqctl"), "version"], capture_output=True, text=True, check=True)
        found.append(f"RabbitMQ {said.stdout.strip()}")
    return ", ".join(found)


def show(outcome: Outcome) -> None:
    """A table on stdout, violations below."""
    console = Console(width=120)
    table = Table("what", "found", title=f"Chaos run: {outcome.title}; {outcome.stack}")
    for line in lines(outcome):
        table.add_row(line.name, str(line.value))
    console.print(table)
    for violation in outcome.verdict.violations[:50]:
        console.print(f"VIOLATION {violation}", style="bold red", markup=False)


def as_json(outcomes: Sequence[Outcome]) -> str:
    """The same for programs: the figures of all runs together, and of each."""
    found = {
        "seed": outcomes[-1].seed,
        "versions": versions(),
        **_figures(outcomes),
        "runs": [{"title": one.title, "stack": one.stack, "seed": one.seed, **_figures([one])} for one in outcomes],
    }
    return json.dumps(found, indent=1, ensure_ascii=False)


def _figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    verdicts = [one.verdict for one in outcomes]

    def together(name: str) -> int:
        return sum(getattr(verdict, name) for verdict in verdicts)

    states = sum((verdict.states for verdict in verdicts), Counter[str]())
    handed_over, is_clean = together("handed_over"), not (together("lost") or together("duplicated"))
    return {
        "kills": sum(one.kills for one in outcomes),
        "faults": dict(sum((one.faults for one in outcomes), Counter[str]())),
        "crash_points": dict(sum((one.crash_points for one in outcomes), Counter[str]())),
        "orders": states.total(),
        **{state: states[state] for state in ("sent", "no_address", "failed", "unclear", "blocked", "withdrawn")},
        **{name: together(name) for name in ("lost", "duplicated", "resent", "false_sent", "false_failed", "poison")},
        **{name: together(name) for name in ("unclear_explained", "ambiguous", "ambiguous_flagged", "handed_over")},
        "recovery_seconds": {
            "after_kill": _spread([seconds for one in outcomes for seconds in one.after_kill]),
            "after_return": _spread([seconds for one in outcomes for seconds in one.after_return]),
        },
        "bound": 3 / handed_over if handed_over and is_clean else None,
        "seconds": round(sum(one.seconds for one in outcomes), 1),
        "violations": [said for verdict in verdicts for said in verdict.violations],
    }


def _spread(seconds: Sequence[float]) -> dict[str, float | int | None]:
    return {
        "median": median(seconds) if seconds else None,
        "longest": max(seconds, default=None),
        "count": len(seconds),
    }
