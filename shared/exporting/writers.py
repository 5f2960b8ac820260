"""The forms of an exported list. CSV and JSON Lines are for programs: values as they are; Excel sheets for people."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from shared.exporting.workbook import ExcelWriter, Wording

Row = Mapping[str, Any]


class Writer(Protocol):
    """Takes rows; all but `stop` is called in one thread at a time, not always the same."""

    def write(self, rows: Sequence[Row]) -> None:
        """Some more rows."""

    def finish(self) -> None:
        """Completes the file."""

    def stop(self) -> None:
        """From another thread: what `finish` is about is wanted no more."""

    def abandon(self) -> None:
        """Lets go of the unfinished file, and of what it needed."""


class CsvWriter:
    """UTF-8, comma, header first; what `import` reads back. Texts are as they are: open them in Excel by .xlsx."""

    def __init__(self, path: Path, columns: Sequence[str], _: ZoneInfo, __: Wording) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, columns)
        self._writer.writeheader()

    def write(self, rows: Sequence[Row]) -> None:
        """Truth values as true and false, days and instants as ISO text."""
        self._writer.writerows({key: _csv_value(value) for key, value in row.items()} for row in rows)

    def finish(self) -> None:
        """Closes the file."""
        self._file.close()

    def stop(self) -> None:
        """Nothing takes long here."""

    abandon = finish


class JsonLinesWriter:
    """One JSON object per line."""

    def __init__(self, path: Path, _: Sequence[str], __: ZoneInfo, ___: Wording) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, rows: Sequence[Row]) -> None:
        """Days and instants as ISO text."""
        for row in rows:
            plain = {key: _plain(value) for key, value in row.items()}
            self._file.write(json.dumps(plain, ensure_ascii=False) + "\n")

    def finish(self) -> None:
        """Closes the file."""
        self._file.close()

    def stop(self) -> None:
        """Nothing takes long here."""

    abandon = finish


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else _plain(value)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


WRITERS: dict[str, Callable[[Path, Sequence[str], ZoneInfo, Wording], Writer]] = {
    ".csv": CsvWriter,
    ".jsonl": JsonLinesWriter,
    ".xlsx": ExcelWriter,
}
