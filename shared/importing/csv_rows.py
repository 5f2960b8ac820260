"""Rows of a CSV file: comma, double quotes, quoted line breaks; strict about quotes."""

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from shared.errors import InvalidInput
from shared.importing.cells import LONGEST_CELL
from shared.importing.columns import check_header
from shared.importing.report import RowError
from shared.importing.rows import Row


def csv_rows(path: str, text: Iterable[str], known: Sequence[str], required: Sequence[str]) -> Iterator[Row]:
    """Yields the rows below the header; raises InvalidInput for a header that cannot be used."""
    # The limit is the module's own. It bounds what a quote without its end can take; a cell that is only a little
    # too long is refused by its reader, which knows the column.
    csv.field_size_limit(2 * LONGEST_CELL)
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True)
    columns = _header(f"{path}, line 1", reader, known, required)
    while True:
        line = lines.begin_row()
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            shown = lines.read_again()
            yield Row(line, columns, (), RowError("row", shown, f"cannot be read: {exc}"))
            continue
        if cells is None:
            return
        if len(cells) == len(columns):
            yield Row(line, columns, cells)
        elif cells:
            reason = f"has {len(cells)} cells, the header has {len(columns)}"
            yield Row(line, columns, cells, RowError("row", ",".join(cells)[:80], reason))


def _header(place: str, reader: Iterator[list[str]], known: Sequence[str], required: Sequence[str]) -> tuple[str, ...]:
    try:
        columns = tuple(cell.strip() for cell in next(reader, []))
    except csv.Error as exc:
        raise InvalidInput(place, "header", f"cannot be read: {exc}") from exc
    check_header(place, columns, known, required)
    return columns


class _Lines:
    """Physical lines, counted. After a row that cannot be read the reader goes on with the row's second line:

    a quote without its end would otherwise take the good rows behind it.
    """

    def __init__(self, text: Iterable[str]) -> None:
        self._text = iter(text)
        self._again: deque[str] = deque()
        self._row: list[str] = []
        self._number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._text)
        self._row.append(line)
        self._number += 1
        return line

    def begin_row(self) -> int:
        """The number of the line with which the next row begins."""
        self._row.clear()
        return self._number + 1

    def read_again(self) -> str:
        """Gives back all lines of the row but the first, which is returned."""
        first, *others = self._row
        self._again.extendleft(reversed(others))
        self._number -= len(others)
        return first.rstrip("\r\n")
