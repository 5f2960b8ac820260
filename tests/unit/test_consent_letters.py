"""Consent letters and their jobs: what a job's `consent` may say, and which links its letter needs."""

from collections.abc import Callable
from datetime import date
from functools import partial

import pytest

from shared.domain.consent import CONSENT_LINKS, Consent
from shared.domain.consent_letters import check_links
from shared.domain.job_fields import read_job_fields
from shared.domain.letter_writing import LetterForms, Occasion, compile_forms, write_letter
from shared.domain.letters import EmptyPlaceholder, LetterText
from shared.domain.link_tokens import LinkTokens
from shared.errors import InvalidInput
from shared.public_links import PublicLinks

BOTH = "{{ links.stay }} {{ links.delete }}"
HTML = '<a href="{{ links.stay }}">ja</a> <a href="{{ links.delete }}">nein</a>'
LINKS = PublicLinks("https://firma.example/pflege", LinkTokens(["secret-of-links-" * 3]))


def forms(*texts: LetterText) -> LetterForms:
    return compile_forms(texts, composed=False)


def letter(html: str | None, text: str | None, language: str = "de", subject: str = "Frage") -> LetterText:
    return LetterText(subject, html, text, language)


@pytest.mark.parametrize("given", [{"answer_days": 30, "status": "Absage"}, "answer_days=30 status=Absage",
                                   "answer_days: 30, status: Absage"])  # fmt: skip
def test_consent_is_read_from_a_file_and_from_a_command_line(given: object) -> None:
    assert read_job_fields("job", {"consent": given})["consent"] == Consent(30, "Absage")


def test_what_is_shown_of_consent_is_read_back() -> None:
    consent = Consent(14, "Absage nach Frist")
    assert read_job_fields("job", {"consent": str(consent)})["consent"] == consent
    assert read_job_fields("job", {"consent": ""})["consent"] is None


@pytest.mark.parametrize(
    ("given", "place", "says"),
    [
        ("30", "job, consent", "answer_days: 30, status: NAME"),
        ({"answer_days": 30}, "job, consent", "answer_days: 30, status: NAME"),
        ({"answer_days": 6, "status": "Absage"}, "job, consent, answer_days", "from 7 to 365"),
        ({"answer_days": 366, "status": "Absage"}, "job, consent, answer_days", "from 7 to 365"),
        ({"answer_days": True, "status": "Absage"}, "job, consent, answer_days", "from 7 to 365"),
        ({"answer_days": 30, "status": ""}, "job, consent, status", "not empty"),
        ({"answer_days": 30, "status": "Absage", "silence": "keep"}, "job, consent", "answer_days"),
    ],
)
def test_other_consent_is_refused_with_place_value_and_fix(given: object, place: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        read_job_fields("job", {"consent": given})
    assert refused.value.place == place


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (letter(None, "{{ links.stay }}"), r"links.delete .* into its text \(de\)"),
        (letter(HTML, "Guten Tag"), r"links.stay .* into its text \(de\)"),
        (letter("<p>Hallo</p>", BOTH), r"links.stay .* into its html \(de\)"),
        (letter(None, "Hallo", subject="links.stay {{ links.delete }}"), r"links.stay .* into its text"),
    ],
)
def test_a_consent_letter_without_a_link_in_one_of_its_parts_is_refused(text: LetterText, missing: str) -> None:
    with pytest.raises(InvalidInput, match=missing):
        check_links("job 'Frage'", "Brief", forms(text), asks_consent=True)


def test_each_language_needs_its_links() -> None:
    german, english = letter(HTML, BOTH), letter(None, "{{ links.stay }}", "en")
    check_links("job", "Brief", forms(german), asks_consent=True)
    with pytest.raises(InvalidInput, match=r"links.delete .* \(en\)"):
        check_links("job", "Brief", forms(german, english), asks_consent=True)


@pytest.mark.parametrize("where", ["html", "text", "subject"])
def test_a_letter_with_links_that_lead_nowhere_is_refused(where: str) -> None:
    parts = {"html": None, "text": "Hallo", "subject": "Frage"} | {where: HTML if where == "html" else BOTH}
    with pytest.raises(InvalidInput, match=r"take .* out, or give the job `consent`"):
        check_links("job", "Brief", forms(LetterText(**parts, language="de")), asks_consent=False)
    check_links("job", "Brief", forms(letter("<p>Hallo</p>", "Hallo")), asks_consent=False)


def occasion(link: Callable[[str], str] | None = None) -> Occasion:
    return Occasion((None,), {}, "HR <hr@firma.example>", None, date(2026, 11, 23), link)


APPLICATION = dict.fromkeys(("recruiter", "recruiter_folded", "language"))


def test_the_links_are_those_of_the_order_and_the_same_each_time() -> None:
    compiled = forms(letter(HTML, BOTH))
    one, again, other = (
        write_letter(compiled, APPLICATION, occasion(partial(LINKS.consent, order)))[0] for order in (1, 1, 2)
    )
    assert one == again != other
    stay, delete = one.text.split()
    assert stay.startswith("https://firma.example/pflege/consent/stay/") and len(stay) < 100
    assert delete.startswith("https://firma.example/pflege/consent/delete/")
    assert f'href="{stay}"' in str(one.html) and f'href="{delete}"' in str(one.html)


def test_no_link_is_signed_that_the_letter_does_not_name() -> None:
    made = []

    def link(path: str) -> str:
        made.append(path)
        return "https://x.example"

    write_letter(forms(letter(None, "Hallo")), APPLICATION, occasion(link))
    assert made == []
    write_letter(forms(letter(HTML, BOTH)), APPLICATION, occasion(link))
    assert sorted(made) == sorted(CONSENT_LINKS)


def test_without_links_the_letter_is_not_written() -> None:
    with pytest.raises(EmptyPlaceholder, match=r"placeholder links\.stay is empty"):
        write_letter(forms(letter(None, BOTH)), APPLICATION, occasion())
