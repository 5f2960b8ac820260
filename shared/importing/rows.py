"""One row of a file, whatever its format."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.importing.report import RowError


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its first line, its columns, its cells as text ('' is unknown); or what is wrong with it."""

    line: int
    columns: tuple[str, ...]
    cells: Sequence[str]
    error: RowError | None = None

    def cell(self, column: str) -> str:
        """The cell of a column, as far as it can be told: '' otherwise."""
        position = self.columns.index(column) if column in self.columns else len(self.cells)
        return self.cells[position].strip() if position < len(self.cells) else ""
