"""The salutation line of D43: formal where possible, neutral where the form of address is unknown, never empty."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.salutation import salutation_line


@pytest.mark.parametrize(
    ("language", "salutation", "title", "first", "last", "expected"),
    [
        ("de", "Frau", "Dr.", "Erika", "Muster", "Sehr geehrte Frau Dr. Muster"),
        ("de", "Herr", "Prof. Dr.", "Max", "Muster", "Sehr geehrter Herr Prof. Dr. Muster"),
        ("de", "Frau", "", "Erika", "Muster", "Sehr geehrte Frau Muster"),
        ("de", " herr ", None, None, "Muster", "Sehr geehrter Herr Muster"),
        ("de", "Ms", None, "Kim", "Muster", "Sehr geehrte Frau Muster"),
        ("de", "Mr.", None, "Kim", "Muster", "Sehr geehrter Herr Muster"),
        ("de", "Divers", None, "Kim", "Muster", "Guten Tag Kim Muster"),
        ("de", "Divers*", "Dr.", "Kim", "Muster", "Guten Tag Dr. Kim Muster"),
        ("de", "Mx", None, "Kim", "Muster", "Guten Tag Kim Muster"),
        ("de", None, None, "Kim", "Muster", "Guten Tag Kim Muster"),
        ("de", "Firma", None, "Kim", "Muster", "Guten Tag Kim Muster"),
        ("de", "Frau", "Dr.", "Erika", None, "Guten Tag Erika"),
        ("de", "Frau", "Dr.", " ", "", "Sehr geehrte Damen und Herren"),
        ("en", "Frau", None, "Erika", "Muster", "Dear Ms Muster"),
        ("en", "Mrs", None, "Erika", "Muster", "Dear Mrs Muster"),
        ("en", "MISS", None, "Erika", "Muster", "Dear Miss Muster"),
        ("en-GB", "Herr", None, "Max", "Muster", "Dear Mr Muster"),
        ("en", "Frau", "Dr.", "Erika", "Muster", "Dear Dr Muster"),
        ("en", "Herr", "Prof. Dr.", "Max", "Muster", "Dear Professor Muster"),
        ("en", "Herr", "Dipl.-Ing.", "Max", "Muster", "Dear Mr Muster"),
        ("en", "Divers", None, "Kim", "Muster", "Dear Kim Muster"),
        ("en", None, None, None, None, "Dear Sir or Madam"),
    ],
)
def test_salutation_line(
    language: str, salutation: str | None, title: str | None, first: str | None, last: str | None, expected: str
) -> None:
    assert salutation_line(language, salutation, title, first, last) == expected


_WORD = st.none() | st.text(max_size=12)


@given(st.sampled_from(["de", "en"]), _WORD, _WORD, _WORD, _WORD)
def test_is_one_tidy_line_that_says_more_than_its_opening(
    language: str, salutation: str | None, title: str | None, first: str | None, last: str | None
) -> None:
    line = salutation_line(language, salutation, title, first, last)
    assert line == " ".join(line.split())
    assert line.removeprefix("Dear").removeprefix("Guten Tag").strip()
