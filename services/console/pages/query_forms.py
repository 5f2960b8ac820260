"""The query builder's form: rows of inputs to filters of a setup file, and back."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.console.pages.fixes import fix_of
from services.console.visits import Visit, whole
from shared.domain.filters import Filter, parse_filters
from shared.errors import InvalidInput

#: What a row shows for each field: which inputs, with which operators.
FLAGS = ("has_email", "in_pool")
CHOSEN = ("status", "meta_status", "kind")
TYPED = ("vacancy", "department", "location", "source", "language", "recruiter")
#: In the order in which they are offered.
OFFERED = (
    *("has_email", "birthday_in_days", "days_since_last_contact", "meta_status", "status", "in_pool", "dwell_months"),
    *("received_on", "vacancy", "department", "location", "source", "language", "kind", "recruiter", "custom"),
)
#: A row of a new filter, by field.
_FRESH: dict[str, dict[str, Any]] = {
    "has_email": {"op": "true"},
    "in_pool": {"op": "true"},
    "birthday_in_days": {"from": "0", "to": "0"},
    "days_since_last_contact": {"op": "more_than", "value": "60"},
    "dwell_months": {"op": "more_than", "value": "36"},
    "custom": {"op": "equals"},
}


@dataclass(slots=True)
class Row:
    """One filter as its inputs stand, with what is wrong with it."""

    number: int
    field: str
    op: str = ""
    value: str = ""
    first: str = ""
    last: str = ""
    name: str = ""
    chosen: list[str] = dataclasses.field(default_factory=list)
    negate: bool = False
    error: str = ""


def fresh_row(number: int, field_name: str) -> Row:
    """A row for a filter that was just added."""
    given = _FRESH.get(field_name, {"op": "in"})
    return Row(
        number,
        field_name if field_name in OFFERED else OFFERED[0],
        op=given.get("op", ""),
        value=given.get("value", ""),
        first=given.get("from", ""),
        last=given.get("to", ""),
    )


def rows_of_form(visit: Visit) -> list[Row]:
    """The rows as they were sent, in their order."""
    return [_sent(visit, whole(number)) for number in visit.fields("row") if whole(number)]


def _sent(visit: Visit, number: int) -> Row:
    def given(name: str) -> str:
        return visit.field(f"f{number}-{name}")

    return Row(
        number,
        given("field"),
        op=given("op"),
        value=given("value"),
        first=given("from"),
        last=given("to"),
        name=given("name"),
        chosen=visit.fields(f"f{number}-chosen"),
        negate=given("negate") == "yes",
    )


def rows_of_filters(filters: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of a stored query."""
    return [_stored(number, one) for number, one in enumerate(filters, 1)]


def _stored(number: int, one: Mapping[str, Any]) -> Row:
    name = str(one["field"])
    row = Row(number, "custom" if name.startswith("custom.") else name, negate=bool(one.get("negate")))
    if row.field in FLAGS:
        row.op = "true" if one.get("is") else "false"
    elif row.field in CHOSEN or row.field in TYPED:
        row.op = "in" if "in" in one else "not_in"
        row.chosen = [str(value) for value in one.get(row.op, ())]
        row.value = "\n".join(row.chosen)
    elif row.field in ("birthday_in_days", "received_on"):
        row.first, row.last = str(one.get("from", "")), str(one.get("to", ""))
    else:
        row.name = name.removeprefix("custom.") if row.field == "custom" else ""
        row.op = next(key for key in one if key not in ("field", "negate"))
        row.value = "" if row.op == "never" else str(one[row.op])
    return row


def filters_of(visit: Visit, rows: Sequence[Row]) -> tuple[Filter, ...] | None:
    """The rows as filters; None if one is wrong: then it says so itself."""
    found: list[Filter] = []
    for row in rows:
        try:
            found += parse_filters("", [_raw(row)])
        except InvalidInput as exc:
            row.error = fix_of(visit, exc)
    return tuple(found) if len(found) == len(rows) else None


def _raw(row: Row) -> dict[str, Any]:
    raw: dict[str, Any] = {"field": f"custom.{row.name}" if row.field == "custom" else row.field}
    if row.field in FLAGS:
        raw["is"] = row.op == "true"
    elif row.field in CHOSEN:
        raw[row.op] = row.chosen
    elif row.field in TYPED:
        raw[row.op] = [line.strip() for line in row.value.split("\n") if line.strip()]
    elif row.field == "birthday_in_days":
        raw |= {"from": _number(row.first), "to": _number(row.last)}
    elif row.field == "received_on":
        raw |= {key: value for key, value in (("from", row.first), ("to", row.last)) if value}
    elif row.op == "never":
        raw["never"] = True
    else:
        raw[row.op] = row.value if row.field == "custom" else _number(row.value)
    return raw | ({"negate": True} if row.negate else {})


def _number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text
