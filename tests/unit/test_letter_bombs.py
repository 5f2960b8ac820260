"""HTML that is small to write and costs too much to read is refused when a letter is saved (S3)."""

import resource
import time

import pytest

from shared.domain import letter_html
from shared.domain.letters import LetterText, compose_letter
from shared.errors import InvalidInput

_RED = "<style>p {color: red}</style>"
#: Without a process of its own each of these kills its reader, or takes gigabytes or minutes of it.
STYLED = {
    "elements nested beyond the stack": _RED + "<div>" * 50_000,
    "tables within tables": _RED + "<table><tr><td>" * 15_000,
    "drawings within drawings": _RED + "<svg>" * 50_000,
    "formatting that every paragraph opens again": _RED + "".join(f"<p><b a{number}>" for number in range(20_000)),
    "selectors by the ten thousand for thousands of elements": (
        "<style>" + ",".join("p" * 50_000) + "{color: red}</style>" + "<p>x</p>" * 20_000
    ),
    "style attributes by the thousand": (
        "<style>p{" + "".join(f"--a{n}:{'x' * 90};" for n in range(500)) + "}</style>" + "<p>x</p>" * 20_000
    ),
}


@pytest.mark.parametrize("html", STYLED.values(), ids=STYLED.keys())
def test_s3_html_that_costs_too_much_is_refused_and_this_process_goes_on(html: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidInput, match="simpler"):
        compose_letter("Probe", LetterText("s", html[:300_000], None, "de"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


def test_s3_a_large_letter_that_is_no_attack_is_taken() -> None:
    rows = "".join(
        f"<tr><td class='k'>{n}</td><td><a href='https://x.example/{n}'>{{{{ today }}}}</a></td></tr>"
        for n in range(400)
    )
    style = (
        "<style>" + "".join(f".k{n} {{color: red; margin: {n}px}} " for n in range(300)) + ".k {color: blue}</style>"
    )
    began = time.monotonic()
    made = compose_letter("Probe", LetterText("s", f"{style}<table>{rows}</table>", None, "de"))
    assert made.html is not None and made.html.count("color: blue") == 400
    assert time.monotonic() - began < 20


def test_s3_a_letter_refused_while_the_machine_was_slow_is_taken_later(monkeypatch: pytest.MonkeyPatch) -> None:
    letter = LetterText("s", f"{_RED}<p>Guten Tag</p>", None, "de")
    with monkeypatch.context() as slow:
        slow.setattr(letter_html, "_PATIENCE", 0.001)
        with pytest.raises(InvalidInput, match="simpler"):
            compose_letter("Probe", letter)
    made = compose_letter("Probe", letter)
    assert made.html is not None and "color: red" in made.html


def test_s3_html_whose_text_takes_too_long_to_make_is_refused() -> None:
    # Attributes by the ten thousand: the text part is made of it, for every applicant anew.
    html = "<p " + " ".join(f"a{number}=1" for number in range(28_000)) + ">x"
    with pytest.raises(InvalidInput, match="takes too long to write"):
        compose_letter("Probe", LetterText("s", html, None, "de"))
