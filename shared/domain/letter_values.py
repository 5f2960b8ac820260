"""Values as a letter sees them (D43): an unknown one is falsy and cannot be written, a date speaks the language."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from shared.domain.placeholders import EmptyPlaceholder, UnrenderableLetter
from shared.domain.salutation import is_english

#: Bound of one value that is filled in, in characters.
LONGEST_VALUE = 10_000
#: Control characters and surrogates: they mean nothing in a letter and break parsers of mail and HTML.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_TITLE_WORD = re.compile(r"[^-\s({\[<]+")
_MONTHS_DE = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
]
_MONTHS_EN = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def letter_value(path: str, raw: object, language: str) -> object:
    """The value of placeholder `path` for a letter in `language`; raises UnrenderableLetter if it is too long."""
    if isinstance(raw, date):
        return Day(raw, language)
    text = "" if raw is None else str(raw)
    # What is printable has none of them, and that is told in a tenth of the time.
    if not text.isprintable():
        text = CONTROL.sub("", text)
    if len(text) > LONGEST_VALUE:
        raise UnrenderableLetter(f"placeholder {path} is longer than {LONGEST_VALUE} characters")
    return text if text.strip() else Empty(path)


class _Value:
    """What a letter compares: `key` is the ISO text of a day, None for an unknown value."""

    __slots__ = ()

    @property
    def key(self) -> str | None:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return self.key == _key(other)

    def __hash__(self) -> int:
        return hash(self.key)

    def __lt__(self, other: object) -> bool:
        # An unknown day lies neither before nor after another.
        mine, theirs = self.key, _key(other)
        return mine is not None and theirs is not None and mine < theirs

    def __gt__(self, other: object) -> bool:
        mine, theirs = self.key, _key(other)
        return mine is not None and theirs is not None and mine > theirs

    def __le__(self, other: object) -> bool:
        return self < other or (self.key is not None and self == other)

    def __ge__(self, other: object) -> bool:
        return self > other or (self.key is not None and self == other)


@dataclass(frozen=True, slots=True, eq=False)
class Empty(_Value):
    """An unknown value: false in a test, equal to the empty text, an error where it is written."""

    path: str

    @property
    def key(self) -> None:
        return None

    def __str__(self) -> str:
        raise EmptyPlaceholder(self.path)

    def __bool__(self) -> bool:
        return False

    def __contains__(self, part: object) -> bool:
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Day(_Value):
    """A date: written in the letter's language, compared as ISO text, which is how a letter gives dates."""

    day: date
    language: str

    @property
    def key(self) -> str:
        return self.day.isoformat()

    def __str__(self) -> str:
        return written(self.day, self.language)


def _key(value: object) -> str | None:
    return value.key if isinstance(value, _Value) else str(value) or None


def written(day: date, language: str, form: str = "short") -> str:
    """'23.11.2026' in German ('23. November 2026' if `form` is long), '23 November 2026' in English."""
    if is_english(language):
        return f"{day.day} {_MONTHS_EN[day.month - 1]} {day.year}"
    if form == "long":
        return f"{day.day}. {_MONTHS_DE[day.month - 1]} {day.year}"
    return f"{day.day:02}.{day.month:02}.{day.year:04}"


def filters(language: str) -> Mapping[str, Callable[..., object]]:
    """The filters of a letter in `language`; each hands an unknown value on, so that a later default still counts."""

    def dated(value: object, form: str = "short") -> str:
        return written(value.day if isinstance(value, Day) else _day(str(value)), language, form)

    def titled(value: object) -> str:
        return _TITLE_WORD.sub(lambda word: word.group().capitalize(), str(value))

    return {
        "date": _unless_empty(dated),
        "default": lambda value, given, _=True: given if isinstance(value, Empty) else value,
        "upper": _unless_empty(lambda value: str(value).upper()),
        "lower": _unless_empty(lambda value: str(value).lower()),
        "trim": _unless_empty(lambda value: str(value).strip()),
        "capitalize": _unless_empty(lambda value: str(value).capitalize()),
        "title": _unless_empty(titled),
    }


def _unless_empty(change: Callable[..., str]) -> Callable[..., object]:
    return lambda value, *arguments: value if isinstance(value, Empty) else change(value, *arguments)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise UnrenderableLetter(f"{text!r} is not a date like 2026-11-23") from None
