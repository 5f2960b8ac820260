"""A list as an Excel workbook, typed cells for people."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from xlsxwriter import Workbook

Row = Mapping[str, Any]
#: Rows of an Excel sheet below its header, and characters of a cell.
EXCEL_ROWS, EXCEL_TEXT = 1_048_575, 32_767
#: What XML cannot hold.
_UNHOLDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_WIDTHS = {"id": 8, "subject": 40, "body": 40, "note": 30, "reason": 40, "email": 32, "application": 16, "filters": 70}
_USUAL_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Wording:
    """In which words a workbook says a list; as it stands here, in those of the columns, for scripts."""

    #: The name of the sheets with the rows; of the one about them; what stands there.
    rows: str = "list"
    about: str = "about"
    times: str = "Times are local; where a row names no time zone: %(zone)s"
    count: str = "%(count)s rows"
    #: Of a column; None: people do not need it.
    heading: Callable[[str], str | None] = str
    #: A row with words for its code names.
    told: Callable[[Row], Row] = dict
    day: str = "yyyy-mm-dd"
    moment: str = "yyyy-mm-dd hh:mm:ss"


class Stopped(Exception):
    """The workbook is wanted no more."""


class ExcelWriter:
    """Days are days, instants local times, and text stays text whatever it begins with.

    A sheet that is full is followed by another one with the same headings.
    """

    def __init__(self, path: Path, columns: Sequence[str], zone: ZoneInfo, wording: Wording) -> None:
        named = [(column, heading) for column in columns if (heading := wording.heading(column)) is not None]
        self._columns, self._headings = [column for column, _ in named], [heading for _, heading in named]
        self._zone, self._wording, self._row, self._full = zone, wording, 0, 0
        self._target = _Target(path)
        self._rows_folder = tempfile.TemporaryDirectory(prefix="kontaktpflege-")
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._book = Workbook(self._target, options | {"tmpdir": self._rows_folder.name})
        self._bold = self._book.add_format({"bold": True})
        self._day = self._book.add_format({"num_format": wording.day})
        self._moment = self._book.add_format({"num_format": wording.moment})
        self._sheet = self._begin_sheet(wording.rows)

    def write(self, rows: Sequence[Row]) -> None:
        """Some lines of the sheet, or of the next."""
        for row in rows:
            if self._row == EXCEL_ROWS:
                self._end_sheet()
                self._full, self._row = self._full + 1, 0
                self._sheet = self._begin_sheet(f"{self._wording.rows} {self._full + 1}")
            self._row += 1
            told = self._wording.told(row)
            for column, name in enumerate(self._columns):
                self._cell(column, told.get(name))

    def finish(self) -> None:
        """Says what the list is, and packs all of it: a million rows take a minute."""
        self._end_sheet()
        about = self._book.add_worksheet(self._wording.about)
        about.write_string(0, 0, self._wording.times % {"zone": self._zone.key})
        about.write_string(1, 0, self._wording.count % {"count": self._full * EXCEL_ROWS + self._row})
        self._book.close()
        self.abandon()

    def stop(self) -> None:
        """Ends packing at its next piece."""
        self._target.stopped = True

    def abandon(self) -> None:
        """Lets go of the files."""
        for sheet in self._book.worksheets():
            sheet._opt_close()
        self._target.close()
        self._rows_folder.cleanup()

    def _begin_sheet(self, name: str) -> Any:
        sheet = self._book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        for column, (of, heading) in enumerate(zip(self._columns, self._headings, strict=True)):
            sheet.set_column(column, column, _WIDTHS.get(of, _USUAL_WIDTH))
            sheet.write_string(0, column, _holdable(heading), self._bold)
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
            self._sheet.write_string(*at, _holdable(_text(value)))


class _Target:
    """The file, as something that can be taken away while xlsxwriter packs into it, which nothing else can end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.stopped, self._said = False, False
        #: Where the file would be written next, if it were not taken away.
        self._at = 0

    def write(self, data: Any) -> int:
        if self.stopped and not self._said:
            self._said = True
            raise Stopped
        # What cleans up behind that exception may write what it likes.
        self._at += len(data)
        return len(data) if self.stopped else self._file.write(data)

    def seek(self, to: int) -> int:
        self._at = to
        return to if self.stopped else self._file.seek(to)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        if not self.stopped:
            self._file.flush()

    def close(self) -> None:
        self.stopped, self._said = True, True
        self._file.close()


def _holdable(text: str) -> str:
    return _UNHOLDABLE.sub("\ufffd", text)[:EXCEL_TEXT]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
