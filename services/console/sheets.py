"""Lists as people read them in Excel: the columns of an export with headings and words of a language, in one place."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from services.console.visits import Visit
from services.console.words import STATES, words_of
from shared.exporting import Wording

Row = Mapping[str, Any]
#: What a list is called, on its sheet and as a file.
TITLES = {
    "applications": "Applications",
    "jobs": "Jobs",
    "orders": "Write orders",
    "queries": "Queries",
    "letters": "Form letters",
    "users": "Users",
    "statuses": "Statuses",
    "history": "History",
}
#: Headings by column, or by list and column. What is not here are people's own words: names of custom fields.
HEADINGS = {
    "external_id": "External number",
    "duplicate_set": "Duplicate set",
    "kind": "Kind",
    "salutation": "Salutation",
    "title": "Title",
    "first_name": "First name",
    "last_name": "Last name",
    "birth_date": "Birth date",
    "email": "E-mail",
    "phone": "Phone",
    "street": "Street",
    "postal_code": "Postal code",
    "city": "City",
    "country": "Country",
    "language": "Language",
    "vacancy": "Vacancy",
    "department": "Department",
    "location": "Location",
    "source": "Source",
    "recruiter": "Recruiter",
    "status": "Status",
    "received_on": "Received",
    "in_pool": "Applicant pool",
    "pool_since": "In the pool since",
    "id": "Number",
    "name": "Name",
    "type": "Type",
    "task": "Task",
    "job": "Job",
    "application": "External number",
    "occasion_day": "Letter of",
    "state": "State",
    "planned_for": "Planned for",
    "sent_at": "Sent at",
    "time_zone": "Time zone",
    "subject": "Subject",
    "reason": "Reason",
    "attempts": "Attempts",
    "approval": "Approval",
    "query": "Query",
    "letter": "Form letter",
    "dispatch": "Dispatch",
    "time": "Dispatch time",
    "next_dispatch": "Next dispatch",
    "last_run": "Last run",
    **STATES,
    "filters": "Chooses whoever",
    "version": "Version",
    "languages": "Languages",
    "sets_status": "Status set by sending",
    "layout": "Layout",
    "attachments": "Attachments",
    "jobs": "Jobs",
    "users.name": "User name",
    "display_name": "Name in letters",
    "users.email": "E-mail address",
    "role": "Right",
    "has_password": "Password",
    "statuses.name": "Status",
    "meta": "Meaning",
    "at": "When",
    "author": "Who",
    "action": "What",
    "noun": "Record",
    "record_name": "Name",
    "field": "Field",
    "old": "Before",
    "new": "After",
}
#: Columns for programs: numbers that no page of the console shows.
HIDDEN = frozenset({"person", "record_id"})


def wording_of(visit: Visit, what: str, told: Callable[[Row], Row] = dict) -> Wording:
    """The list `what` in the person's language; `told` is asked first for each row: only its page knows some words."""
    say = partial(visit.renderer.text, visit.language)
    values = _values(say)
    is_german = visit.language == "de"
    day = "dd.mm.yyyy" if is_german else "d mmm yyyy"

    def heading(column: str) -> str | None:
        if column in HIDDEN:
            return None
        message = HEADINGS.get(f"{what}.{column}") or HEADINGS.get(column)
        return say(message) if message else column.removeprefix("custom.")

    def in_words(row: Row) -> Row:
        return {
            column: values[column](value) if value is not None and column in values else value
            for column, value in told(row).items()
        }

    return Wording(
        rows=title_of(visit, what),
        about=visit.text("Remarks"),
        times=visit.text("Times are local; where a row names no time zone: %(zone)s"),
        count=visit.text("%(count)s rows"),
        heading=heading,
        told=in_words,
        day=day,
        moment=f"{day} hh:mm",
    )


def title_of(visit: Visit, what: str) -> str:
    """What the list is called."""
    return visit.text(TITLES[what])


def _values(say: Callable[[str], str]) -> dict[str, Callable[[Any], Any]]:
    words = words_of(say)

    def flag(value: Any) -> str:
        return say("yes") if value else say("no")

    def asked_by(value: str) -> str:
        return f"{say('asked for by')} {value.removeprefix('asked for by ')}"

    return {
        "approval": asked_by,
        **dict.fromkeys(("kind", "type", "task", "state", "role"), words["word"]),
        **dict.fromkeys(("in_pool", "has_password"), flag),
        "reason": words["reason"],
    }
