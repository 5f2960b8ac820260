"""The letter language of D43: what a letter may say, what is refused when it is saved, and emptiness (S1-S4, S31)."""

import time
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.letters import (
    LONGEST_BODY,
    PLACEHOLDERS,
    EmptyPlaceholder,
    LetterContext,
    LetterText,
    RenderedLetter,
    Sender,
    UnrenderableLetter,
    check_letter,
    compile_letter,
    letter_context,
)
from shared.errors import InvalidInput

_BIRTHDAY = LetterText(
    subject="Alles Gute zum Geburtstag, {{ applicant.first_name }}!",
    html="<p>{{ salutation_line }},</p>\n"
    "<p>das ganze Team gratuliert Ihnen herzlich zum Geburtstag.</p>\n"
    "<p>Mit freundlichen Grüßen<br>{{ sender.display_name }}</p>\n",
    text=None,
    language="de",
)
_CARE = LetterText(
    subject="Ihre Bewerbung als {{ application.vacancy }}",
    html="<p>{{ salutation_line }},</p>\n"
    "<p>Ihre Bewerbung{% if application.received_on %} vom {{ application.received_on | date }}{% endif %}"
    " ist nicht vergessen: wir sind noch im Auswahlverfahren und melden uns, sobald es Neues gibt.</p>\n"
    "<p>Mit freundlichen Grüßen<br>{{ sender.display_name }}</p>\n",
    text=None,
    language="de",
)
_ERIKA = {
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
_SENDER = Sender("Anna Weber", "a.weber@firma.example")


def _context(**changes: Any) -> LetterContext:
    return letter_context({**_ERIKA, **changes}, None, _SENDER, "Firma GmbH", date(2026, 11, 23))


def _text(source: str, language: str = "de", **changes: Any) -> str:
    letter = LetterText("Betreff", None, source, language)
    check_letter("Probe", letter)
    return compile_letter(letter).render(_context(**changes)).text


def _html(source: str, **changes: Any) -> RenderedLetter:
    letter = LetterText("Betreff", source, None, "de")
    check_letter("Probe", letter)
    return compile_letter(letter).render(_context(**changes))


def _refused(source: str, part: str = "text") -> InvalidInput:
    letter = LetterText("s", source, None, "de") if part == "html" else LetterText("s", None, source, "de")
    with pytest.raises(InvalidInput) as refused:
        check_letter("Probe", letter)
    return refused.value


# What a letter says


def test_birthday_letter() -> None:
    check_letter("Geburtstag", _BIRTHDAY)
    rendered = compile_letter(_BIRTHDAY).render(_context())
    assert rendered.subject == "Alles Gute zum Geburtstag, Erika!"
    assert rendered.html is not None
    assert rendered.html.startswith("<p>Sehr geehrte Frau Dr. Muster,</p>\n<p>das ganze Team")
    assert rendered.text == (
        "Sehr geehrte Frau Dr. Muster,\n\n"
        "das ganze Team gratuliert Ihnen herzlich zum Geburtstag.\n\n"
        "Mit freundlichen Grüßen\nAnna Weber"
    )


def test_contact_care_letter_with_and_without_the_date_of_receipt() -> None:
    compiled = compile_letter(_CARE)
    assert "Ihre Bewerbung vom 03.11.2026 ist nicht" in compiled.render(_context()).text
    without = compiled.render(_context(received_on=None))
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
    assert _text(source) == expected


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
    assert _text(f"{{{{ application.received_on | date('{form}') }}}}", language) == expected


def test_salutation_speaks_the_letters_language_and_is_never_empty() -> None:
    assert _text("{{ salutation_line }}", "en") == "Dear Dr Muster"
    nobody = {"salutation": None, "title": None, "first_name": None, "last_name": None}
    assert _text("{{ salutation_line }}", **nobody) == "Sehr geehrte Damen und Herren"


def test_every_documented_placeholder_renders_with_its_example() -> None:
    for placeholder in PLACEHOLDERS:
        check_letter("Probe", LetterText("s", None, f"{{{{ {placeholder.name} }}}}", "de"))
        assert placeholder.meaning_en
        assert placeholder.meaning_de


def test_subject_is_one_trimmed_line() -> None:
    letter = LetterText(" An\n {{ application.vacancy }} \t", None, "x", "de")
    assert compile_letter(letter).render(_context(vacancy="A\r\nBcc: x\u2028y\x00")).subject == "An A Bcc: x y"


# What is empty


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_an_unknown_value_fails_the_letter_by_name(empty: str | None) -> None:
    compiled = compile_letter(LetterText("s", None, "Hallo {{ applicant.first_name }}", "de"))
    with pytest.raises(EmptyPlaceholder) as failed:
        compiled.render(_context(first_name=empty))
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
        compile_letter(letter).render(_context(received_on=None))


def test_a_custom_value_that_is_no_date_fails_the_letter() -> None:
    compiled = compile_letter(LetterText("s", None, "{{ application.custom.skills | date }}", "de"))
    with pytest.raises(UnrenderableLetter, match="'Python' is not a date"):
        compiled.render(_context())


def test_what_is_filled_in_is_bounded() -> None:
    one = compile_letter(LetterText("s", None, "{{ applicant.city }}", "de"))
    many = compile_letter(LetterText("s", None, "{{ applicant.city }}" * 150, "de"))
    subject = compile_letter(LetterText("{{ applicant.city }}", None, "x", "de"))
    for compiled, length in ((one, 10_001), (many, 10_000), (subject, 1_000)):
        with pytest.raises(UnrenderableLetter, match="longer than"):
            compiled.render(_context(city="x" * length))
    assert LONGEST_BODY < 150 * 10_000


def test_a_subject_that_renders_to_nothing_fails_the_letter() -> None:
    compiled = compile_letter(LetterText("{% if applicant.phone %}x{% endif %}", None, "x", "de"))
    with pytest.raises(UnrenderableLetter, match="subject is empty"):
        compiled.render(_context())


# What is refused


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "x\n{{ applicant.firstname }}",
            "letter 'Probe', text, line 2: 'applicant.firstname': "
            "unknown placeholder applicant.firstname; did you mean applicant.first_name?",
        ),
        (
            "{{ today | dat }}",
            "letter 'Probe', text, line 1: 'dat': unknown filter dat; did you mean date?",
        ),
        (
            "{{ qqqqqq }}",
            "letter 'Probe', text, line 1: 'qqqqqq': "
            "unknown placeholder qqqqqq; see `kontaktpflege letter placeholders`",
        ),
        (
            "x\n\n{% if today %}",
            "letter 'Probe', text, line 3: '{% if today %}': Unexpected end of template. Jinja was looking for the "
            "following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'.",
        ),
    ],
)
def test_refusal_names_place_value_and_fix(source: str, message: str) -> None:
    assert str(_refused(source)) == message


_HOSTILE = [
    # the ways out of a sandbox
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ applicant.__class__ }}",
    "{{ applicant.first_name.__class__ }}",
    "{{ applicant.first_name.format }}",
    "{{ applicant['__class__'] }}",
    "{{ applicant['first_name'] }}",
    "{{ application.custom.__class__ }}",
    "{{ application.custom['__class__'] }}",
    "{{ application.custom.x.y }}",
    "{{ application.custom.x.__class__ }}",
    "{{ application.custom['x'].__class__ }}",
    "{{ application.custom[applicant.first_name] }}",
    "{{ application.custom[0] }}",
    "{{ application.custom }}",
    "{{ application.custom[''] }}",
    "{{ application.items() }}",
    "{{ applicant }}",
    "{{ ''|attr('__class__') }}",
    "{{ applicant|attr('first_name') }}",
    "{{ '%s' | format(applicant) }}",
    "{{ '{0.__class__}'.format(today) }}",
    "{{ 'a'.join(['b']) }}",
    "{{ [1,2]|map('upper')|list }}",
    "{{ [today]|map(attribute='__class__') }}",
    "{{ x|xmlattr }}",
    "{{ today|safe }}",
    "{{ today|tojson }}",
    "{{ today|pprint }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ joiner() }}",
    "{{ namespace(a=1) }}",
    "{{ range(1000000000) }}",
    "{{ dict(a=1) }}",
    "{{ config }}",
    "{{ request.application }}",
    "{{ caller() }}",
    "{{ super() }}",
    "{{ loop.index }}",
    "{{ varargs }}",
    # files and other templates
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'x' import y %}",
    "{% extends 'base' %}",
    "{% block a %}x{% endblock %}",
    "{% macro a() %}x{% endmacro %}",
    "{% call a() %}x{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% set a = 1 %}",
    "{% set a %}x{% endset %}",
    "{% with a = 1 %}x{% endwith %}",
    "{% autoescape false %}{{ today }}{% endautoescape %}",
    "{% do today %}",
    "{% debug %}",
    "{% trans %}x{% endtrans %}",
    # endless work
    "{% for a in range(10**9) %}x{% endfor %}",
    "{% for a in application.custom %}x{% endfor %}",
    "{% for a in ['x', 'y'] recursive %}{{ loop(['x']) }}{% endfor %}",
    "{% for a in 'abc' %}{% for b in 'abc' %}x{% endfor %}{% endfor %}",
    "{{ 'x' * 1000000000 }}",
    "{{ 2 ** (2 ** 30) }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'x' | center(2000000000) }}",
    "{{ 'x' | indent(2000000000) }}",
    "{{ ('x' | upper) * 99999 }}",
    "{{ 'x' ~ 'y' }}",
    "{{ 'x' + 'y' }}",
    "{{ -today }}",
    "{{ 1 // 0 }}",
    "{{ 'abc' | wordwrap(1) }}",
    "{{ 'abc' | replace('', 'x') }}",
    # values that are no text
    "{{ none }}",
    "{{ true }}",
    "{{ 1.5 }}",
    "{{ [today] }}",
    "{{ {'a': today} }}",
    "{{ (today, today) }}",
    "{{ today == today }}",
    "{{ today and today }}",
    "{{ not today }}",
    "{{ 'a' if today else 'b' }}",
    "{{ today is defined }}",
    "{% if today is defined %}x{% endif %}",
    "{% if today is string %}x{% endif %}",
    "{{ applicant.first_name[0] }}",
    "{{ applicant.first_name[:3] }}",
    "{{ applicant.first_name() }}",
    # filters with what they do not take
    "{{ today | date('%d' * 99) }}",
    "{{ today | date('%Y') }}",
    "{{ today | date(form='long') }}",
    "{{ today | date(*[1]) }}",
    "{{ today | date(**{}) }}",
    "{{ applicant.first_name | date }}",
    "{{ '2026-01-01' | date }}",
    "{{ today | upper('x') }}",
    "{{ today | default }}",
    "{{ today | default(none) }}",
    "{{ today | default([1]) }}",
    "{{ today | default('a', 'b') }}",
    "{{ today | default('a', true, 3) }}",
    "{{ today | default(lipsum()) }}",
    # comparisons that could only surprise
    "{% if applicant.first_name < 'b' %}x{% endif %}",
    "{% if today < 'gestern' %}x{% endif %}",
    "{% if today < 20260101 %}x{% endif %}",
    "{% if today == applicant.first_name %}x{% endif %}",
    "{% if '2026-01-01' < today < '2026-02-02' %}x{% endif %}",
    "{% if today in ['gestern'] %}x{% endif %}",
    "{% if '2026' in today %}x{% endif %}",
    "{% if applicant.city in 'Hamburg' %}x{% endif %}",
    "{% if applicant.city in applicant.street %}x{% endif %}",
    "{% if applicant.city in [] %}x{% endif %}",
    "{% if applicant.city in [applicant.street] %}x{% endif %}",
    "{% if applicant.city in ['a'] * 3 %}x{% endif %}",
    "{% if applicant.city == none %}x{% endif %}",
    # broken or odd syntax
    "{{ today",
    "{{ }}",
    "{% %}",
    "{% if %}x{% endif %}",
    "{% if today %}x",
    "{% endif %}",
    "{# open",
    "{{ 'open }}",
    "{{ today | }}",
    "{{ today;today }}",
    "{{ import os }}",
    '{{ "\\x00" }}',
    "{{ '\\ud800' }}",
    "nul \x00",
    "surrogate \ud800",
]


@pytest.mark.parametrize("source", _HOSTILE)
@pytest.mark.parametrize("part", ["html", "text"])
def test_everything_outside_the_language_is_refused(source: str, part: str) -> None:
    refused = _refused(source, part)
    assert refused.place.startswith(f"letter 'Probe', {part}")
    assert refused.fix


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
        "{{ " + "9" * 100_000 + " }}",
        "{{ " + "not " * 50_000 + "today }}",
        "{{ today" + ".x" * 50_000 + " }}",
        "{{ application.custom" + "['x']" * 30_000 + " }}",
        "{{ today" + "|upper" * 30_000 + " }}",
        "{{ 'x'" + "|default('x')" * 20_000 + " }}",
        "{% if today" + " and today" * 20_000 + " %}x{% endif %}",
        "{% if applicant.city in [" + "'x'," * 50_000 + "] %}x{% endif %}",
        "{% if today %}" * 22 + "{% endif %}" * 22,
        "{% if today %}" * 5_000 + "{% endif %}" * 5_000,
        "{% if today %}{% endif %}" * 201,
        "{% if today %}" + "{% elif today %}" * 5_000 + "{% endif %}",
        "{{ today }}" * 501,
        "{{" * 100_000,
        "{%" * 100_000,
        "{#" * 100_000,
        "{% raw %}" * 30_000,
        "x" * 300_001,
    ],
    ids=lambda source: source[:24],
)
def test_no_letter_takes_long_to_be_refused(source: str) -> None:
    started = time.process_time()
    _refused(source)
    _refused(source, "html")
    assert time.process_time() - started < 10


def test_the_largest_letter_that_is_allowed_works() -> None:
    nested = "{% if today %}" * 20 + "{{ today }}" + "{% endif %}" * 20
    chain = "{% if applicant.city == 'x' %}a" + "{% elif applicant.phone %}b" * 150 + "{% else %}c{% endif %}"
    assert _text(nested + chain + "{{ today | trim }}" * 400) == "23.11.2026" + "c" + "23.11.2026" * 400


@pytest.mark.parametrize(
    ("letter", "place"),
    [
        (LetterText("", None, "x", "de"), "letter 'Probe', subject"),
        (LetterText(" \n", "x", None, "de"), "letter 'Probe', subject"),
        (LetterText("s", None, None, "de"), "letter 'Probe'"),
        (LetterText("s", " ", "", "de"), "letter 'Probe'"),
        (LetterText("s", None, "x", "fr"), "letter 'Probe', language"),
        (LetterText("{{ x.y }}", None, "x", "de"), "letter 'Probe', subject, line 1"),
        (LetterText("s" * 901, None, "x", "de"), "letter 'Probe'"),
    ],
)
def test_a_letter_that_lacks_something_is_refused(letter: LetterText, place: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_letter("Probe", letter)
    assert refused.value.place == place


def test_loading_checks_like_saving() -> None:
    with pytest.raises(InvalidInput, match="unknown placeholder"):
        compile_letter(LetterText("s", None, "{{ applicant.firstname }}", "de"))


# HTML


def test_values_are_escaped_in_html_and_plain_in_text_and_subject() -> None:
    source = "{{ applicant.last_name }} {{ applicant.phone | default('<b>') }}"
    letter = LetterText(source, f'<p title="{source}">x</p>', source, "de")
    rendered = compile_letter(letter).render(_context(last_name="\"><script>alert('x')</script>{{ 7 }}"))
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
def test_no_value_adds_an_element_or_an_attribute(value: str) -> None:
    try:
        rendered = compile_letter(LetterText("s", _GUARDED, None, "de")).render(_context(city=value))
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
def test_placeholders_that_escaping_cannot_guard_are_refused(source: str) -> None:
    assert _refused(source, "html").place.startswith("letter 'Probe', html, line 1")


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
    rendered = _html(
        "<h1>Hallo</h1><ul>{% if applicant.city %}<li>eins</li>{% endif %}<li>zwei &amp; drei</li></ul>"
        '<p>Mehr <a href="https://firma.example/{{ application.external_id }}">hier</a></p>'
    )
    assert rendered.text == "Hallo\n\n  * zwei & drei\n\nMehr [hier](https://firma.example/B-1)"


def test_given_text_is_kept() -> None:
    rendered = compile_letter(LetterText("s", "<p>h</p>", "t {{ today }}\n", "de")).render(_context())
    assert rendered.text == "t 23.11.2026\n"
    assert rendered.html == "<p>h</p>"


def test_without_html_there_is_only_text() -> None:
    assert compile_letter(LetterText("s", None, "t", "de")).render(_context()) == RenderedLetter("s", None, "t")


# Style rules


def test_style_rules_move_into_the_elements_and_tags_of_the_language_stay() -> None:
    rendered = _html(
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
    rendered = _html(
        "<html><head><title>{{ today }}</title><style>p { color: red } @media print { p { color: black } }</style>"
        "</head><body><p>{{ today }}</p></body></html>"
    )
    assert rendered.html is not None
    assert "<title>23.11.2026</title>" in rendered.html
    assert "@media print" in rendered.html
    assert '<body><p style="color: red;">23.11.2026</p></body>' in rendered.html


def test_html_without_style_rules_is_left_as_written() -> None:
    source = '<P CLASS=a>x</p><table><tr><td  style="color:red">y</table>\n'
    assert _html(source).html == source


def test_style_rules_are_not_fetched_from_elsewhere(tmp_path: Any) -> None:
    sheet = tmp_path / "secret.css"
    sheet.write_text("p { color: green }")
    rendered = _html(f'<link rel="stylesheet" href="file://{sheet}"><style>b {{ top: 0 }}</style><p>x</p>')
    assert rendered.html is not None
    assert "green" not in rendered.html


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
    assert _refused(source, "html").place.startswith("letter 'Probe', html")
