"""What jobs are called in the console: their fields, values and the notes that saving one gives."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.console.formats import formats_of
from services.console.visits import Visit
from services.console.words import translated_reason

#: Labels of the fields, by the key that command line and setup file use.
FIELDS = {
    "name": "Name",
    "status": "Status",
    "query": "Query",
    "letter": "Form letter",
    "note": "Note",
    "dispatch": "Dispatch",
    "every_months": "Every how many months",
    "anchor": "First dispatch on",
    "time": "Dispatch time",
    "time_zone": "Time zone",
    "lead_days": "Lead days",
    "sender": "Sender",
    "sender_fallback": "Sender if the recruiter is missing",
    "repeat_guard_days": "Repeat guard in days",
    "valid_days": "Valid for days",
    "priority": "Priority",
    "on_unclear": "When it is unclear whether a letter was sent",
    "working_days": "Working days",
    "holidays": "Public holidays",
    "consent": "Consent",
    "copied_from": "Copied from",
    "fresh": "Guard begins anew",
    "withdrawn_orders": "Withdrawn letters",
}
VALUES = {
    "rolling": "every day (rolling)",
    "recruiter": "the recruiter of the application",
    "ask": "ask a person",
    "resend": "send again",
    "as_is": "send on the day as it is",
    "next": "on the next working day",
    "previous": "on the previous working day",
    "on": "On",
    "off": "Off",
    "yes": "yes",
    "no": "no",
}
ACTIONS = {
    "create": "created",
    "change": "changed",
    "copy": "copied",
    "delete": "deleted",
    "release": "held dispatch let go",
    "ask_approval": "approval asked for",
    "approve": "approved",
    "refuse": "approval refused",
}
#: English texts of the service functions, with values in them, and the message that each becomes.
_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"^must be a whole number from (?P<low>\S+) to (?P<high>\S+)$"),
        "must be a number from %(low)s to %(high)s",
    ),
    (re.compile(r"^a job named '(?P<name>.*)' exists already$"), "a job named %(name)s exists already"),
    (re.compile(r"^must be a text in one line"), "must be a text in one line that is not empty"),
    (re.compile(r"^must be recruiter, user:NAME"), "must be an e-mail address"),
    (re.compile(r"^An: next dispatch (?P<at>\S+ \S+) \((?P<zone>.*)\)$"), "Next dispatch: %(at)s (%(zone)s)."),
    (
        re.compile(r"^(?P<count>\d+) orders whose send moment passed while Aus were withdrawn$"),
        "Letters withdrawn because their moment passed while off: %(count)s.",
    ),
    (
        re.compile(r"^(?P<count>\d+) people who have not answered in time are rejected in the coming night$"),
        "People who have not answered in time and are rejected in the coming night: %(count)s.",
    ),
    (
        re.compile(r"^job '.*': a repeat guard of (?P<days>\d+) days can swallow the next dispatch$"),
        "A repeat guard of %(days)s days can swallow the next dispatch.",
    ),
    (
        re.compile(r"^job '.*': a repeat guard of (?P<guard>\d+) days asks again before the (?P<days>\d+) days to .*$"),
        "A repeat guard of %(guard)s days asks again before the %(days)s days to answer are over.",
    ),
    (
        re.compile(r"^job '.*': its query asks for the pool, but its letter sets no status$"),
        "The query asks for the pool, but the letter sets no status.",
    ),
)
_CONSENT = re.compile(r"^answer_days=(\d+) status=(.+)$")
_MONTHS = re.compile(r"^every (\d+) months from (\S+)$")


def told(visit: Visit, texts: Iterable[str]) -> list[str]:
    """Notes, warnings and refusals in the person's language."""
    return [_told(visit, text) for text in texts]


def _told(visit: Visit, text: str) -> str:
    for pattern, message in _TEXTS:
        if found := pattern.match(text):
            values = found.groupdict()
            if "at" in values:
                local = datetime.fromisoformat(values["at"]).replace(tzinfo=ZoneInfo(values["zone"]))
                values["at"] = formats_of(visit.language)["moment"](local, values["zone"])
            return visit.text(message, **values)
    return translated_reason(text, visit.text)


def field_name(visit: Visit, key: str) -> str:
    """The label of a field."""
    return visit.text(FIELDS.get(key, key))


def field_value(visit: Visit, key: str | None, value: Any) -> str:
    """A field's value as the history keeps it, in words."""
    if value is None or value == "":
        return ""
    text = str(value)
    if key in ("name", "query", "letter", "note", "copied_from"):
        return text
    if found := _MONTHS.match(text):
        day = formats_of(visit.language)["day"](found[2])
        return visit.text("every %(months)s months from %(day)s", months=found[1], day=day)
    if key == "consent" and (found := _CONSENT.match(text)):
        return visit.text("%(days)s days to answer, then: %(status)s", days=found[1], status=found[2])
    if text.startswith(("user:", "address:")):
        return text.partition(":")[2]
    return visit.text(VALUES.get(text, text))


def shown_changes(visit: Visit, changes: Iterable[tuple[str, Any, Any]]) -> list[Mapping[str, str]]:
    """Changes of fields for a table."""
    return [
        {"field": field_name(visit, key), "old": field_value(visit, key, old), "new": field_value(visit, key, new)}
        for key, old, new in changes
    ]
