"""Which rule stops a letter, in the person's language: the rules speak English, with values in their sentences."""

import re

from services.console.formats import formats_of
from services.console.visits import Visit
from services.console.words import STATES, translated_reason

_DAY = r"\d{4}-\d{2}-\d{2}"
#: Pattern of the rule's text, and the message that it becomes.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), message)
    for pattern, message in (
        (r"^job '(?P<job>.*)' is Aus$", "the job %(job)s is off"),
        (
            rf"^blocked for all jobs until (?P<day>{_DAY}) by (?P<who>.*?): (?P<why>.*)$",
            "blocked for all jobs until %(day)s by %(who)s: %(why)s",
        ),
        (r"^blocked for all jobs by (?P<who>.*?): (?P<why>.*)$", "blocked for all jobs by %(who)s: %(why)s"),
        (r"^blocked for this job by (?P<who>.*?): (?P<why>.*)$", "blocked for this job by %(who)s: %(why)s"),
        (
            rf"^repeat guard of (?P<days>\d+) days: letter of (?P<day>{_DAY}) is (?P<state>\w+)$",
            "repeat guard of %(days)s days: the letter of %(day)s is %(state)s",
        ),
        (
            rf"^cap of one letter in (?P<days>\d+) days: (?P<job>.*), (?P<day>{_DAY}), (?P<state>\w+)$",
            "at most one letter in %(days)s days: %(job)s, %(day)s, %(state)s",
        ),
        (
            rf"^wants at most one letter a year: (?P<job>.*), (?P<day>{_DAY}), (?P<state>\w+)$",
            "wants at most one letter a year: %(job)s, %(day)s, %(state)s",
        ),
        (r"^order (?P<id>\d+) of this day is (?P<state>\w+)", "the letter of this day is %(state)s already"),
        (rf"^(?P<day>{_DAY}) is no occasion of job", "%(day)s is no day of dispatch of this job"),
        (rf"^the dispatch of (?P<day>{_DAY}) is over", "the dispatch of %(day)s is over"),
        (rf"^the schedule has passed (?P<day>{_DAY})$", "the dispatch of %(day)s is over"),
        (rf"^on (?P<day>{_DAY}) of the job's time zone", "on %(day)s in the job's time zone the person is not chosen"),
    )
)


def why_reason(visit: Visit, text: str) -> str:
    """A rule's reason; as it is where nobody has translated it."""
    for pattern, message in _RULES:
        if found := pattern.match(text):
            return visit.text(message, **{key: _shown(visit, key, value) for key, value in found.groupdict().items()})
    return translated_reason(text, visit.text)


def _shown(visit: Visit, key: str, value: str) -> str:
    if key == "day":
        return formats_of(visit.language)["day"](value)
    return visit.text(STATES.get(value, value)) if key == "state" else value
