"""How answers are shown: tables where people read, one JSON document where scripts do."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.db.impact import Impact

#: Columns of a table that goes into a pipe or a file.
PIPE_WIDTH = 200
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d)?")
JSON_OPTION = typer.Option(False, "--json", help="Print one JSON document and nothing else.")


def print_json(document: Any) -> None:
    """One document on stdout."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """A table on stdout; cells are shown as they are, never as markup."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    # A pipe has no width of its own: nothing is to be folded for whoever reads on.
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def print_fields(title: str, fields: Mapping[str, object]) -> None:
    """One record, field by field."""
    print_table(title, ("field", "value"), fields.items())


def print_impact(impact: Sequence[Impact]) -> None:
    """What a change would mean for the next dispatches."""
    columns = ("job", "on", "before", "after", "change", "join, e.g.", "fall out, e.g.")
    rows = [
        (
            *(one.job, one.on, one.before, one.after, _change_of(one)),
            ", ".join(one.added_samples),
            ", ".join(one.removed_samples),
        )
        for one in impact
    ]
    if rows:
        print_table("Recipients of the next dispatch", columns, rows)


def _change_of(one: Impact) -> str:
    people = f"+{one.added} / -{one.removed}"
    return people if one.letters_changed is None else f"{people}, another letter for {one.letters_changed} planned"


def say(text: str) -> None:
    """A line for people, on stderr, so that stdout stays clean for pipes."""
    typer.echo(text, err=True)


def _cell(value: object) -> Text:
    if isinstance(value, Mapping):
        return Text(", ".join(f"{count} {name}" for name, count in value.items()))
    shown = "" if value is None else str(value)
    if not _INSTANT.fullmatch(shown):
        return Text(shown)
    # People read local minutes; scripts get the instant from --json.
    return Text(f"{shown[:10]} {shown[11:16]}" + (" UTC" if shown.endswith("+00:00") else ""))
