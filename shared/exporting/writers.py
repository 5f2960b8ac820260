"""The forms of an exported list. CSV and JSON Lines are for programs: values as they are; Excel sheets for people."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from xlsxwriter import Workbook

Row = Mapping[str, Any]
#: Rows of an Excel sheet below its header, and characters of a cell.
EXCEL_ROWS, EXCEL_TEXT = 1_048_575, 32_767
#: What XML cannot hold.
_UNHOLDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_WIDTHS = {"id": 8, "subject": 40, "body": 40, "note": 30, "reason": 40, "email": 32, "application": 16}
_USUAL_WIDTH = 20


class Writer(Protocol):
    """Takes rows one by one; leaving it completes the file."""

    def __enter__(self) -> "Writer": ...
    def __exit__(self, *_: object) -> None: ...
    def write(self, row: Row) -> None: ...


class CsvWriter:
    """UTF-8, comma, header first; what `import` reads back. Texts are as they are: open them in Excel by .xlsx."""

    def __init__(self, path: Path, columns: Sequence[str], _: ZoneInfo) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, columns)

    def __enter__(self) -> "CsvWriter":
        self._writer.writeheader()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: Row) -> None:
        """Truth values as true and false, days and instants as ISO text."""
        self._writer.writerow({key: _csv_value(value) for key, value in row.items()})


class JsonLinesWriter:
    """One JSON object per line."""

    def __init__(self, path: Path, _: Sequence[str], __: ZoneInfo) -> None:
        self._file = path.open("w", encoding="utf-8")

    def __enter__(self) -> "JsonLinesWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: Row) -> None:
        """Days and instants as ISO text."""
        plain = {key: _plain(value) for key, value in row.items()}
        self._file.write(json.dumps(plain, ensure_ascii=False) + "\n")


class ExcelWriter:
    """Typed cells: days are days, instants local times, and text stays text whatever it begins with.

    A sheet that is full is followed by another one with the same headings.
    """

    def __init__(self, path: Path, columns: Sequence[str], zone: ZoneInfo) -> None:
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._columns, self._zone, self._row, self._full = columns, zone, 0, 0
        self._book = Workbook(str(path), options)
        self._bold = self._book.add_format({"bold": True})
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._moment = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._sheet = self._begin_sheet("list")

    def __enter__(self) -> "ExcelWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._end_sheet()
        about = self._book.add_worksheet("about")
        about.write_string(0, 0, f"Times are local; where a row names no time zone: {self._zone.key}")
        about.write_string(1, 0, f"{self._full * EXCEL_ROWS + self._row} rows")
        self._book.close()

    def write(self, row: Row) -> None:
        """One line of the sheet, or the first one of the next."""
        if self._row == EXCEL_ROWS:
            self._end_sheet()
            self._full, self._row = self._full + 1, 0
            self._sheet = self._begin_sheet(f"list {self._full + 1}")
        self._row += 1
        for column, name in enumerate(self._columns):
            self._cell(column, row.get(name))

    def _begin_sheet(self, name: str) -> Any:
        sheet = self._book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        for column, heading in enumerate(self._columns):
            sheet.set_column(column, column, _WIDTHS.get(heading, _USUAL_WIDTH))
            sheet.write_string(0, column, heading, self._bold)
        return sheet

    def _end_sheet(self) -> None:
        if self._columns:
            self._sheet.autofilter(0, 0, self._row, len(self._columns) - 1)

    def _cell(self, column: int, value: Any) -> None:
        at = (self._row, column)
        if isinstance(value, datetime):
            # An instant is shown where it happened: with the offset of its job, else in the system's zone.
            local = value.astimezone(self._zone) if value.tzinfo is UTC else value
            self._sheet.write_datetime(*at, local.replace(tzinfo=None), self._moment)
        elif isinstance(value, date):
            self._sheet.write_datetime(*at, datetime(value.year, value.month, value.day), self._day)
        elif isinstance(value, bool):
            self._sheet.write_boolean(*at, value)
        elif isinstance(value, int | float):
            self._sheet.write_number(*at, value)
        elif value is not None:
            # As text: a name like "=1+1" must not become a formula (S24).
            self._sheet.write_string(*at, _UNHOLDABLE.sub("\ufffd", _text(value))[:EXCEL_TEXT])


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, dict | list) else _plain(value)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


WRITERS: dict[str, type[CsvWriter] | type[JsonLinesWriter] | type[ExcelWriter]] = {
    ".csv": CsvWriter,
    ".jsonl": JsonLinesWriter,
    ".xlsx": ExcelWriter,
}
