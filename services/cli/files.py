"""`import`, `apply`, `export`: files in and out."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from services.cli.context import Desk, at_desk
from services.cli.output import print_impact, print_table, say
from shared.errors import InvalidInput
from shared.exporting import LISTS, export_list
from shared.importing import ImportReport, import_applications, import_contacts
from shared.setup import apply_setup, export_setup, read_setup

imports = typer.Typer(no_args_is_help=True, help="Bring in applications and contacts.")
FILE = typer.Argument(help="CSV (comma, UTF-8) or JSON Lines by ending .jsonl.", dir_okay=False)
STRICT = typer.Option(False, "--strict", help="All or nothing: one bad row and nothing is imported.")
#: Bad rows shown on the terminal; all are counted.
SHOWN_BAD_ROWS = 50


@imports.command("applications")
def applications(file: Path = FILE, strict: bool = STRICT) -> None:
    """Create or update applications by external_id. Bad rows are reported by line, good ones are imported."""
    _import(file, strict, import_applications)


@imports.command("contacts")
def contacts(file: Path = FILE, strict: bool = STRICT) -> None:
    """Create or update contact entries by external_id, or append those without one, once."""
    _import(file, strict, import_contacts)


def _import(file: Path, strict: bool, importer: Callable[..., Awaitable[ImportReport]]) -> None:
    async def work(desk: Desk) -> ImportReport:
        with _progress(file) as advance:
            return await importer(
                desk.database, file, author=desk.actor.name, now=desk.now, strict=strict, progress=advance
            )

    report = at_desk("edit", work)
    _print_report(file, report, strict)
    if report.bad_count:
        raise typer.Exit(1)


class _progress:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, file: Path) -> None:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._file = file

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        task = self._bar.add_task(self._file.name, total=None)
        return lambda done, total: self._bar.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _print_report(file: Path, report: ImportReport, strict: bool) -> None:
    for bad in report.bad_rows[:SHOWN_BAD_ROWS]:
        say(f"{file}, line {bad.line}, column {bad.column}: {bad.value!r}: {bad.reason}")
    if report.bad_count > SHOWN_BAD_ROWS:
        say(f"... and {report.bad_count - SHOWN_BAD_ROWS} more bad rows")
    for warning in report.warnings:
        say(f"note: {warning}")
    typer.echo(report.summary())
    if strict and report.bad_count:
        say("--strict: nothing was imported")


def apply(
    file: Path = typer.Argument(help="A setup file (YAML).", dir_okay=False),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the difference and its impact, change nothing."),
) -> None:
    """Create or update statuses, users, queries, letters, jobs and settings by name; shows the difference.

    Changing statuses, users or settings needs the right admin.
    """

    async def work(desk: Desk) -> Any:
        who: dict[str, Any] = {"author": desk.actor.name, "role": desk.actor.role}
        return await apply_setup(desk.database, read_setup(file), **who, now=desk.now, dry_run=dry_run)

    difference = at_desk("edit", work)
    rows = list(difference.rows())
    if rows:
        print_table(f"{file.name}" + (" (dry run)" if dry_run else ""), ("kind", "name", "change", "old", "new"), rows)
    else:
        typer.echo(f"{file.name}: nothing to change")
    print_impact(difference.impact)
    for warning in difference.warnings:
        say(f"warning: {warning}")


def export(
    what: str = typer.Argument(help=f"setup, {', '.join(LISTS)}."),
    out: Path = typer.Option(..., "--out", help="File to write; its ending chooses the format.", dir_okay=False),
) -> None:
    """Write records to a file: .yaml (setup), .csv, .jsonl or .xlsx."""

    async def work(desk: Desk) -> int:
        if what == "setup":
            if out.suffix not in (".yaml", ".yml"):
                raise InvalidInput("--out", str(out), "the setup is exported as .yaml")
            return await export_setup(desk.database, out)
        with Progress(TextColumn("{task.completed} rows"), console=Console(stderr=True), **_quiet()) as bar:
            task = bar.add_task(what, total=None)
            return await export_list(desk.database, what, out, desk.now, lambda rows: bar.update(task, completed=rows))

    typer.echo(f"{out}: {at_desk('view', work)} records")


def _quiet() -> Any:
    return {"disable": not sys.stderr.isatty()}
