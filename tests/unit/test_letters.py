"""The letter language of D43: what a letter may say, what is refused when it is saved, and emptiness (S1-S4, S31)."""

import socket
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.letters import (
    LONGEST_BODY,
    PLACEHOLDERS,
    EmptyPlaceholder,
    LetterText,
    RenderedLetter,
    UnrenderableLetter,
    check_letter,
    compile_letter,
)
from tests.unit.letters import BIRTHDAY, CARE, context, html, refused, text

# What a letter says


def test_birthday_letter() -> None:
    check_letter("Geburtstag", BIRTHDAY)
    rendered = compile_letter(BIRTHDAY).render(context())
    assert rendered.subject == "Alles Gute zum Geburtstag, Erika!"
    assert rendered.html is not None
    assert rendered.html.startswith("<p>Sehr geehrte Frau Dr. Muster,</p>\n<p>das ganze Team")
    assert rendered.text == (
        "Sehr geehrte Frau Dr. Muster,\n\n"
        "das ganze Team gratuliert Ihnen herzlich zum Geburtstag.\n\n"
        "Mit freundlichen Grüßen\nAnna Weber"
    )


def test_contact_care_letter_with_and_without_the_date_of_receipt() -> None:
    compiled = compile_letter(CARE)
    assert "Ihre Bewerbung vom 03.11.2026 ist nicht" in compiled.render(context()).text
    without = compiled.render(context(received_on=None))
    assert "Ihre Bewerbung ist nicht vergessen" in without.text
    assert without.subject == "Ihre Bewerbung als Ärztin/Arzt"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ application.received_on | date }}", "03.11.2026"),
        ("{{ application.received_on }}", "03.11.2026"),
        ('{{ application.received_on | date("long") }}', "3. November 2026"),
        ("{{ today }}", "23.11.2026"),
        ("{{ applicant.full_name | upper }}", "ERIKA MUSTER"),
        ("{{ application.custom.skills }}", "Python"),
        ('{{ application.custom["Start am"] | date }}', "01.12.2026"),
        ("{{ company.name | lower }}", "firma gmbh"),
        ('{{ "hans-peter o\'neill" | title }}', "Hans-Peter O'neill"),
        ('{{ " a b " | trim | capitalize }}', "A b"),
        ("{{ applicant.phone | default('unbekannt') }}", "unbekannt"),
        ("{{ applicant.phone | default('unbekannt', true) }}", "unbekannt"),
        ("{{ applicant.phone | trim | upper | default(applicant.last_name) }}", "Muster"),
        ("{{ application.pool_since | date | default('nie') }}", "nie"),
        ("{{ applicant.first_name | default('x') }}", "Erika"),
        ("{% if applicant.phone %}a{% elif applicant.title %}b{% else %}c{% endif %}", "b"),
        ("{% if not applicant.phone and applicant.title %}ja{% endif %}", "ja"),
        ('{% if application.location in ["Hamburg", "Berlin"] %}Nord{% endif %}', "Nord"),
        ('{% if applicant.city not in ("Hamburg",) %}fern{% endif %}', "fern"),
        ('{% if "Arzt" in application.vacancy %}ja{% endif %}', "ja"),
        ('x{% if "Arzt" in applicant.city %}ja{% endif %}', "x"),
        ('{% if applicant.city == "" and applicant.city != "Rom" %}leer{% endif %}', "leer"),
        (
            '{% if application.received_on < "2026-11-04" and application.received_on >= "2026-11-03" %}ja{% endif %}',
            "ja",
        ),
        ('{% if application.received_on == "2026-11-03" and today > application.received_on %}ja{% endif %}', "ja"),
        ('x{% if application.pool_since < "2030-01-01" or today <= application.pool_since %}ja{% endif %}', "x"),
        ("{{ 3 }}{# unseen #}{% raw %} {{ kept }} {% endraw %}", "3 {{ kept }} "),
    ],
)
def test_the_language(source: str, expected: str) -> None:
    assert text(source) == expected


@pytest.mark.parametrize(
    ("language", "form", "expected"),
    [
        ("de", "short", "03.11.2026"),
        ("en", "short", "3 November 2026"),
        ("en", "long", "3 November 2026"),
        ("de-AT", "long", "3. November 2026"),
    ],
)
def test_dates_speak_the_letters_language(language: str, form: str, expected: str) -> None:
    assert text(f"{{{{ application.received_on | date('{form}') }}}}", language) == expected


def test_salutation_speaks_the_letters_language_and_is_never_empty() -> None:
    assert text("{{ salutation_line }}", "en") == "Dear Dr Muster"
    nobody = {"salutation": None, "title": None, "first_name": None, "last_name": None}
    assert text("{{ salutation_line }}", **nobody) == "Sehr geehrte Damen und Herren"


def test_every_documented_placeholder_renders_with_its_example() -> None:
    for placeholder in PLACEHOLDERS:
        check_letter("Probe", LetterText("s", None, f"{{{{ {placeholder.name} }}}}", "de"))
        assert placeholder.meaning_en
        assert placeholder.meaning_de


def test_subject_is_one_trimmed_line() -> None:
    letter = LetterText(" An\n {{ application.vacancy }} \t", None, "x", "de")
    assert compile_letter(letter).render(context(vacancy="A\r\nBcc: x\u2028y\x00")).subject == "An A Bcc: x y"


# What is empty


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_an_unknown_value_fails_the_letter_by_name(empty: str | None) -> None:
    compiled = compile_letter(LetterText("s", None, "Hallo {{ applicant.first_name }}", "de"))
    with pytest.raises(EmptyPlaceholder) as failed:
        compiled.render(context(first_name=empty))
    assert str(failed.value) == "placeholder applicant.first_name is empty"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{{ application.received_on | date }}", "application.received_on"),
        ("{{ application.received_on | upper }}", "application.received_on"),
        ("{{ application.custom.colour }}", "application.custom.colour"),
        ("{{ recruiter.display_name }}", "recruiter.display_name"),
        ("{{ applicant.phone | default(applicant.street) }}", "applicant.street"),
    ],
)
@pytest.mark.parametrize("part", ["subject", "html", "text"])
def test_an_unknown_value_fails_every_part(source: str, name: str, part: str) -> None:
    letter = LetterText(**{"subject": "s", "html": "h", "text": "t", "language": "de", part: source})
    with pytest.raises(EmptyPlaceholder, match=f"^placeholder {name} is empty$"):
        compile_letter(letter).render(context(received_on=None))


def test_a_custom_value_that_is_no_date_fails_the_letter() -> None:
    compiled = compile_letter(LetterText("s", None, "{{ application.custom.skills | date }}", "de"))
    with pytest.raises(UnrenderableLetter, match="'Python' is not a date"):
        compiled.render(context())


def test_what_is_filled_in_is_bounded() -> None:
    one = compile_letter(LetterText("s", None, "{{ applicant.city }}", "de"))
    many = compile_letter(LetterText("s", None, "{{ applicant.city }}" * 150, "de"))
    subject = compile_letter(LetterText("{{ applicant.city }}", None, "x", "de"))
    for compiled, length in ((one, 10_001), (many, 10_000), (subject, 1_000)):
        with pytest.raises(UnrenderableLetter, match="longer than"):
            compiled.render(context(city="x" * length))
    assert LONGEST_BODY < 150 * 10_000


def test_a_subject_that_renders_to_nothing_fails_the_letter() -> None:
    compiled = compile_letter(LetterText("{% if applicant.phone %}x{% endif %}", None, "x", "de"))
    with pytest.raises(UnrenderableLetter, match="subject is empty"):
        compiled.render(context())


# HTML


def test_values_are_escaped_in_html_and_plain_in_text_and_subject() -> None:
    source = "{{ applicant.last_name }} {{ applicant.phone | default('<b>') }}"
    letter = LetterText(source, f'<p title="{source}">x</p>', source, "de")
    rendered = compile_letter(letter).render(context(last_name="\"><script>alert('x')</script>{{ 7 }}"))
    assert rendered.html == (
        '<p title="&#34;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;{{ 7 }} &lt;b&gt;">x</p>'
    )
    assert rendered.text == rendered.subject == "\"><script>alert('x')</script>{{ 7 }} <b>"


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[str]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [name for name, _ in attrs]))


_GUARDED = (
    "<title>{{ applicant.city }}</title><a href=\"{{ applicant.city }}\" title='{{ applicant.city }}'>"
    "{{ applicant.city }}</a><!-- {{ applicant.city }} -->"
)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text("<>\"'&/!-=ab \n\0\x85\ud800", max_size=60))
def test_s4_no_value_adds_an_element_or_an_attribute(value: str) -> None:
    try:
        rendered = compile_letter(LetterText("s", _GUARDED, None, "de")).render(context(city=value))
    except EmptyPlaceholder:
        return
    assert rendered.html is not None
    assert _Tags(rendered.html).seen == [("title", []), ("a", ["href", "title"])]
    assert rendered.text.encode()


@pytest.mark.parametrize(
    "source",
    [
        "<a href={{ applicant.city }}>x</a>",
        "<a {{ applicant.city }}>x</a>",
        "<{{ applicant.city }}>",
        "</{{ applicant.city }}>",
        "<script>var a = '{{ applicant.city }}'</script>",
        "<SCRIPT type='x'>{{ applicant.city }}</SCRIPT >",
        "<style>p { color: {{ applicant.city }} }</style>",
        '<a href="{% if today %}x"{% else %}y"{% endif %}>{{ applicant.city }}</a>',
        "<p {% if today %}>{% endif %}",
        "{% if today %}<!--{% endif %} {{ applicant.city }}",
    ],
)
def test_s4_placeholders_that_escaping_cannot_guard_are_refused(source: str) -> None:
    assert refused(source, "html").place.startswith("letter 'Probe', html, line 1")


@pytest.mark.parametrize(
    "source",
    [
        '<p {% if today %}class="a"{% endif %}>x</p>',
        '<a href="https://x.example/?a={{ applicant.city | default("x") }}">x</a>',
        "<p title = '{{ today }}'>x</p>",
        "<textarea>{{ today }}</textarea>",
        "<script>var a = 1 < 2</script>{{ today }}",
        "1 < 2 {{ today }}",
    ],
)
def test_other_places_in_html_are_fine(source: str) -> None:
    check_letter("Probe", LetterText("s", source, None, "de"))


def test_text_part_is_made_from_the_html() -> None:
    rendered = html(
        "<h1>Hallo</h1><ul>{% if applicant.city %}<li>eins</li>{% endif %}<li>zwei &amp; drei</li></ul>"
        '<p>Mehr <a href="https://firma.example/{{ application.external_id }}">hier</a></p>'
    )
    assert rendered.text == "Hallo\n\n  * zwei & drei\n\nMehr [hier](https://firma.example/B-1)"


def test_given_text_is_kept() -> None:
    rendered = compile_letter(LetterText("s", "<p>h</p>", "t {{ today }}\n", "de")).render(context())
    assert rendered.text == "t 23.11.2026\n"
    assert rendered.html == "<p>h</p>"


def test_without_html_there_is_only_text() -> None:
    assert compile_letter(LetterText("s", None, "t", "de")).render(context()) == RenderedLetter("s", None, "t")


# Style rules


def test_style_rules_move_into_the_elements_and_tags_of_the_language_stay() -> None:
    rendered = html(
        "<style>td { color: red } a { color: blue }</style>\n"
        '<table>{% if application.location in ["Hamburg"] %}<tr><td>{{ today | date("long") }}</td></tr>{% endif %}'
        '</table><a href="https://x.example/?a={{ applicant.city | default("<x>") }}&amp;b=1">k</a>'
    )
    assert rendered.html is not None
    assert '<tr><td style="color: red;">23. November 2026</td></tr>' in rendered.html
    assert '<a href="https://x.example/?a=&lt;x&gt;&amp;b=1" style="color: blue;">k</a>' in rendered.html
    assert "<style" not in rendered.html
    assert "<body" not in rendered.html


def test_a_document_stays_one_and_keeps_its_media_rules() -> None:
    rendered = html(
        "<html><head><title>{{ today }}</title><style>p { color: red } @media print { p { color: black } }</style>"
        "</head><body><p>{{ today }}</p></body></html>"
    )
    assert rendered.html is not None
    assert "<title>23.11.2026</title>" in rendered.html
    assert "@media print" in rendered.html
    assert '<body><p style="color: red;">23.11.2026</p></body>' in rendered.html


def test_html_without_style_rules_is_left_as_written() -> None:
    source = '<P CLASS=a>x</p><table><tr><td  style="color:red">y</table>\n'
    assert html(source).html == source


def test_s31_saving_a_letter_fetches_nothing_from_files_or_other_machines(tmp_path: Any) -> None:
    sheet = tmp_path / "secret.css"
    sheet.write_text("p { color: green }")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        at = f"http://127.0.0.1:{listening.getsockname()[1]}"
        for source in (f"file://{sheet}", str(sheet), f"{at}/a.css"):
            rendered = html(
                f'<link rel="stylesheet" href="{source}"><style>@import url("{source}"); b {{ top: 0 }}</style>'
                f'<p>x<img src="{at}/a.png"><iframe src="{at}"></iframe><object data="{at}"></object></p>'
            )
            assert rendered.html is not None
            assert "green" not in rendered.html
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.parametrize(
    "source",
    [
        "<style>p { color: red }</style>{% if today %}<p>{% else %}<p class='b'>{% endif %}x</p>",
        "<style>p { color: red }</style>{% if today %}<div>{% endif %}x{% if today %}</div>{% endif %}",
        "<style>p { color: red }</style><p {% if today %}class='a'{% endif %}>x</p>",
        "<style>{% if today %}p { color: red }{% endif %}</style><p>x</p>",
        "<style>p { color: red }</style><!-- {{ today }} --><p>x</p>",
        "<style>p { color: red }</style><p>kp0pk {{ today }}</p>",
    ],
)
def test_letters_that_moving_style_rules_would_change_are_refused(source: str) -> None:
    assert refused(source, "html").place.startswith("letter 'Probe', html")


def test_a_letter_that_asks_has_its_recipients_link_and_else_none() -> None:
    asking = '{% if links.preferences %}<p><a href="{{ links.preferences }}">Weniger Post</a></p>{% endif %}<p>x</p>'
    letter = LetterText("Betreff", asking, None, "de")
    check_letter("Probe", letter)
    compiled = compile_letter(letter)
    link = "https://firma.example/p/abc234"
    with_link = compiled.render(replace(context(), link=lambda _: link))
    assert f'href="{link}"' in str(with_link.html) and link in with_link.text
    assert "Weniger Post" not in str(compiled.render(context()).html)
