"""What was measured: samples by name, their medians, and the ratios that count, for people and as JSON."""

import json
import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import median
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from tests.chaos.report import versions

_NOT_MEASURED = "n/a"
#: No page of the console takes longer at a million rows.
PAGE_MS = 300


@dataclass(frozen=True, slots=True)
class Ratio:
    """One ratio of two medians, and what it is to be."""

    key: str
    title: str
    ours: str
    reference: str
    bound: Literal["at least", "at most"]
    wanted: float
    goal: float | None = None
    #: Said of a million applications; with fewer it is not measured.
    of_a_million: bool = False

    def holds(self, value: float) -> bool:
        """Whether a measured value is within the bound."""
        return value >= self.wanted if self.bound == "at least" else value <= self.wanted


RATIOS = (
    Ratio(
        "mailer_vs_smtp_source", "one mailer, of Postfix's smtp-source", "mailer", "smtp-source", "at least", 0.15, 0.25
    ),
    Ratio(
        "mailer_vs_celery", "one mailer, times a Celery worker as usual", "mailer", "celery, usual", "at least", 6, 10
    ),
    Ratio(
        "mailer_vs_celery_best",
        "one mailer, times a Celery worker at its best",
        "mailer",
        "celery, best",
        "at least",
        3,
        5,
    ),
    Ratio(
        "mailer_vs_django_post_office",
        "one mailer, times django-post-office as documented",
        "mailer",
        "django-post-office, usual",
        "at least",
        2.5,
        4.5,
    ),
    Ratio(
        "mailer_vs_django_post_office_best",
        "one mailer, times django-post-office at its best",
        "mailer",
        "django-post-office, best",
        "at least",
        2.5,
        4.5,
    ),
    Ratio(
        "recipients_vs_sql",
        "recipients resolved and orders made, of hand-written SQL",
        "orders made",
        "hand-written SQL",
        "at most",
        1.5,
        1.15,
        of_a_million=True,
    ),
    Ratio(
        "reevaluation_vs_first",
        "nothing changed since, of the first evaluation",
        "evaluated again",
        "orders made",
        "at most",
        1 / 20,
        of_a_million=True,
    ),
    Ratio(
        "birthday_vs_scan",
        "birthdays counted, of a full scan",
        "birthdays",
        "full scan",
        "at most",
        1 / 50,
        of_a_million=True,
    ),
    Ratio(
        "publish_vs_pika", "doorbells published with confirms, of raw pika", "published", "raw pika", "at least", 0.5
    ),
    Ratio(
        "mailers_4_vs_1",
        "four mailers at replies after 50 ms, times one",
        "4 mailers, 50 ms",
        "1 mailer, 50 ms",
        "at least",
        3.5,
    ),
)


@dataclass
class Results:
    """Everything that a run measured. Rates in letters or messages a second, times in seconds, memory in MB."""

    samples: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory_mb: dict[str, float] = field(default_factory=dict)
    #: Cost against size: one row of figures for each size, times in seconds.
    growth: list[dict[str, float]] = field(default_factory=list)
    #: Pages of the console at that many rows: median milliseconds on the server.
    console_ms: dict[str, float] = field(default_factory=dict)
    #: Steps of the sweep while many letters wait: median milliseconds, and rows read.
    sweep: list[dict[str, Any]] = field(default_factory=list)
    #: What a letter leaves in the database, in bytes.
    volume: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    #: Whether there were fewer than a million applications.
    small: bool = False

    def add(self, name: str, value: float) -> None:
        """One more sample."""
        self.samples[name].append(value)

    def take_better(self, name: str, others: Sequence[str]) -> None:
        """Names those samples of `others` whose median is highest: the best case of what is set up in several ways."""
        self.samples[name] = list(max((self.samples[one] for one in others), key=median))

    def median(self, name: str) -> float | None:
        """The median of a name's samples; None where it was not measured."""
        return median(self.samples[name]) if self.samples.get(name) else None

    def ratio(self, one: Ratio) -> float | None:
        """A ratio of medians; None where a side was not measured, or not at the size that the ratio is about."""
        if self.small and one.of_a_million:
            return None
        ours, reference = self.median(one.ours), self.median(one.reference)
        return ours / reference if ours is not None and reference else None

    @property
    def missed(self) -> list[str]:
        """The ratios that are not as wanted."""
        found = [(one, self.ratio(one)) for one in RATIOS]
        slow = [f"console {path}" for path, value in self.console_ms.items() if value >= PAGE_MS]
        return [one.key for one, value in found if value is not None and not one.holds(value)] + slow

    def show(self) -> None:
        """Tables on stdout."""
        console = Console(width=120)
        table = Table("figure", "ratio", "wanted", "goal", "ours", "reference", title=f"make bench, {date.today()}")
        for one in RATIOS:
            value = self.ratio(one)
            table.add_row(
                one.title,
                _NOT_MEASURED if value is None else f"{value:.3g}{'' if one.holds(value) else ' (!)'}",
                f"{one.bound} {one.wanted:.3g}",
                f"{one.goal:.3g}" if one.goal else "",
                _shown(self.median(one.ours)),
                _shown(self.median(one.reference)),
            )
        console.print(table)
        samples = Table("sample", "median", "all", title="samples")
        for name, values in sorted(self.samples.items()):
            samples.add_row(name, _shown(median(values)), ", ".join(map(_shown, values)))
        console.print(samples)
        if self.memory_mb:
            memory = Table("memory", "MB at most", title="memory")
            for name, value in self.memory_mb.items():
                memory.add_row(name, f"{value:.0f}")
            console.print(memory)
        if self.growth:
            growth = Table(*self.growth[0], title="cost against size (seconds)")
            for row in self.growth:
                growth.add_row(*(_shown(value) for value in row.values()))
            console.print(growth)
        if self.console_ms:
            pages = Table("page of the console", f"ms on the server, below {PAGE_MS}", title="console")
            for path, value in self.console_ms.items():
                pages.add_row(path, f"{value:.0f}{'' if value < PAGE_MS else ' (!)'}")
            console.print(pages)
        if self.sweep:
            steps = Table(*self.sweep[0], title="the sweep's steps")
            for step in self.sweep:
                steps.add_row(*(one if isinstance(one, str) else _shown(one) for one in step.values()))
            console.print(steps)
        if self.volume:
            left = Table("what a letter leaves", "bytes", title="volume")
            for name, value in self.volume.items():
                left.add_row(name.removesuffix(", bytes a letter"), _shown(value))
            console.print(left)
        for note in self.notes:
            console.print(note, markup=False)
        console.print(versions(), markup=False)

    def as_json(self) -> str:
        """The same for programs."""
        found = {
            "on": str(date.today()),
            "machine": f"{platform.machine()}, {_cores()} cores",
            "versions": dict(one.rsplit(" ", 1) for one in versions().split(", ")),
            "ratios": {one.key: self.ratio(one) for one in RATIOS},
            "medians": {name: median(values) for name, values in self.samples.items()},
            "samples": dict(self.samples),
            "memory_mb": self.memory_mb,
            "growth": self.growth,
            "console_ms": self.console_ms,
            "sweep": self.sweep,
            "volume": self.volume,
            "missed": self.missed,
        }
        return json.dumps(found, indent=1, ensure_ascii=False)


def _shown(value: float | None) -> str:
    if value is None:
        return _NOT_MEASURED
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cores() -> int:
    return os.cpu_count() or 1
