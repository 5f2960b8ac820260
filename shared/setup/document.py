"""A setup file as validated records (interfaces, section 4). Nothing is compared with the database here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.domain.filters import META_STATUSES, parse_filters
from shared.domain.job_fields import (
    JOB_FIELDS,
    Reader,
    one_of,
    or_none,
    read_name,
    read_text,
    read_zone,
    unknown_key,
    whole_number,
)
from shared.domain.letters import LetterText, check_letter
from shared.domain.mail_addresses import split_sender, usable_address
from shared.domain.text import fold
from shared.errors import InvalidInput
from shared.setup.yaml_reader import Lined, read_yaml

ROLES = ("view", "operate", "edit", "admin")
_KEYS = (
    *("salutation", "title", "first_name", "last_name", "birth_date", "email", "phone", "street", "postal_code"),
    *("city", "country"),
)
_KEEPABLE = ("email", "phone", "salutation", "title", "language", "department", "location", "source", "recruiter")


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the file: where it stands, its name, the name it had before, and its fields as given."""

    place: str
    name: str
    was: str | None
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Setup:
    """A whole file, validated as far as it can be without the database."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    statuses: tuple[Entry, ...] = ()
    users: tuple[Entry, ...] = ()
    queries: tuple[Entry, ...] = ()
    letters: tuple[Entry, ...] = ()
    jobs: tuple[Entry, ...] = ()


def read_setup(path: Path) -> Setup:
    """Reads and validates; raises InvalidInput naming file, line, record, field, value and fix."""
    document = read_yaml(path)
    for key in document:
        if key not in ("settings", *_KINDS):
            raise unknown_key(path.name, key, ("settings", *_KINDS))
    found = {kind: _entries(path.name, kind, document.get(kind)) for kind in _KINDS}
    setup = Setup(settings=_settings(path.name, document.get("settings")), **found)
    for entry in setup.letters:
        _check_letter(entry)
    return setup


def _entries(file: str, kind: str, raw: Any) -> tuple[Entry, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise InvalidInput(f"{file}, {kind}", type(raw).__name__, "must be a list")
    entries = tuple(_entry(file, kind, number, one) for number, one in enumerate(raw, 1))
    seen: dict[str, str] = {}
    for entry in entries:
        if fold(entry.name) in seen:
            raise InvalidInput(entry.place, entry.name, f"is given twice (first: {seen[fold(entry.name)]})")
        seen[fold(entry.name)] = entry.place
    return entries


def _entry(file: str, kind: str, number: int, raw: Any) -> Entry:
    if not isinstance(raw, Lined):
        raise InvalidInput(f"{file}, {kind}, entry {number}", raw, "must be a mapping with a name")
    place = f"{file}, line {raw.line}, {kind}"
    if "name" not in raw:
        raise InvalidInput(place, None, "has no name")
    name = read_name(f"{place}, name", raw["name"])
    place = f"{place}, {name!r}"
    readers = _KINDS[kind]
    fields = {}
    for key, value in raw.items():
        if key == "was":
            continue
        if key not in readers:
            raise unknown_key(place, key, [*readers, "was"])
        fields[key] = readers[key](f"{place}, {key}", value)
    missing = [key for key in _REQUIRED[kind] if key not in fields]
    if missing:
        raise InvalidInput(place, missing[0], "is missing and required")
    return Entry(place, name, read_name(f"{place}, was", raw["was"]) if "was" in raw else None, fields)


def _email(place: str, value: Any) -> str:
    if usable_address(str(value)) is None:
        raise InvalidInput(place, value, "is not a valid e-mail address")
    return str(value)


def _filters(place: str, value: Any) -> list[dict[str, Any]]:
    return [one.as_json() for one in parse_filters(place.removesuffix(", filters"), value)]


_KINDS: dict[str, dict[str, Reader]] = {
    "statuses": {"name": read_name, "meta": one_of(*META_STATUSES)},
    "users": {
        "name": read_name,
        "display_name": read_name,
        "email": or_none(_email),
        "role": one_of(*ROLES),
    },
    "queries": {"name": read_name, "filters": _filters},
    "letters": {
        "name": read_name,
        "language": read_name,
        "subject": read_text,
        "html": or_none(read_text),
        "text": or_none(read_text),
        "sets_status": or_none(read_name),
    },
    "jobs": JOB_FIELDS,
}
_REQUIRED = {
    "statuses": ("meta",),
    "users": ("display_name", "role"),
    "queries": ("filters",),
    "letters": ("subject",),
    "jobs": ("query", "letter", "dispatch", "time"),
}


def _check_letter(entry: Entry) -> None:
    if not entry.fields.get("html") and not entry.fields.get("text"):
        raise InvalidInput(entry.place, None, "needs html, text or both")
    try:
        check_letter(entry.name, letter_text(entry.fields))
    except InvalidInput as exc:
        raise InvalidInput(f"{entry.place}: {exc.place}", exc.value, exc.fix) from None


def letter_text(fields: Mapping[str, Any]) -> LetterText:
    """The text of a letter as given."""
    return LetterText(
        subject=fields["subject"],
        html=fields.get("html"),
        text=fields.get("text"),
        language=fields.get("language") or "de",
    )


def _settings(file: str, raw: Any) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise InvalidInput(f"{file}, settings", raw, "must be a mapping")
    found = {}
    for key, value in raw.items():
        if key not in _SETTINGS:
            raise unknown_key(f"{file}, settings", key, _SETTINGS)
        found[key] = _SETTINGS[key](f"{file}, settings, {key}", value)
    return found


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
        return list(value)

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


_SETTINGS: dict[str, Reader] = {
    "time_zone": read_zone,
    "reduce_core_data": _reduction,
    "core_data_keeps": _names_among(_KEEPABLE),
    "leap_day_birthday": one_of("march_1", "february_28"),
    "sender": _sender,
    "company": or_none(read_name),
    "catch_up_hours": _number(0, 48),
    "sync_minutes": _number(0.05, 60),
    "frequency_cap_days": whole_number(0, 3660),
    "duplicate_keys": _names_among(_KEYS),
}
