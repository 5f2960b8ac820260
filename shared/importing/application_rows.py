"""Rows of an application file as values of the table `applications`."""

from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from shared.db.tables import FOLDED
from shared.domain.filters import KINDS
from shared.domain.mail_addresses import usable_address
from shared.domain.text import fold, fold_or_none
from shared.importing import cells
from shared.importing.columns import ANY_CUSTOM, custom_name
from shared.importing.report import ImportReport, RowError
from shared.importing.rows import Row

TEXTS = (
    *("salutation", "title", "first_name", "last_name", "email", "phone", "street", "postal_code", "city", "country"),
    *("language", "vacancy", "department", "location", "source", "recruiter"),
)
DATES = ("birth_date", "received_on", "pool_since")
KNOWN = ("external_id", "kind", "duplicate_set", "status", "in_pool", *TEXTS, *DATES, ANY_CUSTOM)


class ApplicationRow(NamedTuple):
    """What one row gives: a column that the file does not have is not in `values`."""

    external_id: str
    #: By column of the table, with everything that follows from a cell; and `duplicate_set`, which is the person's.
    values: dict[str, Any]
    #: (folded name, name, value or None for unknown) of the custom fields.
    custom: list[tuple[str, str, str | None]]


class _Plan(NamedTuple):
    """How rows of the same columns are read, made once for all of them."""

    readers: list[tuple[int, str, str, cells.Reader]]
    custom: list[tuple[int, str, str, str]]


class ApplicationParser:
    """Cells to values; `statuses` and `users` by folded name."""

    def __init__(self, statuses: Mapping[str, int], users: set[str], report: ImportReport) -> None:
        self._statuses, self._users, self._report = statuses, users, report
        self._readers: dict[str, cells.Reader] = dict.fromkeys(TEXTS, cells.text)
        self._readers |= dict.fromkeys(("external_id", "duplicate_set"), cells.name)
        self._readers |= dict.fromkeys(DATES, cells.day)
        self._readers |= {"kind": cells.word(KINDS, "application"), "in_pool": cells.flag, "status": self._status}
        # The same few names stand in row after row.
        self._fold: Callable[[str | None], str | None] = lru_cache(maxsize=10_000)(fold_or_none)
        self._plan = lru_cache(maxsize=1000)(self._make_plan)

    def parse(self, row: Row) -> tuple[str, ApplicationRow]:
        """(external id, values); raises RowError with the first cell that is wrong."""
        plan, given = self._plan(row.columns), row.cells
        values = {target: read(column, given[i]) for i, column, target, read in plan.readers}
        custom = [(folded, name, cells.text(column, given[i])) for i, column, folded, name in plan.custom]
        external_id = values.get("external_id")
        if not external_id:
            raise RowError("external_id", "", "is empty")
        self._derive(values)
        self._note(row.line, values)
        return external_id, ApplicationRow(external_id, values, custom)

    def _make_plan(self, columns: tuple[str, ...]) -> _Plan:
        plan = _Plan([], [])
        for position, column in enumerate(columns):
            name = custom_name(column)
            if name is not None:
                plan.custom.append((position, column, fold(name), name))
            else:
                target = "status_id" if column == "status" else column
                plan.readers.append((position, column, target, self._readers[column]))
        return plan

    def _derive(self, values: dict[str, Any]) -> None:
        if "birth_date" in values:
            born: date | None = values["birth_date"]
            values["birth_month_day"] = born.month * 100 + born.day if born else None
        if "email" in values:
            values["usable_email"] = usable_address(values["email"])
        for column in FOLDED:
            if column in values:
                values[f"{column}_folded"] = self._fold(values[column])

    def _note(self, line: int, values: dict[str, Any]) -> None:
        address, recruiter = values.get("email"), values.get("recruiter_folded")
        if address and values["usable_email"] is None:
            self._report.note_invalid_address(line, address)
        if recruiter and recruiter not in self._users:
            self._report.note_unknown_recruiter(values["recruiter"])

    def _status(self, column: str, cell: str) -> int | None:
        if not cell.strip():
            return None
        found = self._statuses.get(fold(cell))
        if found is None:
            raise RowError(column, cell, "is no status of the setup")
        return found
