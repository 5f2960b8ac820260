"""What is wrong with an input, in the person's language: the rules speak English, with values in their sentences."""

import re

from services.console.visits import Visit
from shared.errors import InvalidInput

#: Pattern of the rule's text, and the message that it becomes; the catalogs translate the messages.
_FIXES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), message)
    for pattern, message in (
        (r"must be a whole number between (?P<low>-?\d+) and (?P<high>\d+)", "must be a whole number"),
        (r"must be a number of months between 0 and 1200", "must be a number of months between 0 and 1200"),
        (r"must be a date like", "must be a date"),
        (r"must be a list of one or more values", "choose or type at least one value"),
        (r"must be a text that is not empty", "must not be empty"),
        (r"must not be empty$", "must not be empty"),
        (r"needs exactly one of from, to", "give at least one of the two days"),
        (r"from must not lie after to", "the first must not lie after the last"),
        (r"unknown field", "give the name of the custom field"),
        (r"no such status; did you mean '(?P<near>.*)'\?", "there is no such status; did you mean %(near)s?"),
        (r"no such status", "there is no such status"),
        (r"must be a text in one line", "must be a text in one line that is not empty"),
        (r"a query of this name exists already", "a query of this name exists already"),
        (r"a letter of this name exists already", "a form letter of this name exists already"),
        (
            r"unknown placeholder (?P<name>\S+); did you mean (?P<near>.+)\?$",
            "unknown placeholder %(name)s; did you mean %(near)s?",
        ),
        (
            r"unknown placeholder (?P<name>[^;]+);",
            "unknown placeholder %(name)s; the list beside it has those that exist",
        ),
        (
            r"unknown filter (?P<name>\S+); did you mean (?P<near>.+)\?$",
            "unknown filter %(name)s; did you mean %(near)s?",
        ),
        (r"unknown filter (?P<name>[^;]+); valid are (?P<all>.+)$", "unknown filter %(name)s; valid are %(all)s"),
        (r"only documented placeholders can be named", "only placeholders of the list can be named"),
        (r"calls are not part", "calls are not part of the letter language"),
        (r"only placeholders, texts in quotes", "only placeholders, texts in quotes and filters can be written"),
        (r"no placeholder is a list", "there is nothing to loop over: no placeholder is a list"),
        (
            r"not part of the letter language",
            "not part of the letter language; write {{ placeholder }} or {%% if ... %%}",
        ),
        (
            r"a placeholder stands in text or",
            "a placeholder stands in text or in a quoted attribute, not elsewhere in a tag",
        ),
        (r"a date is compared with a date", 'a date is compared with a date like "2026-11-23"'),
        (r"only dates have an order", "only dates have an order; compare texts with ==, != or in"),
        (r"what begins within", "what begins within {%% if %%} must end before the next {%% ... %%}"),
        (r"give html, text or both", "write the letter here, as HTML or as plain text"),
        (r"does not work with sample values: (?P<why>.*)", "does not work with sample values: %(why)s"),
        (
            r"(?i)unexpected end of template|unexpected '(?P<what>.*)'|expected token|Encountered unknown tag",
            "the braces do not fit together: check {{ }} and {%% %%}",
        ),
        (r"is not a valid e-mail address", "is not a valid e-mail address"),
    )
)


def fix_of(visit: Visit, exc: InvalidInput) -> str:
    """What to do about an invalid input; as the rule says it where nobody has translated it."""
    for pattern, message in _FIXES:
        if found := pattern.search(exc.fix):
            values = found.groupdict()
            return visit.text(message, **(values or {"": ""}))
    return visit.refusal(exc)


def doubt_of(visit: Visit, warning: str) -> str:
    """What saving advises against, in the person's language: "job 'X': ..."."""
    found = re.match(r"^job '(?P<job>.*)': (?P<text>.*)$", warning)
    if not found:
        return visit.text(warning)
    said = found["text"]
    guard = re.match(r"a repeat guard of (?P<days>\d+) days can swallow", said)
    if guard:
        text = visit.text("a repeat guard of %(days)s days can swallow the next dispatch", days=guard["days"])
    else:
        text = visit.text(said)
    return visit.text("Job %(job)s: %(text)s", job=found["job"], text=text)


def line_of(exc: InvalidInput) -> int | None:
    """The line that the input's place names."""
    found = re.search(r"line (\d+)", exc.place)
    return int(found.group(1)) if found else None
