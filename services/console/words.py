"""Code names as people read them: states, types, roles, media; and reasons that the database keeps in English."""

import re
from collections.abc import Callable
from typing import Any

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
    "on": "An",
    "off": "Aus",
    "scheduler": "scheduler",
    "evaluator": "evaluator",
    "mailer": "mailer",
    "console": "console",
}
#: Reasons with values in them: pattern of the English text, and the message that it becomes.
REASONS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^held: (?P<count>\d+) > (?P<bound>\d+)$"), "held: %(count)s letters, more than %(bound)s"),
    (re.compile(r"^missed by more than (?P<hours>\d+) hours$"), "missed by more than %(hours)s hours"),
    (
        re.compile(r"^user '(?P<user>.+)' has the right '(?P<right>\w+)'; this needs '(?P<needed>\w+)'$"),
        "user %(user)s has the right %(right)s; this needs %(needed)s",
    ),
    (
        re.compile(r"^must be a whole number from (?P<low>\S+) to (?P<high>\S+)$"),
        "must be a whole number from %(low)s to %(high)s",
    ),
    (re.compile(r"^must be a number from (?P<low>\S+) to (?P<high>\S+)$"), "must be a number from %(low)s to %(high)s"),
    (re.compile(r"^must be one of (?P<names>.+)$"), "must be one of %(names)s"),
    (re.compile(r"^is longer than (?P<count>\d+) characters$"), "is longer than %(count)s characters"),
    (
        re.compile(r"^is given twice in this file; the first row is in line (?P<line>\d+)$"),
        "is given twice in this file; the first row is in line %(line)s",
    ),
    (re.compile(r"^unknown column; did you mean '(?P<name>.+)'\?$"), "unknown column; did you mean %(name)s?"),
    (
        re.compile(r"^the separator is a (?P<name>\w+), it must"),
        "the separator must be a comma; save the file with commas",
    ),
    (re.compile(r"^placeholder (?P<name>\S+) is empty$"), "placeholder %(name)s is empty"),
)


def words_of(translate: Translate) -> dict[str, Callable[[Any], str]]:
    """Filters for templates: `word` (a code name), `colour` (of a state), `reason` (a kept English text)."""

    def word(value: Any) -> str:
        text = str(value)
        return translate(STATES.get(text) or OTHERS.get(text) or text)

    def reason(value: Any) -> str:
        return "" if value is None else translated_reason(str(value), translate)

    return {"word": word, "colour": lambda value: COLOURS.get(str(value), "secondary"), "reason": reason}


def translated_reason(text: str, translate: Translate) -> str:
    """A reason in the catalog's language; as it is where nobody has translated it."""
    for pattern, message in REASONS:
        if found := pattern.match(text):
            values = {name: translate(OTHERS.get(value, value)) for name, value in found.groupdict().items()}
            return translate(message) % values
    return translate(text)
