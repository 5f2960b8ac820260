"""What a letter may not say is refused when it is saved, by place, value and fix (D43, S1-S4, S31)."""

import time

import pytest

from shared.domain.letters import (
    LetterText,
    check_letter,
    compile_letter,
)
from shared.errors import InvalidInput
from tests.unit.letters import refused, text


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
    assert str(refused(source)) == message


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
    answer = refused(source, part)
    assert answer.place.startswith(f"letter 'Probe', {part}")
    assert answer.fix


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
    refused(source)
    refused(source, "html")
    assert time.process_time() - started < 10


def test_the_largest_letter_that_is_allowed_works() -> None:
    nested = "{% if today %}" * 20 + "{{ today }}" + "{% endif %}" * 20
    chain = "{% if applicant.city == 'x' %}a" + "{% elif applicant.phone %}b" * 150 + "{% else %}c{% endif %}"
    assert text(nested + chain + "{{ today | trim }}" * 400) == "23.11.2026" + "c" + "23.11.2026" * 400


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
    with pytest.raises(InvalidInput) as answer:
        check_letter("Probe", letter)
    assert answer.value.place == place


def test_loading_checks_like_saving() -> None:
    with pytest.raises(InvalidInput, match="unknown placeholder"):
        compile_letter(LetterText("s", None, "{{ applicant.firstname }}", "de"))
