"""The overview for people, in German and English: one page, without anything that is loaded from elsewhere."""

import html
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from shared.evidence.words import CODES, COLUMNS, FACTS, INDEX_HEAD, LISTS, WORDS, WRITTEN_OUT


class Page:
    """Takes rows as they come; `whole` is the page."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {name: [] for name in LISTS}

    def add(self, name: str, row: Mapping[str, Any]) -> None:
        """A row of a list: with all that is known where there are few, else its columns."""
        if name in WRITTEN_OUT:
            self._rows[name].append(f"<table>{_facts(row, tuple(row))}</table>")
        else:
            cells = "".join(f"<td>{_cell(row, column)}</td>" for column in COLUMNS[name])
            self._rows[name].append(f"<tr>{cells}</tr>")

    def whole(self, about: Mapping[str, Any]) -> str:
        """The page, with what is said about file and person first."""
        facts = {**about, **about["person"], "counts": None, "person": None}
        shown = f"<table>{_facts(facts, FACTS)}</table>"
        return f"{INDEX_HEAD}{shown}{''.join(self._list(name) for name in LISTS)}</html>\n"

    def _list(self, name: str) -> str:
        rows = self._rows[name]
        title = f"<h2>{html.escape(LISTS[name])} ({len(rows)})</h2>"
        if name in WRITTEN_OUT or not rows:
            return title + "".join(rows)
        heads = "".join(f"<th>{html.escape(WORDS[column])}</th>" for column in COLUMNS[name])
        return f"{title}<table><tr>{heads}</tr>{''.join(rows)}</table>"


def _facts(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    given = [name for name in names if row.get(name) not in (None, "", [], {})]
    return "".join(
        f"<tr><th>{html.escape(WORDS.get(name, name))}</th><td>{_cell(row, name)}</td></tr>" for name in given
    )


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if name == "file" and value:
        return f'<a href="{html.escape(value)}">{html.escape(value)}</a>'
    if name in CODES and isinstance(value, str):
        return html.escape(CODES[name].get(value, value))
    return html.escape(_said(value))


def _said(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "ja / yes" if value else "nein / no"
    if isinstance(value, Mapping):
        return ", ".join(f"{WORDS.get(str(key), key)}: {_said(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_said(one) for one in value)
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    return value.isoformat() if isinstance(value, date) else str(value)
