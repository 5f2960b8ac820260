"""`kontaktpflege query`: who matches, on any day."""

import typer

from services.cli.context import ON_OPTION, Desk, at_desk, parse_day
from services.cli.output import JSON_OPTION, print_json, print_table
from shared.db.query_answers import answer_query, count_query

app = typer.Typer(no_args_is_help=True, help="Ask a saved query: who matches, how many.")
NAME = typer.Argument(help="Name of the query.")


@app.command("list")
def list_recipients(name: str = NAME, on: str | None = ON_OPTION, as_json: bool = JSON_OPTION) -> None:
    """Who gets a letter on that day: one application per person, duplicates collapsed."""
    day = parse_day(on)

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await answer_query(connection, name, day, await desk.today())
        if as_json:
            print_json(found)
            return
        rows = (
            (r["application"], r["person"], r["email"], r["last_contact_on"], ", ".join(r["duplicates_collapsed"]))
            for r in found["recipients"]
        )
        title = f"{name} on {found['on']}: {len(found['recipients'])} recipients of {found['matched']} applications"
        print_table(title, ("application", "person", "e-mail", "last contact", "duplicates collapsed"), rows)

    at_desk("view", work)


@app.command("count")
def count(name: str = NAME, on: str | None = ON_OPTION, as_json: bool = JSON_OPTION) -> None:
    """How many applications match on that day, and how many letters that makes."""
    day = parse_day(on)

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await count_query(connection, name, day, await desk.today())
        if as_json:
            print_json(found)
        else:
            typer.echo(f"{found['matched']} applications match on {found['on']}; {found['recipients']} letters")

    at_desk("view", work)
