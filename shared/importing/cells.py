"""Cells as values: each reader refuses with the reason that goes into the report."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from shared.importing.report import RowError

#: Reads the cell of a column; raises RowError.
Reader = Callable[[str, str], Any]

#: Longest cell, in characters.
LONGEST_CELL = 1_000_000
#: Longest external id or duplicate set, in characters: an index entry holds it on every database.
LONGEST_ID = 500


def text(column: str, cell: str) -> str | None:
    """A text, without the blanks around it; empty means unknown."""
    if "\x00" in cell:
        raise RowError(column, cell.replace("\x00", "\\0"), "holds a NUL character")
    if len(cell) > LONGEST_CELL:
        raise RowError(column, cell, f"is longer than {LONGEST_CELL} characters")
    return cell.strip() or None


def name(column: str, cell: str) -> str | None:
    """A text that names a record."""
    if len(cell) > LONGEST_ID:
        raise RowError(column, cell, f"is longer than {LONGEST_ID} characters")
    return text(column, cell)


def day(column: str, cell: str) -> date | None:
    """An ISO date; empty means unknown."""
    given = cell.strip()
    if not given:
        return None
    try:
        # Python also reads 20261123 and 2026-W48-1.
        if len(given) == 10 and given[4] == given[7] == "-":
            return date.fromisoformat(given)
    except ValueError:
        pass
    raise RowError(column, cell, "is not a date like 2026-11-23")


def flag(column: str, cell: str) -> bool:
    """true or false; empty means false."""
    given = cell.strip().lower()
    if given not in ("true", "false", ""):
        raise RowError(column, cell, "must be true or false")
    return given == "true"


def instant(column: str, cell: str) -> datetime:
    """A moment with its offset, in UTC."""
    try:
        at = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise RowError(column, cell, "is not a moment like 2026-11-23T14:15:00+01:00") from None
    if at.tzinfo is None:
        raise RowError(column, cell, "has no offset; write it like 2026-11-23T14:15:00+01:00")
    if not 1 < at.year < 9999:
        raise RowError(column, cell, "lies at the edge of the calendar")  # a time zone could carry it beyond
    return at.astimezone(UTC)


def word(allowed: tuple[str, ...], otherwise: str | None = None) -> Reader:
    """A reader of fixed words; `otherwise` stands for an empty cell, None refuses it."""

    def read(column: str, cell: str) -> str:
        given = cell.strip().lower()
        if not given and otherwise is not None:
            return otherwise
        if given not in allowed:
            raise RowError(column, cell, f"must be one of {', '.join(allowed)}")
        return given

    return read
