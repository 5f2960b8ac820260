"""Form letters: checked when saved, compiled once, rendered for many (D43)."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from shared.domain.letter_html import check_html, inline_styles, text_of
from shared.domain.letter_language import Part, compile_part, segments
from shared.domain.letter_layouts import Layout, in_layout
from shared.domain.letter_values import letter_value
from shared.domain.placeholders import (
    PLACEHOLDERS,
    EmptyPlaceholder,
    LetterContext,
    Placeholder,
    Sender,
    UnrenderableLetter,
    sample_value,
)
from shared.domain.salutation import salutation_line
from shared.errors import InvalidInput
from shared.records import record

__all__ = [
    "PLACEHOLDERS",
    "CompiledLetter",
    "EmptyPlaceholder",
    "LetterContext",
    "LetterText",
    "Placeholder",
    "RenderedLetter",
    "Sender",
    "UnrenderableLetter",
    "check_letter",
    "compile_letter",
    "compose_letter",
    "language_of",
]

#: Bounds of a rendered letter, in characters.
LONGEST_SUBJECT = 900
LONGEST_BODY = 1_000_000
#: Seconds of the processor that one letter may take to be written; usual ones take a thousandth of that.
MOST_SECONDS = 1.0
_BLANKS = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class LetterText:
    """A form letter as its author wrote it; `language` is 'de' or 'en', also with a region ('de-AT')."""

    subject: str
    html: str | None
    text: str | None
    language: str


@record
class RenderedLetter:
    """A letter to one applicant: subject in one line; `html` is None for a text-only mail."""

    subject: str
    html: str | None
    text: str


@dataclass(frozen=True, slots=True)
class CompiledLetter:
    """A letter that passed every check; `paths` maps each variable of its parts to a placeholder."""

    language: str
    subject: Part
    html: Part | None
    text: Part | None
    paths: Mapping[str, str]

    def render(self, context: LetterContext) -> RenderedLetter:
        """The letter with the values of `context`; raises EmptyPlaceholder or another UnrenderableLetter."""
        values = {
            name: letter_value(path, self._raw(context, path), self.language) for name, path in self.paths.items()
        }
        return self._filled(values)

    def data(self, context: LetterContext) -> dict[str, object]:
        """What it is filled with, by placeholder."""
        return {path: self._raw(context, path) for path in self.paths.values()}

    def _raw(self, context: LetterContext, path: str) -> object:
        if path != "salutation_line":
            return context.value(path)
        who = context.application.get
        return salutation_line(self.language, who("salutation"), who("title"), who("first_name"), who("last_name"))

    def _filled(self, values: Mapping[str, object]) -> RenderedLetter:
        subject = _BLANKS.sub(" ", self.subject.render(values)).strip()
        html = self.html.render(values) if self.html else None
        _bound(subject, html or "")
        text = self.text.render(values) if self.text else text_of(html or "")
        _bound(subject, text)
        return RenderedLetter(subject, html, text)


def check_letter(name: str, letter: LetterText) -> None:
    """Refuses a letter that could not be sent: raises InvalidInput naming part, line, value and the nearest valid."""
    compiled = compile_letter(letter, name)
    samples = {n: letter_value(path, sample_value(path), compiled.language) for n, path in compiled.paths.items()}
    began = time.thread_time()
    try:
        compiled._filled(samples)
    except UnrenderableLetter as exc:
        raise InvalidInput(f"letter {name!r}", letter.subject, f"does not work with sample values: {exc}") from exc
    if time.thread_time() - began > MOST_SECONDS:
        # Making text of HTML can take that long, and would for every applicant.
        raise InvalidInput(f"letter {name!r}", letter.subject, "takes too long to write; make it simpler")


def compose_letter(name: str, letter: LetterText, layout: Layout | None = None) -> LetterText:
    """What is stored to be sent: the letter in its layout, style rules moved into the elements, all checked.

    Done once, when letter or layout is saved; raises InvalidInput.
    """
    whole = letter
    if layout is not None:
        html, text = in_layout(letter.html, layout.html), in_layout(letter.text, layout.text)
        whole = replace(letter, html=html, text=text)
    check_letter(name, whole)
    place = f"letter {name!r}, html"
    return replace(whole, html=_html_source(place, whole.html, language_of(whole.language) or "de", inline=True))


def compile_letter(letter: LetterText, name: str = "", *, composed: bool = False) -> CompiledLetter:
    """The letter, checked as at saving and ready to be rendered; raises InvalidInput.

    `composed`: it comes from `compose_letter`, its style rules are in place. Costs milliseconds: callers keep the
    result per version of the letter.
    """
    place = f"letter {name!r}" if name else "letter"
    language = language_of(letter.language)
    if language is None:
        raise InvalidInput(f"{place}, language", letter.language, "must be de or en")
    html_source = _html_source(f"{place}, html", letter.html, language, inline=not composed)
    subject = compile_part(f"{place}, subject", letter.subject, language, html=False)
    html = compile_part(f"{place}, html", html_source, language, html=True) if html_source else None
    given = letter.text if letter.text and letter.text.strip() else None
    text = compile_part(f"{place}, text", given, language, html=False) if given else None
    if not letter.subject.strip():
        raise InvalidInput(f"{place}, subject", letter.subject, "must not be empty")
    if not html and not text:
        raise InvalidInput(place, None, "give html, text or both")
    paths = {name: path for part in (subject, html, text) if part for name, path in part.paths.items()}
    return CompiledLetter(language, subject, html, text, paths)


def _html_source(place: str, source: str | None, language: str, *, inline: bool) -> str | None:
    if source is None or not source.strip():
        return None
    # Checked as written, so that lines are those of the author; what the inliner makes of it is checked again.
    compile_part(place, source, language, html=True)
    pieces = list(segments(place, source))
    check_html(place, pieces)
    return inline_styles(place, pieces) if inline else source


# Asked for every letter, of a few tags.
@lru_cache(256)
def language_of(tag: str | None) -> str | None:
    """'de' or 'en' for a language tag such as 'en-GB'; None for a language that letters are not written in."""
    primary = (tag or "").strip().casefold().replace("_", "-").split("-")[0]
    return primary if primary in ("de", "en") else None


def _bound(subject: str, body: str) -> None:
    if not subject:
        raise UnrenderableLetter("the subject is empty")
    if len(subject) > LONGEST_SUBJECT:
        raise UnrenderableLetter(f"the subject is longer than {LONGEST_SUBJECT} characters")
    if len(body) > LONGEST_BODY:
        raise UnrenderableLetter(f"the letter is longer than {LONGEST_BODY} characters")
