"""`kontaktpflege person`: one human being, however many applications."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from services.cli.context import Desk, at_desk, parse_day
from services.cli.output import JSON_OPTION, print_fields, print_json, print_table, say
from services.mailer.again import WritingAgain
from shared.db.candidate_requests import finish, open_requests
from shared.db.candidate_wishes import LESS
from shared.db.person_commands import Stopped, block, opt_in, opt_out, unblock, want_as_usual, want_less
from shared.db.person_file import show_person
from shared.db.returned_addresses import restore_address
from shared.errors import InvalidInput
from shared.evidence import write_evidence

app = typer.Typer(no_args_is_help=True, help="Persons: show, opt out and in, block and unblock.")
APPLICATION = typer.Argument(help="External id of any application of the person.")
JOB = typer.Option(None, "--job", help="Only for this job and its copies; default all jobs.")
#: What of a letter the person's file shows; --json has all.
LETTER = ("id", "job", "application", "occasion_day", "state", "planned_for", "sent_at", "reason")
#: What of a request the list shows.
REQUEST = ("id", "application", "kind", "words", "made_at", "recruiter")
Wanted = StrEnum("Wanted", {one.name: one.value for wish, back, _ in LESS for one in (wish, back)})  # type: ignore[misc]


@app.command("show")
def show(application: str = APPLICATION, as_json: bool = JSON_OPTION) -> None:
    """Applications, opt-out, blocks and letters of a person."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await show_person(connection, application)
        if as_json:
            print_json(found)
            return
        lists = {key: value for key, value in found.items() if isinstance(value, list)}
        print_fields(f"Person of {application}", {k: v for k, v in found.items() if k not in lists})
        for title, rows in lists.items():
            if rows:
                columns = LETTER if title == "letters" else tuple(rows[0])
                print_table(title, columns, ([row[column] for column in columns] for row in rows))

    at_desk("view", work)


@app.command("evidence")
def evidence(
    application: str = APPLICATION,
    out: Path = typer.Option(..., "--out", help="The zip to write.", dir_okay=False),
) -> None:
    """Everything that is kept of a person, for an information request (Art. 15 GDPR); the history tells of it."""

    async def work(desk: Desk) -> None:
        if out.suffix != ".zip":
            raise InvalidInput("--out", str(out), "the evidence file is a .zip")
        who: dict[str, Any] = {"author": desk.actor.name, "now": desk.now}
        counts = await write_evidence(desk.database, application, out, WritingAgain(desk.settings), **who)
        typer.echo(f"{out}: {', '.join(f'{count} {name}' for name, count in counts.items())}")

    at_desk("admin", work)


@app.command("opt-out")
def opt_out_one(
    application: str = APPLICATION,
    reason: str | None = typer.Option(None, "--reason", help="Why; kept in the history."),
) -> None:
    """No more contact care for the person: letters on their way are stopped, manual ones are not."""

    async def work(desk: Desk) -> None:
        done = await opt_out(desk.database, application, reason=reason, author=desk.actor.name, now=desk.now)
        _tell(f"person of {application}: " + ("opted out" if done.changed else "had opted out before"), done)

    at_desk("operate", work)


@app.command("opt-in")
def opt_in_one(application: str = APPLICATION) -> None:
    """Contact care again: plans to come count the person; what was withdrawn stays withdrawn."""

    async def work(desk: Desk) -> None:
        done = await opt_in(desk.database, application, author=desk.actor.name, now=desk.now)
        typer.echo(f"person of {application}: " + ("opted in" if done.changed else "had not opted out"))

    at_desk("operate", work)


@app.command("wish")
def wish_one(
    application: str = APPLICATION,
    wish: Wanted = typer.Argument(help="What the person wants less of, or as usual again."),
) -> None:
    """No birthday letters, or at most one letter a year; `birthday` and `as_usual` take it back."""

    async def work(desk: Desk) -> None:
        wanted, less = next((one, less) for one, back, less in LESS if wish.value in (one.value, back.value))
        act = want_less if wish.value == wanted.value else want_as_usual
        done = await act(desk.database, application, less, author=desk.actor.name, now=desk.now)
        said = f"person of {application}: {wish.value}"
        _tell(said if done.changed else f"{said} held before", done)

    at_desk("operate", work)


@app.command("requests")
def list_requests(as_json: bool = JSON_OPTION) -> None:
    """What candidates ask for on their page and nobody has done yet, the oldest first."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await open_requests(connection)
        rows = [{**row, "made_at": row["made_at"].isoformat()} for row in found]
        if as_json:
            print_json([{name: row[name] for name in REQUEST} for row in rows])
        else:
            print_table("Requests", REQUEST, ([row[name] for name in REQUEST] for row in rows))

    at_desk("view", work)


@app.command("request-done")
def finish_request(request: int = typer.Argument(help="Its id.")) -> None:
    """Say that a candidate's request has been dealt with."""

    async def work(desk: Desk) -> None:
        await finish(desk.database, request, author=desk.actor.name, now=desk.now)
        typer.echo(f"request {request}: done")

    at_desk("operate", work)


@app.command("block")
def block_one(
    application: str = APPLICATION,
    reason: str = typer.Option(..., "--reason", help="Why; shown with the person and the orders."),
    job: str | None = JOB,
    until: str | None = typer.Option(None, "--until", help="Until this day; only for all jobs."),
) -> None:
    """Block the person for a job or for all jobs; letters on their way are stopped."""
    last = parse_day(until, "--until")

    async def work(desk: Desk) -> None:
        done = await block(
            desk.database, application, job=job, until=last, reason=reason, author=desk.actor.name, now=desk.now
        )
        _tell(f"person of {application}: blocked", done)

    at_desk("operate", work)


@app.command("unblock")
def unblock_one(application: str = APPLICATION, job: str | None = JOB) -> None:
    """Lift the person's blocks for a job, or those for all jobs."""

    async def work(desk: Desk) -> None:
        lifted = await unblock(desk.database, application, job=job, author=desk.actor.name, now=desk.now)
        typer.echo(f"person of {application}: {lifted} blocks lifted")

    at_desk("operate", work)


@app.command("address-works")
def address_works(application: str = APPLICATION) -> None:
    """Use an address again that letters came back from: for who knows that it works."""

    async def work(desk: Desk) -> None:
        restored = await restore_address(desk.database, application, author=desk.actor.name, now=desk.now)
        typer.echo(f"the address is used again by {', '.join(restored)}")

    at_desk("operate", work)


def _tell(text: str, done: Stopped) -> None:
    typer.echo(f"{text}, {done.stopped} letters stopped" if done.changed else text)
    if done.too_late:
        say(f"too late for {done.too_late} letters: they are handed over")
