"""Two letters, an applicant, and rendering for the tests of letters."""

from datetime import date
from typing import Any

import pytest

from shared.domain.letters import (
    LetterContext,
    LetterText,
    RenderedLetter,
    Sender,
    check_letter,
    compile_letter,
)
from shared.errors import InvalidInput

BIRTHDAY = LetterText(
    subject="Alles Gute zum Geburtstag, {{ applicant.first_name }}!",
    html="<p>{{ salutation_line }},</p>\n"
    "<p>das ganze Team gratuliert Ihnen herzlich zum Geburtstag.</p>\n"
    "<p>Mit freundlichen Grüßen<br>{{ sender.display_name }}</p>\n",
    text=None,
    language="de",
)
CARE = LetterText(
    subject="Ihre Bewerbung als {{ application.vacancy }}",
    html="<p>{{ salutation_line }},</p>\n"
    "<p>Ihre Bewerbung{% if application.received_on %} vom {{ application.received_on | date }}{% endif %}"
    " ist nicht vergessen: wir sind noch im Auswahlverfahren und melden uns, sobald es Neues gibt.</p>\n"
    "<p>Mit freundlichen Grüßen<br>{{ sender.display_name }}</p>\n",
    text=None,
    language="de",
)
ERIKA = {
    "external_id": "B-1",
    "kind": "application",
    "salutation": "Frau",
    "title": "Dr.",
    "first_name": "Erika",
    "last_name": "Muster",
    "birth_date": date(1990, 2, 28),
    "vacancy": "Ärztin/Arzt",
    "location": "Hamburg",
    "received_on": date(2026, 11, 3),
    "custom": {"Skills": "Python", "Start am": "2026-12-01"},
}
SENDER = Sender("Anna Weber", "a.weber@firma.example")


def context(**changes: Any) -> LetterContext:
    return LetterContext({**ERIKA, **changes}, None, SENDER, "Firma GmbH", date(2026, 11, 23))


def text(source: str, language: str = "de", **changes: Any) -> str:
    letter = LetterText("Betreff", None, source, language)
    check_letter("Probe", letter)
    return compile_letter(letter).render(context(**changes)).text


def html(source: str, **changes: Any) -> RenderedLetter:
    letter = LetterText("Betreff", source, None, "de")
    check_letter("Probe", letter)
    return compile_letter(letter).render(context(**changes))


def refused(source: str, part: str = "text") -> InvalidInput:
    letter = LetterText("s", source, None, "de") if part == "html" else LetterText("s", None, source, "de")
    with pytest.raises(InvalidInput) as refused:
        check_letter("Probe", letter)
    return refused.value
