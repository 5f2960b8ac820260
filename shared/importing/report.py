"""What came of an import."""

from dataclasses import dataclass, field

#: Bad rows kept with their details; all are counted.
KEPT_BAD_ROWS = 1000


class RowError(Exception):
    """A row that cannot be imported: column, value and reason."""

    def __init__(self, column: str, value: str, reason: str) -> None:
        super().__init__(reason)
        self.column, self.value, self.reason = column, value, reason


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that was not imported. `line` is the first line of the row in the file."""

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
    repeated: int = 0
    bad_count: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)
    invalid_addresses: int = 0
    first_invalid_address: str = ""
    unknown_recruiters: dict[str, int] = field(default_factory=dict)

    def reject(self, line: int, error: RowError) -> None:
        """Counts a bad row and keeps the first ones."""
        self.bad_count += 1
        if len(self.bad_rows) < KEPT_BAD_ROWS:
            self.bad_rows.append(BadRow(line, error.column, error.value[:200], error.reason))

    @property
    def warnings(self) -> list[str]:
        """What was accepted and should be looked at."""
        found = []
        if self.invalid_addresses:
            first = self.first_invalid_address
            found.append(f"{self.invalid_addresses} e-mail addresses are not valid and count as none (first: {first})")
        if self.unknown_recruiters:
            names = ", ".join(f"{name} ({count})" for name, count in sorted(self.unknown_recruiters.items())[:10])
            found.append(f"{len(self.unknown_recruiters)} recruiters are no users: {names}")
        return found

    def summary(self) -> str:
        """One line for people."""
        parts = [f"{self.read} rows read", f"{self.inserted} {self.noun} added", f"{self.updated} updated"]
        if self.repeated:
            parts.append(f"{self.repeated} known already")
        return ", ".join([*parts, f"{self.bad_count} bad"])
