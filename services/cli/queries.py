"""`kontaktpflege query`: who matches, on any day, and why."""

from typing import Any

import typer

from services.cli.context import ON_OPTION, Desk, at_desk, parse_day
from services.cli.output import JSON_OPTION, print_json, print_table
from shared.db.query_answers import answer_query, count_query
from shared.db.query_list import list_queries, show_query
from shared.db.why import explain
from shared.db.why_days import HORIZON_DAYS

app = typer.Typer(no_args_is_help=True, help="Ask a saved query: who matches, how many, why.")
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


@app.command("all")
def list_all(as_json: bool = JSON_OPTION) -> None:
    """Every saved query, and how many jobs ask it."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await list_queries(connection)
        if as_json:
            print_json(found)
        else:
            columns = tuple(found[0]) if found else ("name",)
            print_table(f"{len(found)} queries", columns, (query.values() for query in found))

    at_desk("view", work)


@app.command("show")
def show(name: str = NAME, as_json: bool = JSON_OPTION) -> None:
    """One query: its conditions, the jobs that ask it, the history of its changes."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await show_query(connection, name)
        if as_json:
            print_json(found)
            return
        rows = ((number, _as_written(one)) for number, one in enumerate(found["filters"], 1))
        print_table(f"{found['name']}, version {found['version']}", ("", "condition"), rows)
        typer.echo(f"asked by: {', '.join(found['jobs']) or 'no job'}")
        if found["history"]:
            print_table("History", tuple(found["history"][0]), (event.values() for event in found["history"]))

    at_desk("view", work)


@app.command("why")
def why(
    name: str = NAME,
    application: str = typer.Argument(help="External id of the application."),
    on: str | None = ON_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Why an application gets a letter on that day, or why not: conditions, duplicates, rules, and from when on."""
    day = parse_day(on)

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await explain(connection, name, application, day, await desk.today())
        if as_json:
            print_json(found)
        else:
            _print_why(found)

    at_desk("view", work)


def _print_why(found: dict[str, Any]) -> None:
    rows = [
        (one["number"], _as_written(one["filter"]), one["value"], "yes" if one["passes"] else "NO")
        for one in found["conditions"]
    ]
    print_table(f"{found['query']} on {found['on']}: {found['application']}", ("", "condition", "found", "holds"), rows)
    typer.echo(f"{found['application']}: {found['reason']}")
    if found["note"]:
        typer.echo(f"note: {found['note']}")
    for job in found["jobs"]:
        stopped = job["stopped_by"]["reason"] if job["stopped_by"] else "not stopped by a rule"
        typer.echo(f"job {job['job']}: {stopped}; first letter: {job['first_letter_on'] or _NEVER}")
    typer.echo(f"first day on which it would match: {found['first_match_on'] or _NEVER}")


_NEVER = f"none within {HORIZON_DAYS} days"


def _as_written(filter_: dict[str, Any]) -> str:
    def shown(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()

    return " ".join([filter_["field"], *(f"{key} {shown(v)}" for key, v in filter_.items() if key != "field")])
