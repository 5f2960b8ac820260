"""`audit`: whether the history of all changes is as it was written."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from services.cli.context import Desk, at_desk
from services.cli.output import JSON_OPTION, print_json
from shared.db.history_check import HistoryCheck, check_history, read_head
from shared.errors import Refused

app = typer.Typer(no_args_is_help=True, help="The history of all changes: check that nobody has changed it.")


@app.callback()
def group() -> None:
    """Keeps `verify` a command of its own name."""


@app.command()
def verify(
    head: str = typer.Option("", "--head", help="A head noted before, kept where nobody of the database can reach it."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Compute every seal again; names the first row that was changed, is missing, was added or is out of order."""
    noted = read_head(head) if head else None

    async def work(desk: Desk) -> HistoryCheck:
        with _bar() as advance:
            return await check_history(desk.database, noted, advance)

    found = at_desk("view", work)
    if as_json:
        counts = {"sealed": found.sealed, "erased": found.erased, "unsealed": found.unsealed}
        print_json({"whole": found.fault is None, "fault": found.fault, "head": str(found.head), **counts})
        if found.fault:
            raise typer.Exit(1)
        return
    if found.fault:
        raise Refused(f"the history is not whole: {found.fault}")
    typer.echo(
        f"the history is whole: {found.sealed} rows sealed, of {found.erased} the words are erased; "
        f"{found.unsealed} wait for their seal"
    )
    typer.echo(f"head {found.head}")


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("history", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
