"""`kontaktpflege order`: the workcenter - every write order of every type."""

from dataclasses import replace
from typing import Any

import typer

from services.cli.context import ON_OPTION, Desk, at_desk, parse_day, parse_instant
from services.cli.order_choice import ALL, IDS, JOB, STATE, TYPE, chosen, each, order_filter
from services.cli.output import JSON_OPTION, print_fields, print_json, print_table
from shared.db.consent_answers import answer_question
from shared.db.manual_orders import TYPES, Wish, create_order
from shared.db.order_commands import block, decide_resend, retry, settle, still_blocked, unblock
from shared.db.order_list import list_orders, show_order
from shared.domain.consent import Answer
from shared.errors import InvalidInput

app = typer.Typer(
    no_args_is_help=True, help="The workcenter: list, show, create, block, retry and settle write orders."
)
ID = typer.Argument(help="Id of the order, from `order list`.")
#: What of an attempt helps to decide about an unclear order, field by field: a Message-ID is looked for as a whole.
EVIDENCE = (
    *("relay", "message_id", "handed_over_at", "bytes", "body_hash"),
    *("mailer", "claimed_at", "settled_at", "outcome", "reply_code", "reply_text"),
)
#: What `settle` has done.
SETTLED = {
    "sent": "settled as sent",
    "resend": "queued again; it goes out at the earliest 15 minutes after its hand-over, after another last look",
    "failed": "settled as failed, nothing is sent",
}
ASKED = "a second user has to approve that it is sent again: asked for"
TOO_LATE = "too late, this letter is handed over or has ended"
COLUMNS = ("id", "job", "application", "occasion_day", "state", "planned_for", "sent_at", "email", "reason")


@app.command("list")
def list_all(
    job: str | None = JOB,
    type_: str | None = TYPE,
    state: str | None = STATE,
    on: str | None = ON_OPTION,
    from_: str | None = typer.Option(None, "--from", help="First occasion day."),
    to: str | None = typer.Option(None, "--to", help="Last occasion day."),
    recruiter: str | None = typer.Option(None, "--recruiter", help="Login name of the application's recruiter."),
    limit: int | None = typer.Option(None, "--limit", min=1, help="At most so many."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write orders by occasion day, with their state and the reason for it."""
    first, last = parse_day(from_, "--from"), parse_day(to, "--to")
    which = replace(order_filter(job, type_, state, on), recruiter=recruiter, limit=limit, first=first, last=last)

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await list_orders(connection, which)
        if as_json:
            print_json(found)
        else:
            rows = ([_what(order) if c == "job" else order[c] for c in COLUMNS] for order in found)
            print_table(f"{len(found)} write orders", COLUMNS, rows)

    at_desk("view", work)


def _what(order: dict[str, Any]) -> Any:
    return order["job"] or order["task"] or order["type"]


@app.command("create")
def create(
    type_: str = typer.Argument(metavar="TYPE", help=f"One of {', '.join(TYPES)}."),
    application: str = typer.Argument(help="External id of the application."),
    letter: str = typer.Option(..., "--letter", help="Name of the form letter; its status must fit the type."),
    at: str | None = typer.Option(None, "--at", help="When, as 2026-12-01T08:00 (local) or with an offset; else now."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Write to one application: now, or at a time; a scheduled rejection is sent unless hired or rejected by then."""
    wish = Wish(type_, application, letter, parse_instant(at, "--at"))

    async def work(desk: Desk) -> None:
        made = await create_order(desk.database, wish, author=desk.actor.name, now=desk.now)
        if as_json:
            print_json(made)
        else:
            typer.echo(f"order {made['id']}: {type_} to {application}, planned for {made['planned_for']}")

    at_desk("operate", work)


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
        for one in tries:
            print_fields(f"Attempt {one['attempt_no']}", {name: one[name] for name in EVIDENCE})
        if history:
            print_table("History", tuple(history[0]), (event.values() for event in history))

    at_desk("view", work)


@app.command("block")
def block_orders(
    ids: list[int] | None = IDS,
    reason: str = typer.Option(..., "--reason", help="Why; shown with the order."),
    scope: str = typer.Option("job", "--scope", help="letter: this one; job: all of the job; all: every job."),
    until: str | None = typer.Option(None, "--until", help="With --scope all: until this day."),
    job: str | None = JOB,
    type_: str | None = TYPE,
    state: str | None = STATE,
    on: str | None = ON_OPTION,
    everything: bool = ALL,
) -> None:
    """Block letters before they are sent; the person gets none from the job until unblocked."""
    last = parse_day(until, "--until")
    if scope not in ("letter", "job", "all"):
        raise InvalidInput("--scope", scope, "one of letter, job, all")
    if last is not None and scope != "all":
        raise InvalidInput("--until", until, "only with --scope all")
    if not reason.strip():
        raise InvalidInput("--reason", reason, "say why")
    which = order_filter(job, type_, state, on)
    wider = "" if scope == "letter" else "; the block is stored for the letters to come"

    async def work(desk: Desk) -> None:
        async def one(order_id: int) -> str:
            return await block(
                desk.database, order_id, scope=scope, reason=reason, until=last, now=desk.now, author=desk.actor.name
            )

        await each(await chosen(desk, ids, which, everything), one, f"{TOO_LATE}{wider}")

    at_desk("operate", work)


@app.command("delete")
def delete_orders(
    ids: list[int] | None = IDS,
    job: str | None = JOB,
    type_: str | None = TYPE,
    state: str | None = STATE,
    on: str | None = ON_OPTION,
    everything: bool = ALL,
) -> None:
    """Delete orders in the workcenter: blocks them for the job (a manual order is withdrawn)."""
    which = order_filter(job, type_, state, on)

    async def work(desk: Desk) -> None:
        async def one(order_id: int) -> str:
            return await block(
                desk.database, order_id, scope="job", reason="deleted", until=None, now=desk.now, author=desk.actor.name
            )

        await each(await chosen(desk, ids, which, everything), one, TOO_LATE)

    at_desk("operate", work)


@app.command("unblock")
def unblock_orders(
    ids: list[int] | None = IDS,
    job: str | None = JOB,
    type_: str | None = TYPE,
    state: str | None = STATE,
    on: str | None = ON_OPTION,
    everything: bool = ALL,
) -> None:
    """Lift blocks: planned again before the send moment, else withdrawn."""
    which = order_filter(job, type_, state, on)

    async def work(desk: Desk) -> None:
        async def one(order_id: int) -> str:
            state = await unblock(desk.database, order_id, now=desk.now, author=desk.actor.name)
            others = await still_blocked(desk.database, order_id)
            still = f"; the person is still {'; '.join(others)} (`person unblock` lifts that)" if others else ""
            return f"unblocked, now {state}{still}"

        await each(await chosen(desk, ids, which, everything), one)

    at_desk("operate", work)


@app.command("retry")
def retry_orders(
    ids: list[int] | None = IDS,
    job: str | None = JOB,
    type_: str | None = TYPE,
    state: str | None = STATE,
    on: str | None = ON_OPTION,
    everything: bool = ALL,
) -> None:
    """Send failed orders, or those without address, again.

    What was given up while it was unclear goes out 15 minutes after its hand-over at the earliest.
    """
    which = order_filter(job, type_, state, on)

    async def work(desk: Desk) -> None:
        async def one(order_id: int) -> str:
            await retry(desk.database, order_id, now=desk.now, author=desk.actor.name)
            return "queued again"

        await each(await chosen(desk, ids, which, everything), one)

    at_desk("operate", work)


@app.command("settle")
def settle_one(
    order_id: int = ID,
    decision: str = typer.Argument(
        metavar="sent|resend|failed",
        help="sent: the mail server accepted it; resend: send it again; failed: give it up.",
    ),
) -> None:
    """Decide an unclear order: it was handed over and the mail server's answer is unknown.

    `order show` has the evidence. The history names who decided.
    """
    if decision not in SETTLED:
        raise InvalidInput("decision", decision, f"one of {', '.join(SETTLED)}")

    async def work(desk: Desk) -> None:
        done = await settle(desk.database, order_id, decision, now=desk.now, author=desk.actor.name)
        typer.echo(f"order {order_id}: {SETTLED[decision] if done else ASKED}")

    at_desk("operate", work)


@app.command("approve")
def approve(order_id: int = ID) -> None:
    """With four eyes: yes, send the unclear letter again. By another user than who asked for it."""

    async def work(desk: Desk) -> None:
        await decide_resend(desk.database, order_id, approve=True, now=desk.now, author=desk.actor.name)
        typer.echo(f"order {order_id}: {SETTLED['resend']}")

    at_desk("operate", work)


@app.command("refuse")
def refuse(order_id: int = ID) -> None:
    """With four eyes: no, the unclear letter is not sent again; it stays unclear."""

    async def work(desk: Desk) -> None:
        await decide_resend(desk.database, order_id, approve=False, now=desk.now, author=desk.actor.name)
        typer.echo(f"order {order_id}: refused, it stays unclear")

    at_desk("operate", work)


@app.command("answer")
def answer_one(
    order_id: int = ID,
    answer: str = typer.Argument(
        metavar="stay|delete",
        help="stay: consent is renewed; delete: rejected and reduced to core data, after a day of grace.",
    ),
) -> None:
    """Write down what somebody answered to a consent letter by another way, such as the telephone."""
    if answer not in {one.value for one in Answer}:
        raise InvalidInput("answer", answer, f"one of {', '.join(Answer)}")

    async def work(desk: Desk) -> None:
        found = await answer_question(desk.database, order_id, Answer(answer), now=desk.now, author=desk.actor.name)
        then = f"deletion on {found.deleted_on}" if found.deleted_on else "consent renewed"
        typer.echo(f"order {order_id}: {answer}, {then}")

    at_desk("operate", work)
