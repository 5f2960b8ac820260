"""`kontaktpflege simulate`: the coming days on a virtual clock."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from services.cli.context import Desk, at_desk, parse_day
from services.cli.output import JSON_OPTION, print_json, print_table
from shared.errors import InvalidInput
from shared.simulation import Simulation, private_copy, simulate

#: Longest span, in days.
LONGEST = 400
#: Days that are looked ahead unless said otherwise.
USUAL = 90
#: Collisions shown on the terminal; --json has all.
SHOWN = 20


def simulation(
    from_: str | None = typer.Option(None, "--from", help="First occasion day; default today, from now on."),
    to: str | None = typer.Option(None, "--to", help=f"Last occasion day; default {USUAL} days after the first."),
    job: list[str] = typer.Option([], "--job", help="Only this job, as if it were An; may be repeated."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Who would get which letter on which day: today's data on a virtual clock. Nothing is written, sent or locked."""
    given = parse_day(from_, "--from")
    end = parse_day(to, "--to")

    async def work(desk: Desk) -> Simulation:
        first = given or await desk.today()
        last = end or first + timedelta(days=USUAL)
        _check_span(first, last)
        async with private_copy(desk.database) as connection:
            with _progress() as advance:
                after = None if given else desk.now
                return await simulate(connection, first, last, job, after, advance)

    found = at_desk("view", work)
    if as_json:
        print_json(_document(found))
    else:
        _print(found)


def _check_span(first: date, last: date) -> None:
    if last < first:
        raise InvalidInput("--to", last.isoformat(), f"must not lie before the first day, {first}")
    if (last - first).days >= LONGEST:
        raise InvalidInput("--to", last.isoformat(), f"at most {LONGEST} days from {first}")


@contextmanager
def _progress() -> Iterator[Any]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("dispatches", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _document(found: Simulation) -> dict[str, Any]:
    return {
        "from": found.first.isoformat(),
        "to": found.last.isoformat(),
        "letters": [
            {
                "on": one.on.isoformat(),
                "job": one.job,
                "application": one.application,
                "email": one.email,
                "at": one.at.isoformat(),
            }
            for one in found.letters
        ],
        "skipped": [
            {"on": one.on.isoformat(), "job": one.job, "application": one.application, "reason": one.reason}
            for one in found.skipped
        ],
        "collisions": [
            {
                "application": second.application,
                "letters": [{"on": one.on.isoformat(), "job": one.job} for one in (first, second)],
            }
            for first, second in found.collisions()
        ],
        "letters_per_day": {day.isoformat(): dict(jobs) for day, jobs in sorted(found.per_day().items())},
    }


def _print(found: Simulation) -> None:
    per_day = sorted(found.per_day().items())
    jobs = sorted({letter.job for letter in found.letters})
    title = f"{found.first} to {found.last}: {len(found.letters)} letters"
    total = Counter(letter.job for letter in found.letters)
    rows = [(day, *(counts[job] or "" for job in jobs), counts.total()) for day, counts in per_day]
    print_table(title, ("day", *jobs, "all"), [*rows, ("all", *(total[job] for job in jobs), total.total())])
    reasons = Counter((one.job, one.reason.partition(":")[0]) for one in found.skipped)
    if reasons:
        print_table("Skipped", ("job", "reason", "times"), ((*key, count) for key, count in sorted(reasons.items())))
    collisions = found.collisions()
    if collisions:
        rows_of = ((two.application, one.job, one.at.date(), two.job, two.at.date()) for one, two in collisions[:SHOWN])
        columns = ("application", "first", "on", "then", "on")
        print_table(f"{len(collisions)} times two jobs write to one person within a week", columns, rows_of)
