"""`kontaktpflege order`: the workcenter - every write order of every type."""

import typer

from services.cli.context import ON_OPTION, Desk, at_desk, parse_day
from services.cli.output import JSON_OPTION, print_fields, print_json, print_table, say
from shared.db.order_commands import block, retry, settle, unblock
from shared.db.order_list import STATES, OrderFilter, list_orders, show_order
from shared.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="The workcenter: list, show, block, retry and settle write orders.")
ID = typer.Argument(help="Id of the order, from `order list`.")
#: What of an attempt helps to decide about an unclear order; --json has all.
EVIDENCE = ("attempt_no", "claimed_at", "handed_over_at", "outcome", "relay", "message_id", "bytes", "reply_text")
COLUMNS = ("id", "job", "application", "occasion_day", "state", "planned_for", "sent_at", "email", "reason")


@app.command("list")
def list_all(
    job: str | None = typer.Option(None, "--job", help="Only orders of this job (a deleted one by its old name)."),
    type_: str | None = typer.Option(None, "--type", help="manual, scheduled_rejection, or the name of a job."),
    state: str | None = typer.Option(None, "--state", help=f"One of {', '.join(STATES)}."),
    on: str | None = ON_OPTION,
    limit: int | None = typer.Option(None, "--limit", min=1, help="At most so many."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write orders by occasion day, with their state and the reason for it."""
    if state is not None and state not in STATES:
        raise InvalidInput("--state", state, f"one of {', '.join(STATES)}")
    which = OrderFilter(job=job, type=type_, state=state, on=parse_day(on), limit=limit)

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await list_orders(connection, which)
        if as_json:
            print_json(found)
        else:
            rows = ([order["job"] or order["type"] if c == "job" else order[c] for c in COLUMNS] for order in found)
            print_table(f"{len(found)} write orders", COLUMNS, rows)

    at_desk("view", work)


@app.command("show")
def show(order_id: int = ID, as_json: bool = JSON_OPTION) -> None:
    """One order with its attempts (the evidence for `settle`) and its history."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await show_order(connection, order_id)
        if as_json:
            print_json(found)
            return
        tries, history = found.pop("attempt_history"), found.pop("events")
        print_fields(f"Write order {order_id}", found)
        if tries:
            print_table("Attempts", EVIDENCE, ([one[c] for c in EVIDENCE] for one in tries))
        if history:
            print_table("History", tuple(history[0]), (event.values() for event in history))

    at_desk("view", work)


@app.command("block")
def block_one(
    order_id: int = ID,
    reason: str = typer.Option(..., "--reason", help="Why; shown with the order."),
    scope: str = typer.Option("job", "--scope", help="letter: this one; job: all of the job; all: every job."),
    until: str | None = typer.Option(None, "--until", help="With --scope all: until this day."),
) -> None:
    """Block a letter before it is sent; the person gets none from the job until unblocked."""
    last = parse_day(until)
    if scope not in ("letter", "job", "all"):
        raise InvalidInput("--scope", scope, "one of letter, job, all")
    if last is not None and scope != "all":
        raise InvalidInput("--until", until, "only with --scope all")
    if not reason.strip():
        raise InvalidInput("--reason", reason, "say why")

    async def work(desk: Desk) -> None:
        answer = await block(
            desk.database, order_id, scope=scope, reason=reason, until=last, now=desk.now, author=desk.actor.name
        )
        if answer == "too late":
            wider = "" if scope == "letter" else "; the block is stored for the letters to come"
            say(f"order {order_id}: too late, this letter is handed over or has ended{wider}")
            raise typer.Exit(1)
        typer.echo(f"order {order_id}: {answer}")

    at_desk("operate", work)


@app.command("delete")
def delete_one(order_id: int = ID) -> None:
    """Delete an order in the workcenter: blocks it for the job (a manual order is withdrawn)."""

    async def work(desk: Desk) -> None:
        answer = await block(
            desk.database, order_id, scope="job", reason="deleted", until=None, now=desk.now, author=desk.actor.name
        )
        typer.echo(f"order {order_id}: {answer}")
        if answer == "too late":
            raise typer.Exit(1)

    at_desk("operate", work)


@app.command("unblock")
def unblock_one(order_id: int = ID) -> None:
    """Lift a block: planned again before the send moment, else withdrawn."""

    async def work(desk: Desk) -> None:
        state = await unblock(desk.database, order_id, now=desk.now, author=desk.actor.name)
        typer.echo(f"order {order_id}: unblocked, now {state}")

    at_desk("operate", work)


@app.command("retry")
def retry_one(order_id: int = ID) -> None:
    """Send a failed order, or one without address, again."""

    async def work(desk: Desk) -> None:
        await retry(desk.database, order_id, now=desk.now, author=desk.actor.name)
        typer.echo(f"order {order_id}: queued again")

    at_desk("operate", work)


@app.command("settle")
def settle_one(
    order_id: int = ID,
    decision: str = typer.Argument(help="sent: it arrived; resend: send it again; failed: give it up."),
) -> None:
    """Decide an unclear order: it was handed over and the mail server's answer is unknown."""
    if decision not in ("sent", "resend", "failed"):
        raise InvalidInput("decision", decision, "one of sent, resend, failed")

    async def work(desk: Desk) -> None:
        await settle(desk.database, order_id, decision, now=desk.now, author=desk.actor.name)
        typer.echo(f"order {order_id}: settled as {decision}")

    at_desk("operate", work)
