"""Code names as people read them: states, types, roles, media; and reasons that the database keeps in English."""

from collections.abc import Callable
from typing import Any

from services.console.refusals import CODES, METAS, NOUNS, REFUSALS, REST

Translate = Callable[[str], str]

#: Messages by code name; the catalogs translate them.
STATES = {
    "planned": "planned",
    "queued": "waiting",
    "sending": "being sent",
    "sent": "sent",
    "no_address": "no address",
    "failed": "failed",
    "unclear": "unclear",
    "blocked": "blocked",
    "withdrawn": "withdrawn",
}
#: How a state looks: red is only for what needs a person.
COLOURS = {
    "planned": "azure",
    "queued": "blue",
    "sending": "blue",
    "sent": "green",
    "no_address": "secondary",
    "failed": "red",
    "unclear": "red",
    "blocked": "dark",
    "withdrawn": "secondary",
}
OTHERS = {
    "contact_job": "contact-care job",
    "manual": "manual letter",
    "scheduled_rejection": "scheduled rejection",
    "invitation": "invitation",
    "interim_notice": "interim notice",
    "rejection": "rejection",
    "contract": "contract",
    "application": "application",
    "pool": "pool candidate",
    "other": "other contact",
    "form_letter_post": "form letter by post",
    "form_letter_mail": "form letter by mail",
    "mail": "e-mail",
    "fax": "fax",
    "phone": "phone call",
    "letter": "letter by post",
    "in_person": "in person",
    "note": "note",
    "portal": "applicant portal",
    "view": "may look",
    "operate": "may operate",
    "edit": "may edit",
    "admin": "administrator",
    "on": "On",
    "off": "Off",
    "scheduler": "scheduler",
    "evaluator": "evaluator",
    "mailer": "mailer",
    "console": "console",
    "mailbox": "mailbox",
    "public": "candidates' page",
    "candidate": "the candidate",
}


def words_of(translate: Translate) -> dict[str, Callable[[Any], str]]:
    """Filters for templates: `word` (a code name), `colour` (of a state), `reason` (a kept English text)."""

    def word(value: Any) -> str:
        text = str(value)
        return translate(STATES.get(text) or OTHERS.get(text) or text)

    def reason(value: Any) -> str:
        return "" if value is None else translated_reason(str(value), translate)

    return {"word": word, "colour": lambda value: COLOURS.get(str(value), "secondary"), "reason": reason}


def translated_reason(text: str, translate: Translate) -> str:
    """A reason or refusal in the catalog's language; as it is where nobody has translated it."""
    if (known := translate(text)) != text:
        return known
    for pattern, message in REFUSALS:
        if found := pattern.fullmatch(text):
            values = {name: _value(name, value or "", translate) for name, value in found.groupdict().items()}
            return translate(message) % values
    return text


def _value(name: str, value: str, translate: Translate) -> str:
    """What a group of a pattern holds: names of people's records stay as they are, code names get words."""
    if name == REST:
        return translated_reason(value, translate)
    if name in CODES:
        return translate(NOUNS.get(value) or STATES.get(value) or METAS.get(value) or OTHERS.get(value) or value)
    is_quoted = len(value) > 1 and value[0] in "'\"" and value[0] == value[-1]
    return value[1:-1] if is_quoted else value
