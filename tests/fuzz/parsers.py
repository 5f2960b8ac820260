"""What reads bytes from outside, as plain functions of bytes: for a fuzzer that watches which lines they reach.

Each raises for whatever is neither an answer nor a refusal in words.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO

from shared.bus.messages import GREATEST_ID, JobDue, UndecodableMessage, WriteOrderReady, decode, encode
from shared.domain import returned_mail
from shared.domain.delivery_failures import Failure, judge_failure
from shared.domain.letter_language import compile_part
from shared.domain.link_tokens import LinkTokens, Purpose
from shared.domain.mail_addresses import ascii_domain_address, split_sender, usable_address
from shared.domain.return_paths import ReturnPaths
from shared.domain.returned_mail import Kind, understand
from shared.errors import InvalidInput
from shared.importing import application_rows, contact_rows
from shared.importing.csv_rows import csv_rows
from shared.importing.json_rows import json_rows
from shared.importing.report import ImportReport, RowError
from shared.importing.rows import Row
from tests.hostile_people import ADDRESSES
from tests.returned_mails import NAMES
from tests.returned_mails import returned_mail as mail_of_corpus

_SECRETS = ("0123456789abcdef" * 2, "fedcba9876543210" * 2)
_TOKENS = LinkTokens(_SECRETS)
_PATHS = ReturnPaths("bounce@mail.firma.example", _TOKENS)
_REPORT = b"From: MAILER-DAEMON@mx.example\nContent-Type: multipart/report; boundary=xx\n\n--xx\n\nwords\n--xx\n"
_BOUNCES = (Kind.HARD, Kind.SOFT, Kind.REFUSED)


@dataclass(frozen=True, slots=True)
class Parser:
    """`read` gets any bytes; `examples` are what it is meant for, to begin with."""

    read: Callable[[bytes], None]
    examples: tuple[bytes, ...]
    #: Bytes of a case at most.
    longest: int = 4096


def _mail(data: bytes) -> None:
    mail = understand(data)
    for text, most in (
        (mail.subject, returned_mail.MOST_SUBJECT),
        (mail.words or "", returned_mail.MOST_WORDS),
        (mail.message_id, returned_mail.MOST_SUBJECT),
        (mail.author, returned_mail.MOST_WORDS),
    ):
        assert len(text) <= most and "\n" not in text and "\0" not in text
    assert len(mail.text) <= returned_mail.MOST_TEXT and "\0" not in mail.text
    for many in (mail.letters, mail.recipients, mail.failed):
        assert len(many) <= returned_mail.MOST_NAMED
    assert (mail.kind in _BOUNCES) or mail.kind is Kind.DELAYED or mail.status is None
    assert mail.text == "" or mail.kind is Kind.REPLY
    # What is kept of it is text that a database holds.
    "".join((mail.subject, mail.words or "", mail.text, mail.author, *mail.recipients, *mail.failed)).encode()
    assert understand(data) == mail


def _report(data: bytes) -> None:
    _mail(_REPORT + b"Content-Type: message/delivery-status\n\n" + data + b"\n--xx--\n")


def _words(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert judge_failure(None, text) in (None, *Failure)
    for status in ("4.4.7", "5.0.0", "5.1.1", "5.2.2", "5.7.1"):
        assert judge_failure(status, text) in Failure


def _rows(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    report = ImportReport("applications")
    applications = application_rows.ApplicationParser({"neu": 1}, {"a. weber"}, report).parse
    for known, required, parse in (
        (application_rows.KNOWN, ("external_id",), applications),
        (contact_rows.KNOWN, contact_rows.REQUIRED, contact_rows.parse_contact),
    ):
        for rows in (csv_rows("a.csv", StringIO(text, newline=""), known, required), json_rows(StringIO(text), known)):
            try:
                for row in rows:
                    _take(row, parse)
            except InvalidInput as refused:
                str(refused)


def _take(row: Row, parse: Callable[[Row], object]) -> None:
    if row.error is not None:
        str(row.error)
        return
    try:
        kept = parse(row)
    except RowError as refused:
        str(refused)
    else:
        assert "\\x00" not in repr(kept)
        repr(kept).encode()


def _message(data: bytes) -> None:
    for expected in (JobDue, WriteOrderReady):
        try:
            message = decode(data, expected)
        except UndecodableMessage as refused:
            str(refused)
            continue
        (number,) = (getattr(message, name) for name in message.__slots__)
        assert type(message) is expected and 0 < number <= GREATEST_ID
        assert decode(encode(message), expected) == message


def _token(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for purpose in Purpose:
        if (subject := _TOKENS.subject_of(purpose, text)) is not None:
            # No other spelling than what was signed, in whatever case, by one of the secrets.
            signed = [LinkTokens([secret]).sign(purpose, subject) for secret in _SECRETS]
            assert text.lower() in signed
        number = _TOKENS.id_of(purpose, text)
        assert number is None or _TOKENS.sign_id(purpose, number)
    if (order := _PATHS.order_of(text)) is not None:
        assert 0 <= order < 1 << 64


def _address(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    usable = usable_address(text)
    if usable is not None:
        assert usable_address(usable) == usable and usable.isprintable() and " " not in usable
        assert ascii_domain_address(usable).rpartition("@")[2].isascii()
    try:
        name, address = split_sender(text)
    except InvalidInput as refused:
        str(refused)
    else:
        assert usable_address(address) == address and "\n" not in name and "\r" not in name


def _letter(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for html in (False, True):
        try:
            compile_part("text", text, "de", html)
        except InvalidInput as refused:
            str(refused)


_CSV = (
    b'external_id,kind,status,email,birth_date,in_pool,custom.Team\nA1,pool,Neu,a@b.example,1990-02-28,true,"x\n"\n',
    b'application,at,medium,direction,subject\nA1,2026-11-01T10:00:00+01:00,phone,incoming,"a ""b"""\n',
)
_JSON = (
    b'{"external_id": "A1", "status": "Neu", "received_on": "2026-11-01", "custom": {"Team": 1}}\n',
    b'{"person": "S1", "at": "2026-11-01T10:00:00Z", "medium": "note", "direction": "internal", "body": null}\n',
)
_GROUPS = (
    b"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.1.1\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 no such user\n",
    b"Action: delayed\nStatus: 4.4.7\n\nOriginal-Recipient: rfc822;a@b.example\nAction: relayed\n",
)
_LETTERS = (
    b"Guten Tag {{ applicant.last_name | default('x') }} {% if application.vacancy == 'A' %}a{% else %}b{% endif %}",
    b"<p title=\"{{ applicant.title }}\">{{ today | date }}</p>{# note #}{{ '{{' }}{% raw %}{{ x }}{% endraw %}",
)
PARSERS = {
    "mail": Parser(_mail, tuple(mail_of_corpus(name) for name in NAMES), 16_384),
    "report": Parser(_report, _GROUPS, 8192),
    "words": Parser(_words, (b"550 5.1.1 <a@b.example>: user unknown", b"mailbox is full, try again", b"spam"), 9000),
    "rows": Parser(_rows, (*_CSV, *_JSON)),
    "message": Parser(
        _message, (encode(JobDue(1)), encode(WriteOrderReady(GREATEST_ID)), json.dumps({"v": 1}).encode()), 1024
    ),
    "token": Parser(
        _token,
        (
            *(_TOKENS.sign_id(purpose, 1).encode() for purpose in Purpose),
            _TOKENS.sign(Purpose.PREFERENCES, b"x").encode(),
            _PATHS.of(1).encode(),
        ),
        200,
    ),
    "address": Parser(_address, tuple(one.encode("utf-8", "replace") for one in ADDRESSES), 400),
    "letter": Parser(_letter, _LETTERS, 2000),
}
