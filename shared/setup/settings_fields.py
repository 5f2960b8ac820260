"""The settings of a setup file: one reader per key (interfaces, section 4)."""

from collections.abc import Mapping
from typing import Any

from shared.db.core_data import ERASED
from shared.domain.job_fields import Reader, one_of, or_none, read_name, read_zone, unknown_key, whole_number
from shared.domain.mail_addresses import split_sender
from shared.errors import InvalidInput
from shared.setup.yaml_reader import Lined

_KEYS = (
    *("salutation", "title", "first_name", "last_name", "birth_date", "email", "phone", "street", "postal_code"),
    *("city", "country"),
)


def read_settings(file: str, raw: Any) -> dict[str, tuple[str, Any]]:
    """The settings that a file gives, each with its place; raises InvalidInput, for an unknown one with the nearest."""
    if raw is None:
        return {}
    if not isinstance(raw, Lined):
        raise InvalidInput(f"{file}, settings", raw, "must be a mapping")
    found = {}
    for key, value in raw.items():
        place = f"{file}, line {raw.lines[key]}, settings"
        if key not in _SETTINGS:
            raise unknown_key(place, key, _SETTINGS)
        found[key] = f"{place}, {key}", _SETTINGS[key](f"{place}, {key}", value)
    return found


def read_setting(name: str, value: Any) -> Any:
    """One setting as a form gives it; raises InvalidInput."""
    return _SETTINGS[name](f"settings, {name}", value)


#: The fields that `duplicate_keys` may name.
DUPLICATE_KEYS = _KEYS


def _reduction(place: str, value: Any) -> Any:
    if value is False:  # YAML's own reading of off
        return "off"
    if isinstance(value, Mapping) and set(value) == {"after_months"}:
        return {"after_months": whole_number(1, 240)(f"{place}, after_months", value["after_months"])}
    if value in ("off", "at_once"):
        return value
    raise InvalidInput(place, value, "must be off, at_once or {after_months: N}")


def _names_among(allowed: tuple[str, ...]) -> Reader:
    def read(place: str, value: Any) -> list[str]:
        if not isinstance(value, list):
            raise InvalidInput(place, value, "must be a list of field names")
        for name in value:
            if name not in allowed:
                raise unknown_key(place, str(name), allowed)
        return list(dict.fromkeys(value))

    return read


def _sender(place: str, value: Any) -> str:
    split_sender(str(value), place)
    return str(value)


def _number(low: float, high: float) -> Reader:
    def read(place: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidInput(place, value, f"must be a number from {low:g} to {high:g}")
        return value

    return read


def _yes_no(place: str, value: Any) -> bool:
    found = {"yes": True, "no": False, "true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise InvalidInput(place, value, "must be yes or no")
    return found


_SETTINGS: dict[str, Reader] = {
    "time_zone": read_zone,
    "reduce_core_data": _reduction,
    "core_data_keeps": _names_among(ERASED),
    "leap_day_birthday": one_of("march_1", "february_28"),
    "sender": _sender,
    "company": or_none(read_name),
    "catch_up_hours": _number(0, 48),
    "sync_minutes": _number(0.05, 60),
    "frequency_cap_days": whole_number(0, 3660),
    "duplicate_keys": _names_among(_KEYS),
    "four_eyes": _yes_no,
}
