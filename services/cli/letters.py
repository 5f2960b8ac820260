"""`kontaktpflege letter` and `kontaktpflege attachment`: what is sent, and what may stand in it."""

from pathlib import Path

import typer

from services.cli.context import Desk, at_desk
from services.cli.output import JSON_OPTION, print_fields, print_json, print_table
from shared.db.attachment_store import NewFile, add_attachment, list_attachments, remove_attachment
from shared.db.letter_list import list_letters, show_letter
from shared.domain.letter_values import filters
from shared.domain.letters import PLACEHOLDERS
from shared.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Form letters: placeholders, list, show. `apply` saves them.")
attachments = typer.Typer(no_args_is_help=True, help="Files that letters bring along; a stored file never changes.")
#: What a letter may do besides naming placeholders.
LANGUAGE = (
    "{{ applicant.first_name }} writes a value; an unknown one fails the letter of that applicant by name",
    "{{ application.vacancy | default('eine Stelle') }} writes something else instead of an unknown value",
    "{% if application.received_on %} ... {% elif ... %} ... {% else %} ... {% endif %} tests and compares values",
    "application.custom.NAME is a custom field; names ignore case",
)


@app.command("placeholders")
def placeholders(as_json: bool = JSON_OPTION) -> None:
    """What a letter may name, with examples; and the little language around it."""
    rows = [
        {"name": one.name, "de": one.meaning_de, "en": one.meaning_en, "example": one.example, "date": one.is_date}
        for one in PLACEHOLDERS
    ]
    names = sorted(filters("de"))
    if as_json:
        print_json({"placeholders": rows, "filters": names, "language": LANGUAGE})
        return
    columns = ("name", "de", "en", "example")
    print_table("Placeholders", columns, ([row[column] for column in columns] for row in rows))
    for line in LANGUAGE:
        typer.echo(line)
    typer.echo(f"filters: {', '.join(names)}; | date('long') writes the month's name")


@app.command("list")
def list_all(as_json: bool = JSON_OPTION) -> None:
    """Every letter with its languages, layout and the status that it sets."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await list_letters(connection)
        if as_json:
            print_json(found)
        else:
            columns = tuple(found[0]) if found else ("name",)
            print_table(f"{len(found)} letters", columns, (letter.values() for letter in found))

    at_desk("view", work)


@app.command("show")
def show(name: str = typer.Argument(help="Name of the letter."), as_json: bool = JSON_OPTION) -> None:
    """One letter as it was written, and the history of its changes."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await show_letter(connection, name)
        if as_json:
            print_json(found)
            return
        history = found.pop("history")
        print_fields(found["name"], found)
        if history:
            print_table("History", tuple(history[0]), (event.values() for event in history))

    at_desk("view", work)


@attachments.command("add")
def add(
    file: Path = typer.Argument(help="The file; its name is what the recipient sees.", dir_okay=False),
    id_: str = typer.Option(..., "--id", help="How letters refer to it."),
) -> None:
    """Store a file for letters. The same file again changes nothing; another one needs another id."""
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise InvalidInput("file", str(file), f"cannot be read: {exc.strerror}") from exc

    async def work(desk: Desk) -> None:
        new = NewFile(id_, file.name, content)
        added = await add_attachment(desk.database, new, author=desk.actor.name, now=desk.now)
        typer.echo(f"{id_}: {'stored' if added else 'was stored before'}, {len(content)} bytes")

    at_desk("edit", work)


@attachments.command("list")
def list_files(as_json: bool = JSON_OPTION) -> None:
    """Every stored file."""

    async def work(desk: Desk) -> None:
        async with desk.database.read() as connection:
            found = await list_attachments(connection)
        if as_json:
            print_json(found)
        else:
            columns = tuple(found[0]) if found else ("id",)
            print_table(f"{len(found)} attachments", columns, (one.values() for one in found))

    at_desk("view", work)


@attachments.command("remove")
def remove(id_: str = typer.Argument(metavar="ID", help="Id of the attachment.")) -> None:
    """Remove a file that no version of a letter names."""

    async def work(desk: Desk) -> None:
        await remove_attachment(desk.database, id_, author=desk.actor.name, now=desk.now)
        typer.echo(f"{id_}: removed")

    at_desk("edit", work)
