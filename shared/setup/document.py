"""A setup file as validated records (interfaces, section 4). Nothing is compared with the database here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.db.actors import ROLES
from shared.domain.filters import META_STATUSES, parse_filters
from shared.domain.job_fields import (
    JOB_FIELDS,
    REQUIRED_JOB_FIELDS,
    Reader,
    one_of,
    or_none,
    read_name,
    read_text,
    unknown_key,
)
from shared.domain.letter_layouts import Layout, check_layout
from shared.domain.letters import LetterText, check_letter, language_of
from shared.domain.mail_addresses import usable_address
from shared.domain.text import fold
from shared.errors import InvalidInput
from shared.setup.settings_fields import read_settings
from shared.setup.yaml_reader import Lined, read_yaml


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
    #: Where each of them stands.
    setting_places: Mapping[str, str] = field(default_factory=dict)
    statuses: tuple[Entry, ...] = ()
    users: tuple[Entry, ...] = ()
    queries: tuple[Entry, ...] = ()
    layouts: tuple[Entry, ...] = ()
    letters: tuple[Entry, ...] = ()
    jobs: tuple[Entry, ...] = ()


def read_setup(path: Path) -> Setup:
    """Reads and validates; raises InvalidInput naming file, line, record, field, value and fix."""
    document = read_yaml(path)
    for key in document:
        if key not in ("settings", *_KINDS):
            raise unknown_key(path.name, key, ("settings", *_KINDS))
    found = {kind: _entries(path.name, kind, document.get(kind)) for kind in _KINDS}
    settings = read_settings(path.name, document.get("settings"))
    setup = Setup(
        {key: value for key, (_, value) in settings.items()}, {key: at for key, (at, _) in settings.items()}, **found
    )
    for entry in setup.layouts:
        check_layout(entry.place, Layout(entry.fields.get("html"), entry.fields.get("text")))
    for entry in setup.letters:
        check_letter_entry(entry)
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
            hint = "; other languages of a letter go under its `variants:`" if kind == "letters" else ""
            raise InvalidInput(entry.place, entry.name, f"is given twice (first: {seen[fold(entry.name)]}){hint}")
        seen[fold(entry.name)] = entry.place
    for entry in entries:
        # A record has one successor: else who comes first in the file would decide.
        old = fold(entry.was) if entry.was else ""
        if old and seen.setdefault(old, entry.place) != entry.place:
            raise InvalidInput(f"{entry.place}, was", entry.was, f"another entry is this one: {seen[old]}")
    return entries


def _entry(file: str, kind: str, number: int, raw: Any) -> Entry:
    if not isinstance(raw, Lined):
        raise InvalidInput(f"{file}, {kind}, entry {number}", raw, "must be a mapping with a name")
    if "name" not in raw:
        raise InvalidInput(f"{file}, line {raw.line}, {kind}", None, "has no name")
    name = read_name(f"{file}, line {raw.line}, {kind}, name", raw["name"])
    place = f"{file}, line {raw.line}, {kind}, {name!r}"
    fields = {key: _field(file, kind, name, raw, key) for key in raw}
    for key in _REQUIRED[kind]:
        if key not in fields:
            raise InvalidInput(place, key, "is missing and required")
    was = fields.pop("was", None)
    return Entry(place, name, was if was and fold(was) != fold(name) else None, fields)


def _field(file: str, kind: str, name: str, raw: Lined, key: str) -> Any:
    place = f"{file}, line {raw.lines[key]}, {kind}, {name!r}"
    readers = {**_KINDS[kind], "was": or_none(read_name)}
    if key not in readers:
        raise unknown_key(place, key, readers)
    return readers[key](f"{place}, {key}", raw[key])


def _email(place: str, value: Any) -> str:
    if usable_address(str(value)) is None:
        raise InvalidInput(place, value, "is not a valid e-mail address")
    return str(value)


def _filters(place: str, value: Any) -> list[dict[str, Any]]:
    return [one.as_json() for one in parse_filters(place.removesuffix(", filters"), value)]


def _variants(place: str, value: Any) -> list[dict[str, Any]]:
    """A letter in other languages: [{language, subject, html, text}]."""
    if not isinstance(value, list):
        raise InvalidInput(place, value, "must be a list of {language, subject, html, text}")
    return [_variant(f"{place} {number}", one) for number, one in enumerate(value, 1)]


def _variant(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(place, value, "must be a mapping with language, subject, and html or text")
    for key in value:
        if key not in _VARIANT:
            raise unknown_key(place, key, _VARIANT)
    for key in ("language", "subject"):
        if not value.get(key):
            raise InvalidInput(place, key, "is missing and required")
    return {key: read(f"{place}, {key}", value.get(key)) for key, read in _VARIANT.items()}


def _names(place: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise InvalidInput(place, value, "must be a list of ids")
    return [read_name(place, one) for one in value]


_VARIANT: dict[str, Reader] = {
    "language": read_name,
    "subject": read_text,
    "html": or_none(read_text),
    "text": or_none(read_text),
}
_KINDS: dict[str, dict[str, Reader]] = {
    "statuses": {"name": read_name, "meta": one_of(*META_STATUSES)},
    "users": {
        "name": read_name,
        "display_name": read_name,
        "email": or_none(_email),
        "role": one_of(*ROLES),
    },
    "queries": {"name": read_name, "filters": _filters},
    "layouts": {"name": read_name, "html": or_none(read_text), "text": or_none(read_text)},
    "letters": {
        "name": read_name,
        "language": read_name,
        "subject": read_text,
        "html": or_none(read_text),
        "text": or_none(read_text),
        "sets_status": or_none(read_name),
        "layout": or_none(read_name),
        "variants": or_none(_variants),
        "attachments": or_none(_names),
    },
    "jobs": JOB_FIELDS,
}
_REQUIRED = {
    "statuses": ("meta",),
    "users": ("display_name", "role"),
    "queries": ("filters",),
    "layouts": (),
    "letters": ("subject",),
    "jobs": REQUIRED_JOB_FIELDS,
}


def check_letter_entry(entry: Entry) -> None:
    """Each language on its own; in the layout it is checked when it is saved."""
    forms: list[Mapping[str, Any]] = [entry.fields, *(entry.fields.get("variants") or ())]
    seen: set[str | None] = set()
    for form in forms:
        text = letter_text(form)
        if not text.html and not text.text:
            raise InvalidInput(entry.place, None, "needs html, text or both")
        try:
            check_letter(entry.name, text)
        except InvalidInput as exc:
            raise InvalidInput(f"{entry.place}: {exc.place}", exc.value, exc.fix) from exc
        language = language_of(text.language)
        if language in seen:
            raise InvalidInput(f"{entry.place}, variants, language", text.language, "is given twice")
        seen.add(language)


def letter_text(fields: Mapping[str, Any]) -> LetterText:
    """The text of a letter as given."""
    return LetterText(
        subject=fields["subject"],
        html=fields.get("html"),
        text=fields.get("text"),
        language=fields.get("language") or "de",
    )
