"""The composed bytes against the standard library: what is parsed back is what was given, and nothing else (S5, S7)."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.mailer.compose import MailHeaders, compose, message_ids
from shared.domain.letters import RenderedLetter, Sender
from shared.domain.link_tokens import LinkTokens
from shared.errors import InvalidInput
from shared.public_links import PublicLinks

_INSTANCE = UUID("12345678-1234-5678-1234-567812345678")
LINKS = PublicLinks("https://firma.example/pflege", LinkTokens(["a secret of links, 32 characters or more"]))
_AT = datetime(2026, 11, 23, 8, 0, tzinfo=timezone(timedelta(hours=1)))


def _headers(**changes: object) -> MailHeaders:
    given_values: dict[str, object] = {
        "order_id": 17,
        "message_id": message_ids(_INSTANCE, "firma.example")(17),
        "sender": Sender("Anna Weber", "a.weber@firma.example"),
        "recipient": "erika@muster.example",
        "date": _AT,
    }
    return MailHeaders(**{**given_values, **changes})  # type: ignore[arg-type]


def _parsed(data: bytes) -> EmailMessage:
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _lines(text: str) -> str:
    """The text with the line ends of a mail body, the last one included."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else f"{text}\n"


def _content(part: object) -> str:
    assert isinstance(part, EmailMessage)
    assert not part.defects
    return str(part.get_content()).replace("\r\n", "\n")


def _in_one_line(text: str) -> str:
    """What a header can hold of a text: blanks and control characters, line ends among them, as one blank."""
    return re.sub("[\x00-\x20\x7f-\x9f\u2028\u2029]+", " ", text).strip()


_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029")
_SUBJECTS = (
    st.text(_CHARACTERS, min_size=1, max_size=300)
    .map(lambda text: " ".join(word for word in text.split(" ") if word).strip())
    .filter(bool)
)
_DISPLAY_NAMES = _SUBJECTS.map(lambda text: " ".join(text.split()))
#: One encoded-word holds them: the standard library reads two of them in a display name with a blank in between.
_SHORT_DISPLAY_NAMES = _DISPLAY_NAMES.filter(lambda text: len(text.encode()) <= 42)
_ASCII_SUBJECTS = st.lists(st.from_regex(r"[!-~]{1,70}", fullmatch=True), min_size=1, max_size=20).map(" ".join)
#: Attempts at a header, a part or a mail of one's own.
_ATTEMPTS = st.lists(
    st.sampled_from(
        ["\r\n", "\n", "\r", "\0", "\x85", "\u2028", "Bcc: x@y.example", "=?utf-8?q?=0A?=", "\r\n\r\n<b>", "ä", "😀"]
    )
    | st.text("äöüß€😀\"'\\:=?<>@,;() ab", min_size=1, max_size=30),
    min_size=1,
    max_size=12,
).map("".join)
_BODIES = st.text(st.characters(exclude_categories=["Cs"]), max_size=300) | st.text("äß=. \t\n-_@a", max_size=300)
_ADDRESSES = st.sampled_from(["a@b.example", "x'y+z@mail.firma-1.example", f"{'l' * 60}@{'d' * 60}.example"])


@settings(max_examples=2000, deadline=None)
@given(
    (_SUBJECTS | _ASCII_SUBJECTS | _ATTEMPTS).filter(_in_one_line),
    # Of one encoded-word at most: between two of them in a name the standard library's parser keeps the space.
    _SHORT_DISPLAY_NAMES | _ATTEMPTS.map(lambda text: text[:10].replace("?", "")).filter(_in_one_line),
    _BODIES | _ATTEMPTS.map(lambda text: text.replace("\x85", "").replace("\u2028", "")),
    st.none() | _BODIES,
    _ADDRESSES,
    st.integers(1, 2**63 - 1),
)
def test_parses_back_to_what_the_standard_library_builds_from_the_same_input(
    subject: str, display: str, text: str, html: str | None, address: str, order_id: int
) -> None:
    who, link = Sender(display, address), LINKS.preferences(order_id)
    headers = _headers(order_id=order_id, sender=who, recipient=address, reply_to=who, unsubscribe=link)
    data = compose(RenderedLetter(subject, html, text), headers)
    parsed = _parsed(data)

    expected = EmailMessage(policy=policy.default)
    mailbox = Address(" ".join(_in_one_line(display).split()), addr_spec=address)
    expected["From"], expected["To"], expected["Reply-To"] = mailbox, Address(addr_spec=address), mailbox
    expected["Subject"], expected["Date"], expected["Message-ID"] = _in_one_line(subject), _AT, headers.message_id
    expected["List-Unsubscribe"], expected["List-Unsubscribe-Post"] = f"<{link}>", "List-Unsubscribe=One-Click"
    expected.set_content(_lines(text))
    if html is not None:
        expected.add_alternative(_lines(html), subtype="html")

    for name in ("From", "To", "Reply-To"):
        assert parsed[name].addresses == expected[name].addresses
    # The standard library takes a text that looks like an encoded-word for one; here it stays the text that it is.
    assert parsed["Subject"] == (_in_one_line(subject) if "=?" in subject else expected["Subject"])
    for name in ("Date", "Message-ID", "MIME-Version", "List-Unsubscribe", "List-Unsubscribe-Post"):
        assert parsed.get_all(name) is not None and len(parsed.get_all(name) or ()) == 1
        assert parsed[name] == expected[name], name
    assert all(not value.defects for value in parsed.values())
    assert parsed.get_content_type() == expected.get_content_type()
    parts = list(parsed.iter_parts()) if html is not None else [parsed]
    theirs = list(expected.iter_parts()) if html is not None else [expected]
    for mine, other in zip(parts, theirs, strict=True):
        assert mine.get_content_type() == other.get_content_type()
        assert mine.get_content_charset() == other.get_content_charset() == "utf-8"
        assert _content(mine) == _content(other)
    assert not parsed.defects
    assert len(parsed.keys()) == len(set(parsed.keys())) == 12 + (html is None)


@given(_DISPLAY_NAMES.filter(lambda text: not text.isascii()))
def test_long_display_names_are_read_back_whole(display: str) -> None:
    data = compose(RenderedLetter("s", None, "t"), _headers(sender=Sender(display, "a@b.example")))
    raw = message_from_bytes(data, policy=policy.compat32)["From"]
    assert str(make_header(decode_header(raw))) == f"{display} <a@b.example>"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80), _BODIES)
def test_every_byte_keeps_the_rules_of_the_wire(subject: str, display: str, body: str) -> None:
    data = compose(
        RenderedLetter(subject, body, body),
        _headers(sender=Sender(display, "a@b.example"), unsubscribe=LINKS.preferences(1)),
    )
    assert data.endswith(b"\r\n")
    assert data.isascii()
    lines = data.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    # Quoted-printable and base64 keep 76, headers fold at 78; only a Message-ID and a link may be longer.
    assert all(len(line) <= 78 for line in lines if not line.startswith((b"Message-ID", b"List-Unsubscribe: ")))
    assert b"." not in lines


@settings(max_examples=150, deadline=None)
@given(st.text('ab\r\n\0\x0b\x1c\x85\u2028\u2029:=? <>@,"\\é', max_size=60))
def test_s5_no_text_adds_or_changes_a_header(hostile: str) -> None:
    calm = _parsed(compose(RenderedLetter("s", "h", "t"), _headers()))
    data = compose(RenderedLetter(hostile, hostile, hostile), _headers(sender=Sender(hostile, "a.weber@firma.example")))
    parsed = _parsed(data)
    assert parsed.keys() == calm.keys()
    assert [one.addr_spec for one in parsed["From"].addresses] == ["a.weber@firma.example"]
    assert [one.addr_spec for one in parsed["To"].addresses] == ["erika@muster.example"]
    assert parsed["Message-ID"] == calm["Message-ID"]


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "a@b.example\r\nBcc: c@d.example"},
        {"recipient": "a@b.example, c@d.example"},
        {"recipient": "a@b.example>"},
        {"recipient": "a b@c.example"},
        {"recipient": "a\x00@b.example"},
        {"recipient": "a\u2028@b.example"},
        {"recipient": "nobody"},
        {"recipient": ""},
        {"recipient": f"{'a' * 400}@b.example"},
        {"sender": Sender("Anna", "a@b.example\nX: y")},
        {"reply_to": Sender("", "<a@b.example>")},
        {"message_id": "<a@b.example>\r\nX: y"},
        {"message_id": "a@b.example"},
        {"date": datetime(2026, 11, 23)},
        {"extra": {"X-Note": "a\r\nBcc: c@d.example"}},
        {"extra": {"X-Note": "a\u2028b"}},
        {"extra": {"X-Note": "ü"}},
        {"extra": {"X-Note": " "}},
        {"extra": {"X-Note": "x" * 901}},
        {"extra": {"X-Note: y\r\nBcc": "c@d.example"}},
        {"extra": {"bcc": "c@d.example"}},
        {"extra": {"Subject": "again"}},
        {"extra": {"Content-Type": "text/html"}},
        {"extra": {"List-Unsubscribe": "<https://firma.example>"}},
        {"unsubscribe": "https://firma.example/\r\nX: y"},
        {"unsubscribe": "https://firma.example/>, <mailto:c@d.example"},
        {"unsubscribe": "https://firma.example/ü"},
        {"unsubscribe": "mailto:c@d.example"},
        {"unsubscribe": f"https://{'x' * 1000}"},
    ],
)
def test_s5_header_values_that_break_out_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        compose(RenderedLetter("s", None, "t"), _headers(**changes))


def test_a_typical_letter_byte_for_byte() -> None:
    letter = RenderedLetter("Grüße", "<p>Schöne Grüße aus Hamburg</p>", "Schöne Grüße\n.\nEnde ")
    assert compose(letter, _headers(recipient="x@müller.example")) == (
        b"From: Anna Weber <a.weber@firma.example>\r\n"
        b"To: x@xn--mller-kva.example\r\n"
        b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"
        b"Date: Mon, 23 Nov 2026 08:00:00 +0100\r\n"
        b"Message-ID: <order-17.6b820c4c-54ef-5e30-b810-aef3ce84092f@firma.example>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"X-Kontaktpflege-Order: 17\r\n"
        b"Auto-Submitted: auto-generated\r\n"
        b'Content-Type: multipart/alternative; boundary="=_order-17"\r\n'
        b"\r\n"
        b"--=_order-17\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: quoted-printable\r\n"
        b"\r\n"
        b"Sch=C3=B6ne Gr=C3=BC=C3=9Fe\r\n=2E\r\nEnde=20\r\n"
        b"\r\n"
        b"--=_order-17\r\n"
        b'Content-Type: text/html; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: quoted-printable\r\n"
        b"\r\n"
        b"<p>Sch=C3=B6ne Gr=C3=BC=C3=9Fe aus Hamburg</p>\r\n"
        b"\r\n"
        b"--=_order-17--\r\n"
    )


def test_the_same_input_gives_the_same_bytes_and_another_order_another_boundary() -> None:
    letter = RenderedLetter("s", "<p>h</p>", "t")
    assert compose(letter, _headers()) == compose(letter, _headers())
    assert _parsed(compose(letter, _headers(order_id=18))).get_boundary() == "=_order-18"


def test_letter_without_html_is_one_plain_part() -> None:
    parsed = _parsed(compose(RenderedLetter("s", None, "Hallo"), _headers()))
    assert parsed.get_content_type() == "text/plain"
    assert _content(parsed) == "Hallo\n"


def test_mostly_foreign_letters_go_as_base64_and_others_stay_readable() -> None:
    german = _parsed(compose(RenderedLetter("s", None, "Schöne Grüße aus der Personalabteilung"), _headers()))
    greek = _parsed(compose(RenderedLetter("s", None, "Καλημέρα σας " * 20), _headers()))
    assert german["Content-Transfer-Encoding"] == "quoted-printable"
    assert greek["Content-Transfer-Encoding"] == "base64"
    assert _content(greek) == "Καλημέρα σας " * 20 + "\n"


def test_local_part_beyond_ascii_is_sent_as_utf8() -> None:
    data = compose(RenderedLetter("s", None, "t"), _headers(recipient="jörg@müller.example"))
    assert "To: jörg@xn--mller-kva.example\r\n".encode() in data


def test_extra_headers_are_folded_and_kept() -> None:
    urls = ", ".join(f"<https://firma.example/{number:020}>" for number in range(4))
    data = compose(RenderedLetter("s", None, "t"), _headers(extra={"List-Help": urls}))
    assert _parsed(data)["List-Help"] == urls
    assert all(len(line) <= 78 for line in data.split(b"\r\n"))


def test_date_of_another_zone_is_the_same_instant() -> None:
    parsed = _parsed(compose(RenderedLetter("s", None, "t"), _headers(date=_AT.astimezone(UTC))))
    assert parsed["Date"].datetime == _AT
    # Written in its own zone, whatever zone the same instant was written in before.
    assert b"+0000" in compose(RenderedLetter("s", None, "t"), _headers(date=_AT.astimezone(UTC)))
    assert b"+0100" in compose(RenderedLetter("s", None, "t"), _headers())


def test_message_id_is_stable_and_its_own() -> None:
    first = message_ids(_INSTANCE, "firma.example")(17)
    assert first == message_ids(_INSTANCE, "firma.example")(17)
    assert first.startswith("<order-") and first.endswith("@firma.example>")
    others = {
        message_ids(_INSTANCE, "firma.example")(18),
        message_ids(UUID(int=1), "firma.example")(17),
        message_ids(_INSTANCE, "müller.example")(17),
    }
    assert first not in others and len(others) == 3
    assert message_ids(_INSTANCE, "müller.example")(17).endswith("@xn--mller-kva.example>")


@given(st.uuids(), st.integers(1, 2**63 - 1))
def test_i12_a_message_id_has_the_uuid_of_the_standard_library(instance: UUID, order: int) -> None:
    assert (
        message_ids(instance, "firma.example")(order)
        == f"<order-{order}.{uuid5(instance, f'order-{order}')}@firma.example>"
    )
