"""The fields of a job as people write them: one reader per field, for the setup file and for `job set` (D1)."""

import re
from collections.abc import Callable, Mapping
from datetime import date, time
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays as holiday_calendars

from shared.domain.consent import FEWEST_DAYS, MOST_DAYS, Consent
from shared.domain.mail_addresses import split_sender
from shared.errors import InvalidInput

Reader = Callable[[str, Any], Any]
_COUNTRIES = ("DE", "AT", "CH")
#: Control characters and line breaks; what UTF-8 or PostgreSQL cannot hold.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read_status(place: str, value: Any) -> str:
    """An/Aus in any spelling, and YAML's own reading of on/off as a truth value."""
    word = str(value).strip().casefold()
    if word in ("an", "on", "true"):
        return "on"
    if word in ("aus", "off", "false"):
        return "off"
    raise InvalidInput(place, value, "must be An or Aus")


def read_time(place: str, value: Any) -> str:
    """HH:MM; also the number that YAML makes of 12:12 (minutes, base 60); it makes none of times before 01:00."""
    if isinstance(value, int) and not isinstance(value, bool) and 60 <= value < 24 * 60:
        value = f"{value // 60:02d}:{value % 60:02d}"
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", str(value).strip())
    if match and int(match[1]) < 24 and int(match[2]) < 60:
        return time(int(match[1]), int(match[2])).isoformat("minutes")
    raise InvalidInput(place, value, "must be a time like 08:00")


def read_dispatch(place: str, value: Any) -> tuple[str, int | None, date | None]:
    """rolling, or {every_months: 1..36, anchor: DATE} (D10, D11); `every_months=3 anchor=DATE` on a command line."""
    if isinstance(value, str) and value.strip().casefold() == "rolling":
        return "rolling", None, None
    if isinstance(value, str) and (pairs := dict(re.findall(r"(every_months|anchor)[=:]\s*([\w-]+)", value))):
        value = {"every_months": _number(pairs.get("every_months")), "anchor": pairs.get("anchor")}
    if not isinstance(value, Mapping) or set(value) != {"every_months", "anchor"}:
        raise InvalidInput(place, value, "must be rolling, or {every_months: 3, anchor: 2026-01-31}")
    months = whole_number(1, 36)(f"{place}, every_months", value["every_months"])
    return "cyclic", months, read_day(f"{place}, anchor", value["anchor"])


def read_day(place: str, value: Any) -> date:
    """An ISO date."""
    try:
        return value if type(value) is date else date.fromisoformat(str(value))
    except ValueError:
        raise InvalidInput(place, value, "must be a date like 2026-01-31") from None


def whole_number(low: int, high: int) -> Reader:
    """A reader of numbers within bounds; texts of a command line included."""

    def read(place: str, value: Any) -> int:
        number = _number(value)
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise InvalidInput(place, value, f"must be a whole number from {low} to {high}")
        return number

    return read


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value.strip()) else value


def one_of(*allowed: str) -> Reader:
    """A reader of fixed words."""

    def read(place: str, value: Any) -> str:
        word = str(value).strip().casefold()
        if word not in allowed:
            near = get_close_matches(word, allowed, 1)
            raise InvalidInput(place, value, f"must be one of {', '.join(allowed)}" + (f"; {near[0]}?" if near else ""))
        return word

    return read


def read_zone(place: str, value: Any) -> str:
    """The name of a time zone."""
    try:
        return ZoneInfo(str(value)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(place, value, "is no time zone; use a name like Europe/Berlin") from None


def read_holidays(place: str, value: Any) -> str:
    """A country or state whose public holidays count (D18): DE-HH, AT, CH-ZH."""
    code = str(value).strip().upper()
    country, _, state = code.partition("-")
    try:
        if country not in _COUNTRIES:
            raise NotImplementedError
        holiday_calendars.country_holidays(country, subdiv=state or None)
    except NotImplementedError:
        raise InvalidInput(place, value, "must be DE, AT or CH, or one of their states, like DE-HH") from None
    return code


def read_sender(place: str, value: Any) -> str:
    """recruiter, user:NAME, address:a@b or "Name <a@b>" (D6)."""
    wish = str(value).strip()
    if wish.casefold() == "recruiter":
        return "recruiter"
    if wish.startswith("user:") and wish.removeprefix("user:").strip():
        return wish
    try:
        split_sender(wish.removeprefix("address:"), place)
    except InvalidInput:
        fix = 'must be recruiter, user:NAME, address:a@b or "Name <a@b>"'
        raise InvalidInput(place, value, fix) from None
    return wish


def read_name(place: str, value: Any) -> str:
    """A text that is not empty, trimmed, on one line."""
    name = str(value).strip() if isinstance(value, str | int | date) and not isinstance(value, bool) else ""
    if not name or _UNPRINTABLE.search(name):
        raise InvalidInput(
            place, value, "must be a text in one line that is not empty (in quotes if YAML reads it else)"
        )
    return name


def read_text(place: str, value: Any) -> str:
    """Any text that a database keeps."""
    if not isinstance(value, str) or _UNSTORABLE.search(value):
        raise InvalidInput(place, value, "must be a text")
    return value


def read_consent(place: str, value: Any) -> Consent:
    """{answer_days: 30, status: NAME}; `answer_days=30 status=NAME` on a command line."""
    if isinstance(value, str) and (found := re.fullmatch(r"\s*answer_days[=:]\s*(\S+?),?\s+status[=:]\s*(.+)", value)):
        value = {"answer_days": found[1], "status": found[2]}
    if not isinstance(value, Mapping) or set(value) != {"answer_days", "status"}:
        raise InvalidInput(place, value, "must be {answer_days: 30, status: NAME}, the name of a rejected status")
    days = whole_number(FEWEST_DAYS, MOST_DAYS)(f"{place}, answer_days", value["answer_days"])
    return Consent(days, read_name(f"{place}, status", value["status"]))


def or_none(read: Reader) -> Reader:
    """A reader that takes an empty value as unknown."""
    return lambda place, value: None if value in (None, "") else read(place, value)


#: Key in a setup file and in `job set` -> its reader. `dispatch` fills three columns, `consent` two.
JOB_FIELDS: dict[str, Reader] = {
    "name": read_name,
    "status": read_status,
    "query": read_name,
    "letter": read_name,
    "note": or_none(read_text),
    "dispatch": read_dispatch,
    "time": read_time,
    "time_zone": read_zone,
    "lead_days": whole_number(0, 60),
    "sender": read_sender,
    "sender_fallback": or_none(read_sender),
    "repeat_guard_days": whole_number(0, 3660),
    "valid_days": whole_number(1, 60),
    "priority": whole_number(-1000, 1000),
    "on_unclear": one_of("ask", "resend"),
    "working_days": one_of("as_is", "next", "previous"),
    "holidays": or_none(read_holidays),
    "consent": or_none(read_consent),
}


#: What a new job cannot do without, besides its name.
REQUIRED_JOB_FIELDS = ("query", "letter", "dispatch", "time")


def read_job_fields(place: str, pairs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `key=value` pairs; raises InvalidInput, for an unknown key with the nearest."""
    fields = {}
    for key, value in pairs.items():
        if key not in JOB_FIELDS:
            raise unknown_key(place, key, JOB_FIELDS)
        fields[key] = JOB_FIELDS[key](f"{place}, {key}", value)
    return fields


def shown(key: str, value: Any) -> Any:
    """A field's value as people write it."""
    if key == "status":
        return {"on": "An", "off": "Aus"}.get(value, value)
    if key == "dispatch":
        mode, months, anchor = value
        return mode if mode == "rolling" else f"every {months} months from {anchor}"
    return str(value) if isinstance(value, Consent) else value


def job_columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The read fields under the names of the table's columns; `query`, `letter` and `consent_status` stay names."""
    composite = ("dispatch", "consent")
    plain = {key: value for key, value in fields.items() if key not in composite}
    columns = {("dispatch_time" if key == "time" else key): value for key, value in plain.items()}
    if "consent" in fields:
        consent = fields["consent"]
        columns |= {"consent_answer_days": consent.answer_days if consent else None}
        columns |= {"consent_status": consent.status if consent else None}
    if "dispatch" in fields:
        columns |= dict(zip(("dispatch_mode", "cycle_months", "anchor_on"), fields["dispatch"], strict=True))
    return columns


def unknown_key(place: str, key: str, known: Any) -> InvalidInput:
    """The refusal of a key that does not exist, with the nearest that does."""
    near = get_close_matches(key, list(known), 1, cutoff=0.5)
    return InvalidInput(place, key, "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
