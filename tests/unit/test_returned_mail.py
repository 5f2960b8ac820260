"""Mails that come back are told apart right, and none takes long, however it is made (S32)."""

import base64
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.delivery_failures import STATUS, Failure, judge_failure
from shared.domain.mail_parts import MOST_BYTES, MOST_PARTS, take_apart
from shared.domain.returned_mail import MOST_SUBJECT, MOST_TEXT, MOST_WORDS, Kind, understand
from tests.returned_mails import ADDRESS, BOUNCE, LETTER, NAMES, returned_mail

#: Seconds for one mail on a slow and busy machine; the corpus takes a thousandth.
LONGEST = 3.0
#: Statuses that the corpus tells of.
STATUSES = {
    "hard.postfix-user-unknown": "5.1.1",
    "hard.exchange-2003-no-code": "5.1.1",
    "hard.office365-recipient-not-found": "5.1.10",
    "hard.qmail-no-mailbox": "5.1.1",
    "refused.postfix-dmarc": "5.7.26",
    "soft.gmail-over-quota": "5.2.2",
    "delayed.postfix-warning": "4.2.0",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_mail_of_the_corpus_is_what_it_is(name: str) -> None:
    found = understand(returned_mail(name))
    assert found.kind == name.partition(".")[0]
    assert found.status == STATUSES.get(name, found.status)
    if not name.startswith("unknown"):
        # One way or the other it says which letter it is about.
        assert LETTER in found.letters or BOUNCE in found.recipients


def test_the_corpus_has_every_kind() -> None:
    kinds = Counter(name.partition(".")[0] for name in NAMES)
    assert set(kinds) == set(Kind) and len(NAMES) >= 50


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("hard", "soft"))])
def test_a_person_who_quotes_a_bounce_is_no_bounce(name: str) -> None:
    quoted = "".join(f"> {line}\r\n" for line in returned_mail(name).decode().split("\r\n"))
    head = f"From: x@y.example\r\nSubject: Re: Undelivered Mail\r\nIn-Reply-To: {LETTER}\r\n\r\nDas kam:\r\n"
    found = understand((head + quoted).encode())
    assert (found.kind, found.text) == (Kind.REPLY, "Das kam:") and found.letters == (LETTER,)


def test_what_a_person_wrote_is_kept_without_what_they_quote() -> None:
    assert understand(returned_mail("reply.outlook-html-only")).text == "Grüße aus dem Büro, ja gerne!"
    text = understand(returned_mail("reply.thunderbird-german")).text
    assert text == "Guten Tag Frau Weber,\n\ndanke der Nachfrage, ich bin weiter interessiert."


def test_a_bounce_of_which_only_the_address_tells_reads_the_traces_of_delivery() -> None:
    found = understand(returned_mail("hard.exchange-2003-no-code"))
    assert found.letters == () and found.recipients[0] == BOUNCE


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("hard", "soft"))])
def test_only_the_message_id_of_the_returned_mail_says_that_it_came_back(name: str) -> None:
    is_letter = name not in ("hard.answer-in-the-thread", "hard.exchange-2003-no-code")
    assert understand(returned_mail(name)).returned == (LETTER if is_letter else None)


def test_a_letter_in_what_came_back_did_not_come_back_itself() -> None:
    passed_on = b"Message-ID: <forward@firma.example>\n\nSiehe unten\n\nMessage-ID: %b\n" % LETTER.encode()
    found = understand(b"From: MAILER-DAEMON@x.example\n\n550 user unknown\n\n--- Below this line\n\n" + passed_on)
    assert (found.kind, found.letters, found.returned) == (Kind.HARD, (LETTER,), None)


def test_a_report_names_whom_it_is_about() -> None:
    assert understand(returned_mail("hard.forwarded-elsewhere")).failed == ("e.muster@forwarded.example",)
    assert understand(returned_mail("hard.postfix-user-unknown")).failed == (ADDRESS, ADDRESS)
    assert understand(returned_mail("delivered.postfix-success")).failed == ()


def test_the_author_is_the_address_and_no_name_and_holds_nothing_that_a_database_refuses() -> None:
    assert understand(returned_mail("reply.user-elsewhere")).author == "c.extern@agentur.example"
    assert understand(b"From: A <a\0b@X.example>\n\nx").author == "a b@x.example"


@pytest.mark.parametrize("status", ["4.2.0 " + "x" * 1900, "\0\x1b[2J", "4.2.0\0", ""])
def test_the_status_of_a_delay_is_a_code_or_none(status: str) -> None:
    raw = returned_mail("delayed.postfix-warning").replace(b"Status: 4.2.0", b"Status: " + status.encode())
    found = understand(raw)
    assert (found.kind, found.status) == (Kind.DELAYED, "4.2.0" if "4.2.0" in status else None)


@pytest.mark.parametrize(
    ("status", "words", "failure"),
    [
        ("5.1.1", "550 5.1.1 spam blocked", Failure.REFUSED),
        ("5.7.1", "550 5.7.1 Unknown user", Failure.HARD),
        ("5.7.1", "550 5.7.1 Access denied", Failure.REFUSED),
        ("5.1.1", "550 5.1.1 <spam@x.example> User unknown", Failure.HARD),
        ("5.1.8", "550 5.1.8 sender address rejected: domain not found", Failure.REFUSED),
        ("5.4.7", "delivery expired", Failure.SOFT),
        ("5.4.6", "mail loop", Failure.SOFT),
        ("5.2.1", "mailbox disabled", Failure.HARD),
        ("5.0.0", "", Failure.SOFT),
        ("4.1.1", "450 4.1.1 user unknown", Failure.SOFT),
        (None, "554 no such domain", Failure.HARD),
        (None, "Der Empfänger ist unbekannt", Failure.HARD),
        (None, "Guten Tag", None),
    ],
)
def test_in_doubt_an_address_is_not_given_up(status: str | None, words: str, failure: Failure | None) -> None:
    assert judge_failure(status, words) == failure


def test_copies_of_a_mail_have_one_fingerprint_and_other_mails_another() -> None:
    mails = [returned_mail(name) for name in NAMES]
    assert len({understand(mail).fingerprint for mail in mails}) == len(NAMES)
    for mail in mails:
        copy = b"Delivered-To: bounce@mail.firma.example\r\nReceived: by another way\r\n" + mail
        assert understand(copy).fingerprint == understand(mail).fingerprint
        assert understand(mail.replace(b"\r\n", b"\n")).fingerprint == understand(mail).fingerprint


def _quickly(raw: bytes) -> None:
    began = time.perf_counter()
    found = understand(raw)
    assert time.perf_counter() - began < LONGEST
    assert len(found.subject) <= MOST_SUBJECT and len(found.text) <= MOST_TEXT and len(found.words or "") <= MOST_WORDS
    assert not set(found.message_id + found.subject + (found.words or "")) & set("\r\n\0")
    assert found.status is None or STATUS.fullmatch(found.status)


HEAD = b"From: MAILER-DAEMON@x.example\nReturn-Path: <>\nMessage-ID: <1@x.example>\n"


def _nested(levels: int) -> bytes:
    opening = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(levels))
    return HEAD + opening + b"\nend\n"


def _many_parts(count: int) -> bytes:
    return HEAD + b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n\nx\n" * count


BOMBS = {
    "nested": _nested(5000),
    "parts": _many_parts(200_000),
    "empty multiparts": HEAD
    + b'Content-Type: multipart/mixed; boundary="b"\n\n'
    + b'--b\nContent-Type: multipart/mixed; boundary="c"\n\n' * 30_000,
    "fields": HEAD + b"X-A: b\n" * 150_000 + b"\nbody",
    "one long field": HEAD + b"Subject: " + b"=?utf-8?q?a?= " * 80_000 + b"\n\nbody",
    "folded": HEAD + b"Subject: x\n" + b" y\n" * 300_000 + b"\nbody",
    "addresses": b"From: " + b"a" * 2000 + b"\n" + b"To: " + b"a" * 1_000_000 + b"@\n\nx",
    "many addresses": b"From: a\n" + b"".join(b"To: %b\n" % (b"a" * 1900) for _ in range(500)) + b"\nx",
    "brackets": HEAD + b"Content-Type: text/html\n\n" + b"<" * MOST_BYTES,
    "styles": HEAD + b"Content-Type: text/html\n\n" + b"<style" * 200_000,
    "users": HEAD + b"\n" + b"user " * 200_000,
    "blanks": HEAD + b"\n" + b"\n \t" * 300_000,
    "at": HEAD + b"\n" + b"@" * MOST_BYTES,
    "am": b"From: a\n\n" + b"Am " * 300_000,
    "letters": HEAD + b"\n" + b"<order-" * 140_000,
    "base64": HEAD + b"Content-Transfer-Encoding: base64\n\n" + base64.b64encode(b"user unknown " * 60_000),
    "charset": HEAD + b"Content-Type: text/plain; charset=punycode\n\n" + b"a" * 500_000,
    "report": HEAD + b"Content-Type: message/delivery-status\n\n" + b"Action: failed\n\n" * 60_000,
    "too long": HEAD + b"\n" + b"user unknown\n" * 1_000_000,
    "no line": b"x" * 5_000_000,
    "nothing": b"",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_s32_a_bomb_costs_no_more_than_its_bounds(bomb: bytes) -> None:
    _quickly(bomb)
    assert len(take_apart(bomb).parts) <= MOST_PARTS


PIECES = st.sampled_from(
    [
        *(
            b"\n",
            b"\r\n",
            b"\n\n",
            b"--b",
            b"--b--",
            b"From: MAILER-DAEMON@x\n",
            b"Status: 5.1.1\n",
            b"Action: failed\n",
            b"Action: delayed\n",
            b"Status: ",
        ),
        *(b'Content-Type: multipart/report; boundary="b"\n', b"Content-Type: message/delivery-status\n"),
        *(b"Content-Type: text/plain; charset=utf-7\n", b"Content-Transfer-Encoding: base64\n", b"=?utf-8?b?/w==?="),
        *(b"Subject: ", b"Date: ", b"Message-ID: ", b"\xff\xfe", b"\0", b": ", b" ", b"user unknown", b"<a@b.c>"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=60))
def test_s32_no_mail_breaks_the_reader(pieces: list[bytes]) -> None:
    _quickly(b"".join(pieces))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), st.data())
def test_s32_a_mail_cut_or_changed_anywhere_breaks_nothing(name: str, data: st.DataObject) -> None:
    raw = returned_mail(name)
    cut = data.draw(st.integers(0, len(raw)))
    _quickly(raw[:cut])
    _quickly(raw[:cut] + data.draw(st.binary(max_size=40)) + raw[cut:])
