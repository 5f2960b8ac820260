"""What a letter may not say is refused when it is saved and when it is loaded (D43, S1-S4, S31)."""

import time
from collections.abc import Callable

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.mailer.letters import make_ready
from shared.db.letter_data import StoredLetter
from shared.domain.letter_language import compile_part
from shared.domain.letter_values import Day, Empty, letter_value
from shared.domain.letters import (
    PLACEHOLDERS,
    LetterText,
    check_letter,
    compile_letter,
)
from shared.errors import InvalidInput
from tests.hostile_letters import ATTACKS, HARMLESS, LARGE
from tests.unit.letters import context, refused, text


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


#: Seconds of the processor that refusing an attack may take, on a slow machine too; usually it is a millisecond or two.
SOON = 0.05


@pytest.mark.parametrize("part", ["html", "text", "subject"])
def test_s1_s2_s3_s31_an_attack_is_refused_in_milliseconds_when_it_is_saved(part: str) -> None:
    for source in ATTACKS:
        answer, seconds = refusal(lambda letter: check_letter("Probe", letter), source, part)
        assert answer.place.startswith(f"letter 'Probe', {part}") and answer.fix, source
        assert seconds < SOON, source


@pytest.mark.parametrize("part", ["html", "text", "subject"])
def test_s1_s2_s3_s31_an_attack_is_refused_in_milliseconds_when_it_is_loaded(part: str) -> None:
    """As the mailer loads what stands in the database, whoever wrote it there."""
    for source in ATTACKS:
        for composed in (True, False):
            answer, seconds = refusal(lambda letter, c=composed: make_ready(stored(letter, c)), source, part)
            assert answer.fix, source
            assert seconds < SOON, source


def refusal(read: Callable[[LetterText], object], source: str, part: str) -> tuple[InvalidInput, float]:
    """What is said, and the shortest of three tries: others use the processor too."""
    letter = LetterText(**{"subject": "s", "html": None, "text": "x", "language": "de", part: source})
    took = []
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(InvalidInput) as refused:
            read(letter)
        took.append(time.process_time() - began)
        if took[-1] < SOON:
            break
    return refused.value, min(took)


def stored(letter: LetterText, composed: bool) -> StoredLetter:
    return StoredLetter("Probe", (letter,), composed, ())


def test_s1_no_attack_is_listed_twice_and_there_are_many() -> None:
    assert len(set(ATTACKS)) == len(ATTACKS) > 200


@pytest.mark.parametrize("html", [True, False])
def test_s2_a_letter_reaches_plain_values_and_its_filters_and_nothing_else(html: bool) -> None:
    names = [one.name.replace("NAME", "Skills") for one in PLACEHOLDERS]
    part = compile_part("x", " ".join(f"{{{{ {name} }}}}" for name in names), "de", html)
    environment = part.template.environment
    assert isinstance(environment, ImmutableSandboxedEnvironment) and environment.undefined is StrictUndefined
    assert environment.globals == part.template.globals == environment.tests == {}
    assert set(environment.filters) == {"capitalize", "date", "default", "lower", "title", "trim", "upper"}
    assert environment.loader is None and not environment.extensions and environment.autoescape is html
    # None of them is a row, or has a method that does anything.
    values = [letter_value(name, context().value(name), "de") for name in names if name != "salutation_line"]
    assert {type(value) for value in values} <= {str, Day, Empty}


@pytest.mark.parametrize(("source", "rendered"), HARMLESS.items())
def test_s1_what_is_quoted_is_never_read_as_a_template(source: str, rendered: str) -> None:
    assert text(source) == rendered
    # Neither is what an applicant's record says.
    assert text("{{ applicant.city }}", city=source) == source


@pytest.mark.parametrize("source", LARGE, ids=lambda source: source[:24])
def test_s3_no_letter_takes_long_to_be_refused(source: str) -> None:
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
