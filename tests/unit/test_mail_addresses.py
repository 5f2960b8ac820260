"""Usable addresses are exactly those of email-validator; senders are parsed strictly (S8)."""

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.mail_addresses import ascii_domain_address, split_sender, usable_address
from shared.errors import InvalidInput
from tests.sizes import size


def _by_the_library(text: str) -> str | None:
    try:
        return validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        return None


_NAMES = (
    "a B 7 - -- _ + ' ! . .. @ info Sales WWW test TEST local invalid localhost arpa onion example com co de xn xn--"
    ' xn--mller-kva ab--c x--y é ü İ 中 ７ 。 " < > ( ) , ; \\ [127.0.0.1]'
)
_ODD = [" ", "\n", "\x00", "\u2028", "a" * 62, "b" * 64, "x." * 60, "y" * 240]
_PIECES = st.sampled_from([*_NAMES.split(" "), *_ODD])
_ALMOST_ADDRESSES = st.builds(
    lambda local, domain: f"{''.join(local)}@{'.'.join(map(''.join, domain))}",
    st.lists(_PIECES, max_size=4),
    st.lists(st.lists(_PIECES, max_size=3), max_size=4),
)
_PLAIN_ADDRESSES = st.from_regex(r"[a-zA-Z.]{1,6}@([a-zA-Z0-9-]{1,5}\.){0,2}[a-zA-Z0-9]{2,4}", fullmatch=True)


@settings(max_examples=size(200, 600), deadline=None)
@given(_ALMOST_ADDRESSES | _PLAIN_ADDRESSES | st.emails() | st.text(max_size=20))
def test_verdict_and_form_are_those_of_the_library(text: str) -> None:
    assert usable_address(text) == _by_the_library(text)


@pytest.mark.parametrize(
    ("given_text", "usable"),
    [
        ("Erika.Muster@Firma.Example", "Erika.Muster@firma.example"),
        ("INFO@firma.example", "info@firma.example"),
        ("person12@müller-12.example", "person12@müller-12.example"),
        ("x@xn--mller-kva.example", "x@müller.example"),
        ("a@b.test", "a@b.test"),
        (f"{'a' * 242}@firma.co.de", f"{'a' * 242}@firma.co.de"),
        (f"{'a' * 244}@firma.co.de", None),
        (f"a@{'b' * 64}.example", None),
        ("a@b.local", None),
        ("a@b.co1", None),
        ("max.mustermann@firma..example", None),
        ("a@b@c.example", None),
        ("a b@c.example", None),
        (" a@c.example", None),
        ("a@c.example\n", None),
        ("keine", None),
        ("", None),
        (None, None),
    ],
)
def test_s8_usable_address(given_text: str | None, usable: str | None) -> None:
    assert usable_address(given_text) == usable


def test_s9_domain_goes_out_as_a_label_and_the_local_part_stays() -> None:
    assert ascii_domain_address("x@müller.example") == "x@xn--mller-kva.example"
    assert ascii_domain_address("jörg@müller.example") == "jörg@xn--mller-kva.example"
    with pytest.raises(InvalidInput):
        ascii_domain_address("x@mü ller.example")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.example", ("", "a@b.example")),
        (" a@b.example ", ("", "a@b.example")),
        ("<a@b.example>", ("", "a@b.example")),
        ("Personalabteilung <personal@firma.example>", ("Personalabteilung", "personal@firma.example")),
        ("Firma & Co. KG <info@B.example>", ("Firma & Co. KG", "info@b.example")),
        ('"Weber, Anna \\"Anni\\"" <a@b.example>', ('Weber, Anna "Anni"', "a@b.example")),
        ("Kaya Yılmaz<k@müller.example>", ("Kaya Yılmaz", "k@müller.example")),
    ],
)
def test_sender_is_split(text: str, expected: tuple[str, str]) -> None:
    assert split_sender(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Anna Weber",
        "a@evil.example(<b@good.example>",
        "a@evil.example <b@good.example>",
        "Weber, Anna <a@b.example>",
        "a@b.example, c@d.example",
        "A <a@b.example> B <c@d.example>",
        "(comment) <a@b.example>",
        "Anna <a@b.example",
        "Anna <a b@c.example>",
        "Anna <a@b..example>",
        '"Anna <a@b.example>',
        "Group: a@b.example;",
        "Anna\r\nBcc: x@y.example <a@b.example>",
        "Anna\u2028 <a@b.example>",
        '"Anna\x00" <a@b.example>',
        '"very odd"@b.example',
    ],
)
def test_s8_what_is_not_one_plain_sender_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="sender: "):
        split_sender(text)
