"""The form of a job's fields (D1): what it offers, what was typed, and the pairs that the service functions take."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import available_timezones

import holidays as holiday_calendars
from sqlalchemy import select

from services.console.pages.job_words import VALUES, told
from services.console.visits import Visit
from shared.db.system_settings import load_system_settings
from shared.db.tables import application_queries, application_statuses, form_letters, users
from shared.domain.job_fields import JOB_FIELDS, REQUIRED_JOB_FIELDS
from shared.errors import InvalidInput

Values = dict[str, str]
#: Fields of the form that are a job's field of the same name.
_PLAIN = (
    *("name", "query", "letter", "note", "time", "time_zone", "lead_days", "repeat_guard_days", "valid_days"),
    *("priority", "on_unclear", "working_days", "holidays"),
)
_FORM = (
    *_PLAIN,
    *("consent_days", "consent_status"),
    *("mode", "every_months", "anchor", "sender", "sender_address", "sender_fallback", "sender_fallback_address"),
)
#: Where the parts of `consent` are typed.
_CONSENT = {"consent": "consent_days", "answer_days": "consent_days", "status": "consent_status"}
_COUNTRIES = {"DE": "Germany", "AT": "Austria", "CH": "Switzerland"}


def typed_values(visit: Visit) -> Values:
    """What was typed."""
    return {key: visit.field(key) for key in _FORM}


def new_values(zone: str) -> Values:
    """A new job's form."""
    usual = {"mode": "rolling", "time": "08:00", "time_zone": zone, "lead_days": "3", "sender": "recruiter"}
    usual |= {"repeat_guard_days": "30", "valid_days": "5", "priority": "10", "on_unclear": "ask"}
    return dict.fromkeys(_FORM, "") | usual | {"working_days": "as_is"}


def values_of(row: Mapping[str, Any]) -> Values:
    """The form of a job that exists."""
    values = {key: "" if row.get(key) is None else str(row[key]) for key in _PLAIN if key != "time"}
    values |= {"time": row["dispatch_time"], "mode": row["dispatch_mode"]}
    values |= {"every_months": str(row["cycle_months"] or ""), "anchor": str(row["anchor_on"] or "")}
    values |= {"consent_days": str(row["consent_answer_days"] or ""), "consent_status": row["consent_status"] or ""}
    for key in ("sender", "sender_fallback"):
        wish = row[key] or ""
        is_known = wish in ("", "recruiter") or wish.startswith("user:")
        values[key] = wish if is_known else "address"
        values[f"{key}_address"] = "" if is_known else wish.removeprefix("address:")
    return values


def pairs_of(values: Values) -> dict[str, str]:
    """What was typed as the `key=value` pairs of `job set`."""
    pairs = {key: values[key] for key in _PLAIN}
    if values["mode"] == "cyclic":
        pairs["dispatch"] = f"every_months={values['every_months']} anchor={values['anchor']}"
    else:
        pairs["dispatch"] = "rolling"
    days, status = values["consent_days"], values["consent_status"]
    pairs["consent"] = f"answer_days={days} status={status}" if days else ""
    for key in ("sender", "sender_fallback"):
        address = values[f"{key}_address"]
        pairs[key] = f"address:{address}" if values[key] == "address" else values[key]
    return pairs


def errors_of(visit: Visit, values: Values) -> dict[str, str]:
    """Every field that cannot be read, all at once; what only the database knows comes when it is saved."""
    found: dict[str, str] = {}
    for key, value in pairs_of(values).items():
        if key == "dispatch" and values["mode"] == "cyclic":
            found |= _cycle_errors(visit, values)
            continue
        if not value and key in (*REQUIRED_JOB_FIELDS, "name"):
            found[key] = visit.text("is missing")
            continue
        try:
            JOB_FIELDS[key](key, value)
        except InvalidInput as exc:
            found |= error_of(visit, exc)
    return found


def _cycle_errors(visit: Visit, values: Values) -> dict[str, str]:
    found = {}
    if not (values["every_months"].isdecimal() and 1 <= int(values["every_months"]) <= 36):
        found["every_months"] = visit.text("must be a number from %(low)s to %(high)s", low=1, high=36)
    try:
        JOB_FIELDS["dispatch"]("dispatch", {"every_months": 1, "anchor": values["anchor"]})
    except InvalidInput:
        found["anchor"] = visit.text("must be a date")
    return found


def error_of(visit: Visit, exc: InvalidInput) -> dict[str, str]:
    """A refusal beside the field that it is about."""
    key = exc.place.rpartition(", ")[2]
    key = _CONSENT.get(key, key)
    if key not in _FORM and str(exc.value) in _FORM:
        key = str(exc.value)
    if key in ("sender", "sender_fallback") and str(exc.value).startswith("address:"):
        key = f"{key}_address"
    return {key if key in _FORM else "form": told(visit, [exc.fix])[0]}


async def choices(visit: Visit, values: Values) -> dict[str, Any]:
    """What the selects offer, as (value, text) pairs; what a job has is always among it."""
    async with visit.database.read() as connection:
        found: dict[str, Any] = {}
        for key, table in (("query", application_queries), ("letter", form_letters)):
            rows = (await connection.execute(select(table.c.id, table.c.name).order_by(table.c.name_folded))).all()
            found[key] = [("", visit.text("Please choose")), *((row.name, row.name) for row in rows)]
            found[f"{key}_ids"] = {row.name: row.id for row in rows}
        known = select(users.c.name, users.c.display_name).order_by(users.c.name_folded)
        people = [(f"user:{row.name}", row.display_name) for row in (await connection.execute(known)).all()]
        zone = (await load_system_settings(connection)).time_zone
        s = application_statuses.c
        final = select(s.name).where(s.meta == "rejected").order_by(s.name_folded)
        rejecting = list((await connection.execute(final)).scalars())
    an_address = ("address", visit.text("a fixed address"))
    found["sender"] = [("recruiter", visit.text(VALUES["recruiter"])), *people, an_address]
    found["sender_fallback"] = [("", visit.text("the sender of the system")), *people, an_address]
    zones = [one for one in sorted(available_timezones()) if "/" in one and not one.startswith(("Etc/", "posix"))]
    usual = list(dict.fromkeys((zone, "Europe/Berlin", "Europe/Vienna", "Europe/Zurich")))
    found["time_zone"] = [(one, one) for one in dict.fromkeys((*usual, *zones))]
    found["consent_status"] = [("", visit.text("none")), *((name, name) for name in rejecting)]
    found["mode"] = [
        ("rolling", visit.text("every day (rolling)")),
        ("cyclic", visit.text("every few months (cyclic)")),
    ]
    for key, words in (("on_unclear", ("ask", "resend")), ("working_days", ("as_is", "next", "previous"))):
        found[key] = [(word, visit.text(VALUES[word])) for word in words]
    found["holidays"] = [("", visit.text("none")), *_holiday_choices(visit)]
    for key, options in found.items():
        # A value that is not offered (any more) would silently become the first one that is.
        if key in values and values[key] not in {value for value, _ in options}:
            options.append((values[key], values[key].removeprefix("user:")))
    return found


def _holiday_choices(visit: Visit) -> list[tuple[str, str]]:
    found = []
    for code, country in _COUNTRIES.items():
        name = visit.text(country)
        found.append((code, visit.text("%(country)s (everywhere)", country=name)))
        calendar = holiday_calendars.country_holidays(code)
        called: dict[str, str] = {}
        for alias, state in calendar.subdivisions_aliases.items():
            # The first is its whole name; others are abbreviations, or that of another language.
            called.setdefault(state, alias)
        found += [(f"{code}-{state}", f"{name}: {called.get(state, state)}") for state in calendar.subdivisions]
    return found
