"""Rows of a JSON Lines file: one object per line; values are texts, numbers, true, false or null."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from shared.errors import InvalidInput
from shared.importing.columns import check_columns
from shared.importing.report import RowError
from shared.importing.rows import Row

_REMEMBERED_KINDS_OF_ROWS = 1000


def json_rows(text: Iterable[str], known: Sequence[str]) -> Iterator[Row]:
    """Yields a row per line that is not blank; a key may be missing, which leaves the field unchanged."""
    checked: set[tuple[str, ...]] = set()
    for line, content in enumerate(text, 1):
        if not content.strip():
            continue
        columns: tuple[str, ...] = ()
        cells: Sequence[str] = ()
        error = None
        try:
            fields = _fields(content)
            columns, cells = tuple(fields), tuple(fields.values())
            if columns not in checked:
                check_columns("columns", columns, known)
                if len(checked) >= _REMEMBERED_KINDS_OF_ROWS:
                    checked.clear()
                checked.add(columns)
        except InvalidInput as exc:
            error = RowError(str(exc.value), fields[str(exc.value)], exc.fix)
        except (ValueError, RecursionError) as exc:
            error = RowError("row", content.rstrip("\r\n")[:80], f"is not a JSON object of plain values: {exc}")
        yield Row(line, columns, cells, error)


def _fields(content: str) -> dict[str, str]:
    document = json.loads(content, object_pairs_hook=_object)
    if not isinstance(document, dict):
        raise ValueError("an object is needed")
    custom = document.pop("custom", None)
    if custom is not None and not isinstance(custom, dict):
        raise ValueError("`custom` must be an object")
    fields = _object([*document.items(), *((f"custom.{name}", value) for name, value in (custom or {}).items())])
    cells = {name: _cell(name, value) for name, value in fields.items()}
    if "\\u" in content:
        # An escape may write half a surrogate pair: no text that a database can hold.
        "\n".join((*cells, *cells.values())).encode()
    return cells


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise ValueError(f"{name!r} holds a list or an object")
    return str(value)
