"""Who changed what and when, of every record."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import select
from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.job_words import ACTIONS as JOB_ACTIONS
from services.console.pages.job_words import FIELDS as JOB_FIELDS
from services.console.pages.job_words import field_value
from services.console.pages.order_record import ACTS
from services.console.pages.query_sentences import METAS, sentences
from services.console.paging import all_of, page_of, total_of
from services.console.routing import Page
from services.console.visits import Visit
from services.console.words import OTHERS, STATES, translated_reason
from shared.db.tables import events
from shared.exporting import history_of

_E = events.c
_COLUMNS = (_E.id, _E.at, _E.author, _E.action, _E.noun, _E.record_name, _E.field, _E.old, _E.new, _E.reason)
#: Rows of a print: paper is for people.
PRINTED = 2000
#: So many changes of one kind are counted, and ordered when found; where there are more, the newest are walked through.
FEW = 50_000
NOUNS = {
    "job": "job",
    "query": "query",
    "letter": "form letter",
    "layout": "letter layout",
    "attachment": "attachment",
    "order": "write order",
    "person": "person",
    "application": "application",
    "contact": "contact",
    "run": "dispatch",
    "user": "user",
    "status": "status",
    "settings": "settings",
}
ACTIONS = {
    "create": "created",
    "change": "changed",
    "copy": "copied",
    "delete": "deleted",
    "import": "imported",
    "password": "password set",
    "lock": "locked",
    "unlock": "unlocked",
    "test_mail": "test letter sent",
    "release": "released",
    "block": "blocked",
    "unblock": "unblocked",
    "opt_out": "wants no contact care",
    "opt_in": "wants contact care again",
    "no_birthday": "wants no birthday letters",
    "birthday": "wants birthday letters again",
    "yearly": "wants at most one letter a year",
    "not_yearly": "wants letters as often as usual",
    "ask_correction": "asks for a correction of the data",
    "ask_deletion": "asks for deletion of the data",
    "take_back_correction": "takes the request for correction back",
    "take_back_deletion": "takes the request for deletion back",
    "done_correction": "request for correction done",
    "done_deletion": "request for deletion done",
    "reduce": "reduced to core data",
    "erase": "words erased from the history",
    "move": "application belongs to another person",
    "evidence": "evidence file made",
}


async def show_history(visit: Visit) -> Response:
    """The changes, newest first; narrowed to one kind of record; all of them to be printed, up to a bound."""
    noun = visit.asked("noun")
    statement = select(*_COLUMNS)
    which = [_E.noun == noun] if noun in NOUNS else []
    async with visit.database.read() as connection:
        total = await total_of(connection, select(_E.id).where(*which), None if which else events, FEW)
        if which and total.exact:
            # Found and then ordered: newest first a planner would look for them among all that has ever happened.
            found = select(_E.id).where(*which).cte("found").prefix_with("MATERIALIZED", dialect="postgresql")
            statement = statement.join(found, found.c.id == _E.id)
        else:
            statement = statement.where(*which)
        if visit.is_printing:
            paged = await all_of(connection, statement.order_by(_E.id.desc()), PRINTED)
        else:
            paged = await page_of(connection, statement, [_E.id], visit.asked("after"), descending=True)
    zone = await visit.surroundings.zone()
    return visit.render(
        "settings_history.html",
        rows=[in_words(visit, row) for row in paged.rows],
        paged=paged,
        total=total,
        first=not visit.asked("after"),
        nouns=[(key, visit.text(word)) for key, word in NOUNS.items()],
        noun=noun,
        most=PRINTED,
        zone=zone.key,
    )


def in_words(visit: Visit, row: Mapping[Any, Any]) -> dict[str, Any]:
    """An event with the words of the person's language for its code names."""
    # A job is told in the words of its form, a letter in those of its record.
    actions = ACTIONS | {"job": JOB_ACTIONS, "order": ACTS}.get(row["noun"], {})
    fields = FIELDS | JOB_FIELDS if row["noun"] == "job" else FIELDS
    field = fields.get(row["field"] or "")
    named = {"record_name": _record_name(visit, row)} if "record_name" in row else {}
    return {
        **row,
        **named,
        "noun": visit.text(NOUNS.get(row["noun"], row["noun"])),
        "action": visit.text(actions.get(row["action"], row["action"])),
        "field": visit.text(field) if field else (row["field"] or ""),
        "old": _value(visit, row, row["old"]),
        "new": _value(visit, row, row["new"]),
        "reason": translated_reason(row["reason"], visit.text) if row["reason"] else "",
    }


def told_history(visit: Visit, noun: str, history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The changes of one record, in words."""
    return [in_words(visit, {**one, "noun": noun}) for one in history]


def _record_name(visit: Visit, row: Mapping[Any, Any]) -> str:
    """What the record is called; a letter that no job wrote is called after its task, settings are just settings."""
    name: str = row["record_name"] or ""
    if row["noun"] == "settings":
        return visit.text("stopped letters") if name == "hold" else ""
    known = OTHERS.get(name) if row["noun"] == "order" else None
    return visit.text(known) if known else name


def _value(visit: Visit, row: Mapping[Any, Any], text: str | None) -> str:
    """A value as the history keeps it, in words; what people wrote themselves stays as it is."""
    noun, field = row["noun"], row["field"]
    if not text or field in OWN_WORDS or (noun == "application" and field == "status"):
        return text or ""
    if field in _TOLD:
        try:
            return _TOLD[field](visit, text)
        except (ValueError, KeyError, TypeError):
            return text  # of an earlier release
    if noun == "job":
        return field_value(visit, field, text)
    if noun == "settings":
        return _setting(visit, text)
    known = (STATES | OTHERS | (METAS if field == "meta" else {})).get(text)
    return visit.text(known) if known else text


def _setting(visit: Visit, text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, list):
        return ", ".join(_setting(visit, str(one)) for one in value)
    if isinstance(value, dict):
        (kind, months) = next(iter(value.items()))
        return f"{_setting(visit, kind)} ({months})"
    known = SETTING_VALUES.get(str(value))
    return visit.text(known) if known else text


def _conditions(visit: Visit, text: str) -> str:
    return "\n".join(sentences(visit, json.loads(text)))


def _variants(visit: Visit, text: str) -> str:
    """The letter in other languages, each as people wrote it."""
    return "\n\n".join(
        "\n".join(filter(None, (_language(visit, one["language"]), one["subject"], one.get("html"), one.get("text"))))
        for one in json.loads(text)
    )


def _files(_: Visit, text: str) -> str:
    return ", ".join(json.loads(text))


def _language(visit: Visit, code: str) -> str:
    known = {"de": "German", "en": "English"}.get(code)
    return visit.text(known) if known else code


#: How the values of a field are told that are neither words nor code names.
_TOLD: dict[str, Callable[[Visit, str], str]] = {
    "filters": _conditions,
    "variants": _variants,
    "attachments": _files,
    "language": _language,
}
#: Fields whose values are people's own words, or names that they gave.
OWN_WORDS = frozenset(
    {"name", "query", "letter", "note", "copied_from", "subject", "html", "text", "company", "display_name", "email"}
    | {"application", "to", "layout", "sets_status", "file_name"}
)
#: What settings hold, where that is no number, name or time zone.
SETTING_VALUES = {
    "off": "never",
    "at_once": "at once after the rejection",
    "after_months": "some months after the rejection",
    "march_1": "1 March",
    "february_28": "28 February",
    "True": "yes",
    "False": "no",
    "salutation": "salutation",
    "title": "title",
    "first_name": "first name",
    "last_name": "last name",
    "birth_date": "birth date",
    "email": "e-mail address",
    "phone": "phone",
    "street": "street",
    "postal_code": "postal code",
    "city": "city",
    "country": "country",
    "language": "language",
    "department": "department",
    "location": "location",
    "source": "source",
    "recruiter": "recruiter",
}
FIELDS = {
    "sets_status": "Status set by sending",
    "variants": "Other language",
    "layout": "Layout",
    "attachments": "Attachments",
    "application": "application",
    "to": "to",
    "file_name": "file",
    "sha256": "check sum",
    "added": "added",
    "updated": "updated",
    "bad": "left out",
    "person": "person",
    "name": "name",
    "status": "status",
    "state": "state",
    "time_zone": "time zone",
    "sender": "sender",
    "filters": "conditions",
    "subject": "subject",
    "html": "formatted text",
    "text": "plain text",
    "language": "language",
    "meta": "meaning",
    "display_name": "display name",
    "email": "e-mail address",
    "role": "role",
    "company": "company",
    "catch_up_hours": "hours to catch up",
    "sync_minutes": "minutes between synchronisations",
    "frequency_cap_days": "days between two letters",
    "duplicate_keys": "duplicate keys",
    "core_data_keeps": "core data keeps",
    "reduce_core_data": "reduction to core data",
    "four_eyes": "approval by a second user",
    "leap_day_birthday": "birthday on 29 February",
}


async def export_history(visit: Visit) -> Response:
    """The changes of the kind of record that is asked for, of all kinds without one, as a workbook."""
    noun = visit.asked("noun")
    narrowed = history_of(noun) if noun in NOUNS else None
    return await download(visit, "history", narrowed, lambda row: in_words(visit, row))


PAGES = (
    Page("/settings/history", show_history, "view"),
    Page("/settings/history.xlsx", export_history, "view"),
)
