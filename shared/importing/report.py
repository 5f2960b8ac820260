"""What came of an import."""

from collections import Counter
from dataclasses import dataclass, field

#: Bad rows kept with their details, and distinct names of unknown recruiters; all are counted.
KEPT_BAD_ROWS = 1000
_KEPT_NAMES = 1000
_SHOWN = 10
_LONGEST_SHOWN_VALUE = 200


class RowError(Exception):
    """A row that cannot be imported: column, value and reason."""

    def __init__(self, column: str, value: str, reason: str) -> None:
        super().__init__(reason)
        self.column, self.value, self.reason = column, value, reason


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that was not imported. `line` is the first physical line of the row in the file, from 1."""

    line: int
    column: str
    value: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    """Counts of rows, the first bad rows, and what people should know."""

    noun: str
    read: int = 0
    inserted: int = 0
    updated: int = 0
    #: Rows without an id whose content is there already: nothing was done (contacts only).
    repeated: int = 0
    bad_count: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)
    invalid_addresses: int = 0
    first_invalid_addresses: list[BadRow] = field(default_factory=list)
    unknown_recruiters: Counter[str] = field(default_factory=Counter)

    def reject(self, line: int, error: RowError) -> None:
        """Counts a bad row and keeps the first ones."""
        self.bad_count += 1
        if len(self.bad_rows) < KEPT_BAD_ROWS:
            self.bad_rows.append(_bad_row(line, error))

    def note_invalid_address(self, line: int, address: str) -> None:
        """Counts an address that is kept as given and counts as none (D34)."""
        self.invalid_addresses += 1
        if len(self.first_invalid_addresses) < KEPT_BAD_ROWS:
            self.first_invalid_addresses.append(_bad_row(line, RowError("email", address, "is not valid")))

    def note_unknown_recruiter(self, name: str) -> None:
        """Counts a recruiter who is no user; accepted, since users may come later (D6)."""
        if name in self.unknown_recruiters or len(self.unknown_recruiters) < _KEPT_NAMES:
            self.unknown_recruiters[name] += 1

    @property
    def warnings(self) -> list[str]:
        """What was accepted and should be looked at."""
        found = []
        if self.invalid_addresses:
            shown = [f"line {bad.line}: {bad.value!r}" for bad in self.first_invalid_addresses]
            found.append(
                f"{self.invalid_addresses} e-mail addresses are not valid; kept, but count as none: {_some(shown)}"
            )
        if self.unknown_recruiters:
            names = [f"{name} ({count})" for name, count in self.unknown_recruiters.most_common()]
            found.append(f"{len(names)} recruiters are no users: {_some(names)}")
        return found

    def summary(self) -> str:
        """One line for people."""
        parts = [f"{self.read} rows read", f"{self.inserted} {self.noun} added", f"{self.updated} updated"]
        if self.repeated:
            parts.append(f"{self.repeated} known already")
        return ", ".join([*parts, f"{self.bad_count} bad"])


def _bad_row(line: int, error: RowError) -> BadRow:
    return BadRow(line, error.column, error.value[:_LONGEST_SHOWN_VALUE], error.reason)


def _some(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")
