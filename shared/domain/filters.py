"""The filters of an applicant query (D21): parsed once, validated with the nearest valid name, stored as given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any

from shared.errors import InvalidInput

META_STATUSES = ("new", "in_process", "interview", "offer", "pool", "hired", "rejected")
KINDS = ("application", "pool", "other")
#: Days and months beyond this are typing errors.
FARTHEST = 36_600


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition. `operator` names the arguments that were given, `arguments` holds their values."""

    field: str
    operator: str
    arguments: tuple[Any, ...]
    negate: bool = False

    def as_json(self) -> dict[str, Any]:
        """The filter as written in a setup file."""
        keys = self.operator.split("+")
        values = [
            v.isoformat() if isinstance(v, date) else list(v) if isinstance(v, tuple) else v for v in self.arguments
        ]
        return {
            "field": self.field,
            **dict(zip(keys, values, strict=True)),
            **({"negate": True} if self.negate else {}),
        }


def parse_filters(place: str, raw: object) -> tuple[Filter, ...]:
    """The filters of a query; raises InvalidInput naming the filter, the value and the fix."""
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise InvalidInput(f"{place}, filters", raw, "give a list of filters")
    return tuple(_parse(f"{place}, filter {number}", entry) for number, entry in enumerate(raw, 1))


def _parse(place: str, entry: object) -> Filter:
    if not isinstance(entry, Mapping):
        raise InvalidInput(place, entry, "a filter is a mapping such as {field: has_email, is: true}")
    given = dict(entry)
    field = given.pop("field", None)
    negate = given.pop("negate", False)
    if not isinstance(negate, bool):
        raise InvalidInput(f"{place}, negate", negate, "must be true or false")
    operators = _operators(place, field)
    unknown = [key for key in given if key not in {part for operator in operators for part in operator.split("+")}]
    if unknown:
        raise InvalidInput(
            f"{place} ({field})", unknown[0], "unknown operator" + _nearest(unknown[0], _keys(operators))
        )
    operator = "+".join(key for key in _keys(operators) if key in given)
    if operator not in operators:
        raise InvalidInput(f"{place} ({field})", ", ".join(given) or None, f"needs {_choices(operators)}")
    read = operators[operator]
    keys = operator.split("+")
    arguments = tuple(read(f"{place} ({field}), {key}", given[key]) for key in keys)
    if arguments[0] is False and operator == "never":
        raise InvalidInput(f"{place} ({field}), never", False, "leave it out, or give true (negate inverts)")
    if operator == "from+to" and arguments[0] > arguments[1]:
        raise InvalidInput(f"{place} ({field})", [str(a) for a in arguments], "from must not lie after to")
    return Filter(str(field), operator, arguments, negate)


_Reader = Callable[[str, object], Any]


def _flag(place: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(place, value, "must be true or false")
    return value


def _whole(place: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > FARTHEST:
        raise InvalidInput(place, value, f"must be a whole number between -{FARTHEST} and {FARTHEST}")
    return value


def _months(place: str, value: object) -> int:
    months = _whole(place, value)
    if not 0 <= months <= 1200:
        raise InvalidInput(place, value, "must be a number of months between 0 and 1200")
    return months


def _day(place: str, value: object) -> date:
    try:
        return value if type(value) is date else date.fromisoformat(str(value))
    except ValueError:
        raise InvalidInput(place, str(value), "must be a date like 2026-11-23") from None


def _text(place: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InvalidInput(place, value, "must be a text that is not empty")
    return str(value)


def _texts(place: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InvalidInput(place, value, "must be a list of one or more values")
    return tuple(_text(place, item) for item in value)


def _one_of(allowed: Sequence[str]) -> _Reader:
    def read(place: str, value: object) -> tuple[str, ...]:
        texts = tuple(text.strip().casefold() for text in _texts(place, value))
        for text in texts:
            if text not in allowed:
                raise InvalidInput(place, text, f"must be one of {', '.join(allowed)}" + _nearest(text, allowed))
        return texts

    return read


def _listed(read: _Reader = _texts) -> dict[str, _Reader]:
    return {"in": read, "not_in": read}


_RANGE: dict[str, _Reader] = {"from": _day, "to": _day, "from+to": _day}
#: Field -> the operators it takes -> how their arguments are read.
FIELDS: dict[str, dict[str, _Reader]] = {
    "has_email": {"is": _flag},
    "in_pool": {"is": _flag},
    "status": _listed(),
    "meta_status": _listed(_one_of(META_STATUSES)),
    "kind": _listed(_one_of(KINDS)),
    **{name: _listed() for name in ("vacancy", "department", "location", "source", "language", "recruiter")},
    "birthday_in_days": {"from+to": _whole},
    "days_since_last_contact": {"more_than": _whole, "at_most": _whole, "never": _flag},
    "dwell_months": {"more_than": _months, "at_most": _months},
    "received_on": _RANGE,
}
CUSTOM: dict[str, _Reader] = {"equals": _text, "contains": _text}


def _operators(place: str, field: object) -> dict[str, _Reader]:
    if isinstance(field, str) and field.startswith("custom.") and field.removeprefix("custom.").strip():
        return CUSTOM
    if not isinstance(field, str) or field not in FIELDS:
        raise InvalidInput(f"{place}, field", field, "unknown field" + _nearest(str(field), [*FIELDS, "custom.NAME"]))
    return FIELDS[field]


def _keys(operators: Mapping[str, _Reader]) -> list[str]:
    return list(dict.fromkeys(part for operator in operators for part in operator.split("+")))


def _choices(operators: Mapping[str, _Reader]) -> str:
    return "exactly one of " + ", ".join(operators) if len(operators) > 1 else " and ".join(_keys(operators))


def _nearest(text: str, names: Sequence[str]) -> str:
    found = get_close_matches(text, names, 1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else f"; valid are {', '.join(names)}"
