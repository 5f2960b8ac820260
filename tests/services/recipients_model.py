"""Who matches a query on a day, decided person by person in plain Python from the written rules (D17, D20-D25)."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
METAS = {"Neu": "new", "Gespräch": "interview", "Pool": "pool", "Absage": "rejected"}
#: Media of entries without an application that count for all of a person's applications, in any direction or outgoing.
ALWAYS = ("form_letter_post", "form_letter_mail", "in_person")
OUTGOING = ("mail", "fax", "phone", "letter")


@dataclass
class Contact:
    """One entry, of an application or of a person (duplicate set)."""

    at: datetime
    medium: str
    direction: str
    application: str = ""
    person: str = ""

    @property
    def counts_for_person(self) -> bool:
        return self.medium in ALWAYS or (self.medium in OUTGOING and self.direction == "outgoing")


@dataclass
class Records:
    """Applications as rows of a file, by external id, and contact entries."""

    applications: dict[str, dict[str, str]]
    contacts: list[Contact]
    leap_day_birthday: str = "march_1"
    opted_out: set[str] = field(default_factory=set)


def fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip()).casefold()


def person_of(name: str, row: Mapping[str, str]) -> str:
    return row["duplicate_set"] or f"alone:{name}"


def contacts_of(records: Records, name: str) -> list[datetime]:
    """Entries that count for an application (D20)."""
    person = records.applications[name]["duplicate_set"]
    return [
        contact.at
        for contact in records.contacts
        if contact.application == name or (person and contact.person == person and contact.counts_for_person)
    ]


def is_birthday(born: date, day: date, leap_day: str) -> bool:
    if (born.month, born.day) == (2, 29) and not _is_leap(day.year):
        return (day.month, day.day) == ((3, 1) if leap_day == "march_1" else (2, 28))
    return (born.month, born.day) == (day.month, day.day)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def full_months(start: date, day: date) -> int:
    """Full months from `start` to `day`: full when the same day, or the last day of a shorter month, is reached."""
    months = (day.year - start.year) * 12 + day.month - start.month
    last_day = (day + timedelta(days=1)).month != day.month
    return months if day.day >= start.day or last_day else months - 1


def matches(records: Records, name: str, one: Mapping[str, Any], day: date) -> bool:
    """One filter; unknown values make it false, except `not_in`."""
    found = _test(records, name, one, day)
    return not found if one.get("negate") else found


def _test(records: Records, name: str, one: Mapping[str, Any], day: date) -> bool:
    row, kind = records.applications[name], one["field"]
    if kind == "has_email":
        return row["email"].endswith("example") == one["is"]
    if kind == "in_pool":
        return (row["in_pool"] == "true") == one["is"]
    if kind == "birthday_in_days":
        days = (day + timedelta(days=n) for n in range(one["from"], one["to"] + 1))
        born = _date(row["birth_date"])
        return born is not None and any(is_birthday(born, at, records.leap_day_birthday) for at in days)
    if kind == "days_since_last_contact":
        return _last_contact(records, name, one, day)
    if kind == "dwell_months":
        since = (_date(row["pool_since"]) if row["in_pool"] == "true" else None) or _date(row["received_on"])
        return since is not None and _compares(full_months(since, day), one)
    if kind == "received_on":
        received = _date(row["received_on"])
        return received is not None and one["from"] <= received.isoformat() <= one["to"]
    if kind.startswith("custom."):
        value = fold(row[kind])
        wanted = fold(one.get("equals", one.get("contains", "")))
        return bool(value) and (value == wanted if "equals" in one else wanted in value)
    return _listed(row, one)


def _listed(row: Mapping[str, str], one: Mapping[str, Any]) -> bool:
    value = METAS.get(row["status"], "") if one["field"] == "meta_status" else row[one["field"]]
    wanted = {fold(text) for text in one.get("in", one.get("not_in", ()))}
    return (bool(value) and fold(value) in wanted) if "in" in one else fold(value) not in wanted


def _last_contact(records: Records, name: str, one: Mapping[str, Any], day: date) -> bool:
    contacts = contacts_of(records, name)
    if "never" in one:
        return not contacts
    received = _date(records.applications[name]["received_on"])
    last = max(contacts).astimezone(BERLIN).date() if contacts else received
    return last is not None and _compares((day - last).days, one)


def _compares(number: int, one: Mapping[str, Any]) -> bool:
    return number > one["more_than"] if "more_than" in one else number <= one["at_most"]


def _date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def recipients(records: Records, filters: Sequence[Mapping[str, Any]], day: date) -> dict[str, list[str]]:
    """The chosen application of each person who matches -> its duplicates that matched too (D23)."""
    people: dict[str, list[str]] = {}
    for name, row in records.applications.items():
        if person_of(name, row) not in records.opted_out and all(matches(records, name, f, day) for f in filters):
            people.setdefault(person_of(name, row), []).append(name)
    found = {}
    for names in people.values():
        chosen = max(names, key=lambda name: _preference(records, name))
        found[chosen] = sorted(name for name in names if name != chosen)
    return found


def _preference(records: Records, name: str) -> tuple[Any, ...]:
    """Latest outgoing contact of its own, then latest received, then the greatest id; unknown comes last."""
    own: Iterable[Contact] = (c for c in records.contacts if c.application == name and c.direction == "outgoing")
    outgoing = [contact.at for contact in own]
    return (bool(outgoing), max(outgoing) if outgoing else None, records.applications[name]["received_on"], name)
