"""Which orders a command is for - ids, or everything that a filter finds - and doing it one by one."""

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from services.cli.context import Desk, parse_day
from services.cli.output import print_table, say
from shared.db.order_list import STATES, OrderFilter, list_orders
from shared.errors import InvalidInput, KontaktpflegeError

IDS = typer.Argument(None, help="Ids of orders, from `order list`.")
JOB = typer.Option(None, "--job", help="Only orders of this job (a deleted one by its old name).")
TYPE = typer.Option(None, "--type", help="manual, scheduled_rejection, or the name of a job.")
STATE = typer.Option(None, "--state", help=f"One of {', '.join(STATES)}.")
ALL = typer.Option(False, "--all", help="Instead of ids: every order that --job, --type, --state and --on find.")
#: Refusals shown one by one; all are counted.
SHOWN = 20


def order_filter(job: str | None, type_: str | None, state: str | None, on: str | None) -> OrderFilter:
    """The filter of the options; raises InvalidInput."""
    if state is not None and state not in STATES:
        raise InvalidInput("--state", state, f"one of {', '.join(STATES)}")
    return OrderFilter(job=job, type=type_, state=state, on=parse_day(on))


async def chosen(desk: Desk, ids: Sequence[int] | None, which: OrderFilter, everything: bool) -> list[int]:
    """The ids that a command is for; raises InvalidInput unless it is ids or --all with a filter, not both."""
    filtered = which != OrderFilter()
    if ids and (everything or filtered):
        raise InvalidInput("order", ", ".join(map(str, ids)), "give ids, or --all with a filter, not both")
    if ids:
        return list(dict.fromkeys(ids))
    if not (everything and filtered):
        raise InvalidInput("order", None, "give ids, or --all with --job, --type, --state or --on")
    async with desk.database.read() as connection:
        return [order["id"] for order in await list_orders(connection, which)]


async def each(ids: Sequence[int], act: Callable[[int], Awaitable[str]], too_late: str | None = None) -> None:
    """Acts on the orders, each in a transaction of its own; says what happened, and exits 1 if any was refused."""
    if len(ids) == 1:
        answer = await act(ids[0])
        if answer == "too late":
            say(f"order {ids[0]}: {too_late}")
            raise typer.Exit(1)
        typer.echo(f"order {ids[0]}: {answer}")
        return
    answers: Counter[str] = Counter()
    refusals: list[str] = []
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        for order_id in bar.track(ids):
            try:
                answer = await act(order_id)
            except KontaktpflegeError as exc:
                answer = "refused"
                refusals.append(str(exc))
            if answer == "too late":
                refusals.append(f"order {order_id}: {too_late}")
            answers[answer] += 1
    for line in refusals[:SHOWN]:
        say(line)
    print_table(f"{len(ids)} orders", ("answer", "orders"), sorted(answers.items()))
    if refusals:
        raise typer.Exit(1)
