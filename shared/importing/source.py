"""Rows of a CSV or JSON Lines file, with their line numbers; what makes a file unusable is one clear refusal."""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput
from shared.importing.report import RowError

#: Longest cell, in characters.
LONGEST_CELL = 1_000_000
_CHUNK = 1 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its first line, its columns, its cells as text ('' is unknown); or what is wrong with it."""

    line: int
    columns: tuple[str, ...]
    cells: Sequence[str]
    error: RowError | None = None


def read_rows(path: Path, known: Sequence[str], required: Sequence[str], progress: Progress | None) -> Iterator[Row]:
    """Yields the rows; raises InvalidInput before the first one if the file as a whole cannot be used."""
    _check_encoding(path)
    with path.open("rb") as raw:
        size = path.stat().st_size
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        rows = (
            _json_rows(path, text, known)
            if path.suffix in (".jsonl", ".ndjson")
            else _csv_rows(path, text, known, required)
        )
        for number, row in enumerate(rows):
            if progress is not None and number % 2000 == 0:
                progress(raw.tell(), size)
            yield row
        if progress is not None:
            progress(size, size)


def _check_encoding(path: Path) -> None:
    """The whole file must be UTF-8: nothing may be imported from one that turns out otherwise in its middle."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if not start:
                raise InvalidInput(str(path), "", "the file is empty")
            if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise InvalidInput(str(path), "UTF-16", "the encoding must be UTF-8; save the file as UTF-8")
            chunk, line = start + file.read(_CHUNK), 1
            while chunk:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError as exc:
                    line += chunk.count(b"\n", 0, exc.start)
                    bad = exc.object[exc.start : exc.start + 1].hex()
                    fix = "is not UTF-8 (perhaps Windows-1252 or ISO-8859-1); save the file as UTF-8"
                    raise InvalidInput(f"{path}, line {line}", f"byte 0x{bad}", fix) from None
                line += chunk.count(b"\n")
                chunk = file.read(_CHUNK)
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                raise InvalidInput(f"{path}, line {line}", "end of file", "ends within a UTF-8 character") from None
    except FileNotFoundError:
        raise InvalidInput(str(path), path.name, "there is no such file") from None
    except OSError as exc:
        raise InvalidInput(str(path), path.name, f"cannot be read: {exc.strerror}") from None


def _csv_rows(path: Path, text: io.TextIOWrapper, known: Sequence[str], required: Sequence[str]) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(text, strict=True)
    columns = _header(path, next(reader, []), known, required)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            yield Row(line, columns, (), RowError("row", "", f"cannot be read: {exc}"))
            continue
        if cells is None:
            return
        if not cells:
            continue
        if len(cells) != len(columns):
            reason = f"has {len(cells)} cells, the header has {len(columns)}"
            yield Row(line, columns, (), RowError("row", ",".join(cells)[:80], reason))
            continue
        yield Row(line, columns, cells)


def _header(path: Path, cells: Sequence[str], known: Sequence[str], required: Sequence[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip() for cell in cells)
    place = f"{path}, line 1"
    if len(columns) <= 1 and ";" in "".join(columns):
        raise InvalidInput(place, ";", "the separator must be a comma; save the file with commas")
    if not any(columns):
        raise InvalidInput(place, "", "the header is missing")
    for column in columns:
        _check_column(place, column, known)
        if columns.count(column) > 1:
            raise InvalidInput(place, column, "the column is there twice")
    for choices in required:
        if not any(choice in columns for choice in choices.split("|")):
            raise InvalidInput(place, choices.replace("|", " or "), "the required column is missing")
    return columns


def _check_column(place: str, column: str, known: Sequence[str]) -> None:
    if column in known or (
        "custom.*" in known and column.startswith("custom.") and column.removeprefix("custom.").strip()
    ):
        return
    near = get_close_matches(column, known, 1, cutoff=0.6)
    raise InvalidInput(place, column, "unknown column" + (f"; did you mean {near[0]!r}?" if near else ""))


def _json_rows(path: Path, text: io.TextIOWrapper, known: Sequence[str]) -> Iterator[Row]:
    for line, content in enumerate(text, 1):
        if not content.strip():
            continue
        try:
            fields = _flat(json.loads(content))
            for column in fields:
                _check_column(f"{path}, line {line}", column, known)
        except InvalidInput as exc:
            yield Row(line, (), (), RowError(str(exc.value), "", exc.fix))
        except (ValueError, TypeError, RecursionError) as exc:
            yield Row(line, (), (), RowError("row", content[:80], f"is not a JSON object: {exc}"))
        else:
            yield Row(line, tuple(fields), tuple(fields.values()))


def _flat(document: Any) -> dict[str, str]:
    if not isinstance(document, dict):
        raise TypeError("an object is needed")
    custom = document.pop("custom", None) or {}
    fields = {**document, **{f"custom.{name}": value for name, value in custom.items()}}
    return {name: _cell(value) for name, value in fields.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise TypeError("nested values are not allowed")
    return str(value)
