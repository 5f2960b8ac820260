"""Cells as values: each reader refuses with the reason that goes into the report."""

from datetime import UTC, date, datetime

from shared.importing.report import RowError


def text(column: str, cell: str) -> str | None:
    """A text; empty means unknown."""
    if "\x00" in cell:
        raise RowError(column, cell.replace("\x00", "\\0"), "holds a NUL character")
    return cell.strip() or None


def day(column: str, cell: str) -> date | None:
    """An ISO date; empty means unknown."""
    if not cell:
        return None
    try:
        if len(cell) == 10:
            return date.fromisoformat(cell)
    except ValueError:
        pass
    raise RowError(column, cell, "is not a date like 2026-11-23")


def flag(column: str, cell: str) -> bool:
    """true or false; empty means false."""
    word = cell.strip().lower()
    if word in ("true", "false", ""):
        return word == "true"
    raise RowError(column, cell, "must be true or false")


def instant(column: str, cell: str) -> datetime:
    """A moment with its offset, in UTC."""
    try:
        at = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise RowError(column, cell, "is not a moment like 2026-11-23T14:15:00+01:00") from None
    if at.tzinfo is None:
        raise RowError(column, cell, "has no offset; write it like 2026-11-23T14:15:00+01:00")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise RowError(column, cell, "lies outside the calendar") from None


def word(allowed: tuple[str, ...], otherwise: str | None) -> "object":
    """A reader of fixed words; `otherwise` stands for an empty cell, None refuses it."""

    def read(column: str, cell: str) -> str:
        found = cell.strip().lower()
        if not found and otherwise is not None:
            return otherwise
        if found not in allowed:
            raise RowError(column, cell, f"must be one of {', '.join(allowed)}")
        return found

    return read
