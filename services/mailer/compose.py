"""A rendered letter as the bytes of a mail (RFC 5322). Written by hand because EmailMessage costs milliseconds a mail.

A property test holds it equal to the standard library. The same input always gives the same bytes (I12).
"""

import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha1
from urllib.parse import quote
from uuid import UUID

from shared.domain.letters import RenderedLetter, Sender
from shared.domain.mail_addresses import ascii_domain_address
from shared.errors import InvalidInput
from shared.records import record

#: What a line of a header should not exceed, without CRLF (RFC 5322 2.1.1).
_WIDTH = 78
#: Bounds that keep every line below 998 characters, which it must not exceed.
_LONGEST_ADDRESS, _LONGEST_WORD = 320, 900
#: UTF-8 bytes in one encoded-word: they become 68 characters, which fit after 'Reply-To: '.
_ENCODED_BYTES = 42

_BLANKS = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]*\Z")
_ADDRESS = re.compile('[^\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff()<>\\[\\]:;@\\\\,"]+@[A-Za-z0-9.-]+\\Z')
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9.+_-]+@[A-Za-z0-9.-]+>\Z")
_LINK = re.compile(r"https?://[!-;=?-~]{1,900}\Z")
_FIELD_NAME = re.compile(r"[A-Za-z0-9-]{1,60}\Z")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,100}\Z")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._()+-][A-Za-z0-9 ._()+-]{0,60}\Z")
_TAKEN = frozenset(("from", "to", "cc", "bcc", "subject", "date", "message-id", "reply-to", "sender", "mime-version"))

_OWN = ("content-", "x-kontaktpflege-order", "auto-submitted", "list-unsubscribe")


@record
class MailHeaders:
    """What a mail says about itself. `recipient` is one usable address, `date` an instant with its zone.

    `unsubscribe` is the link at which a POST ends contact care (RFC 8058); `extra` are further headers of printable
    ASCII.
    """

    #: None: a letter that belongs to no order (a test).
    order_id: int | None
    message_id: str
    sender: Sender
    recipient: str
    date: datetime
    reply_to: Sender | None = None
    unsubscribe: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


def message_ids(instance_id: UUID, domain: str) -> Callable[[int], str]:
    """Makes the Message-ID of an order: the same for every attempt (I12), another in every installation.

    It names the order, so that an answer finds it without a search, and nobody can guess it.
    """
    ascii_domain = ascii_domain_address(f"order@{domain}").partition("@")[2]
    namespace = instance_id.bytes

    def message_id(order_id: int) -> str:
        # A version 5 UUID (RFC 4122), as uuid5 makes it at three times the cost.
        digest = bytearray(sha1(b"%border-%d" % (namespace, order_id), usedforsecurity=False).digest()[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x50, digest[8] & 0x3F | 0x80
        name = digest.hex()
        groups = f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"
        return f"<order-{order_id}.{groups}@{ascii_domain}>"

    return message_id


def attachment_part(file_name: str, media_type: str, content: bytes) -> bytes:
    """A file as a part of a mail, made once per letter; raises InvalidInput for a type that is none."""
    if not _MEDIA_TYPE.match(media_type):
        raise InvalidInput("media type of an attachment", media_type, "must be of the form type/subtype")
    name = _UNPRINTABLE.sub("_", file_name).encode(errors="replace").decode()
    # Never both forms of a name: readers differ in which of them they take (RFC 2231).
    given = f'filename="{name}"' if _PLAIN_NAME.match(name) else f"filename*=utf-8''{quote(name, safe='')}"
    head = (
        f"Content-Type: {media_type}\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment;\r\n {given}\r\n\r\n"
    )
    return head.encode() + _base64(content)


@dataclass(frozen=True, slots=True)
class Quoted:
    """What many letters have in common, as quoted-printable: single lines, and lines that follow each other."""

    lines: Mapping[str, bytes] = field(default_factory=dict)
    #: Whole lines with their ends, the same as quoted-printable, and how many bytes they are as UTF-8.
    blocks: tuple[tuple[str, bytes, int], ...] = ()


def quoted_once(texts: Iterable[str]) -> Quoted:
    """The lines of these texts that have no brace: those without a placeholder, done once for all letters."""
    lines: dict[str, bytes] = {}
    blocks = []
    for text in texts:
        run: list[str] = []
        for line in (*_with_lf(text).split("\n"), "{"):
            if "{" not in line:
                run.append(line)
                continue
            if len(run) > 2:
                # The last one may be what stands before the end, or before a placeholder.
                block = "".join(f"{one}\n" for one in run[:-1])
                quoted = b"".join(b"%b\r\n" % _quoted(one) for one in run[:-1])
                blocks.append((block, quoted, len(block.encode(errors="replace"))))
            lines |= {one: _quoted(one) for one in run}
            run = []
    return Quoted(lines, tuple(blocks))


_NOTHING_QUOTED = Quoted()


def compose(
    rendered: RenderedLetter,
    headers: MailHeaders,
    attachments: Sequence[bytes] = (),
    quoted: Quoted = _NOTHING_QUOTED,
) -> bytes:
    """The mail with CRLF line ends, the last one included; multipart/alternative if the letter has HTML.

    `attachments` are parts made by `attachment_part`: with them the mail is multipart/mixed. `quoted`: what the letter
    may contain, from `quoted_once`, which makes it faster, never different.

    Display names and subject lose control characters; anything else that could break out of its header raises
    InvalidInput (S5). A local part beyond ASCII stays as UTF-8: such a mail needs a relay with SMTPUTF8 (S9).
    """
    head = "\r\n".join(_header_lines(rendered.subject, headers)).encode()
    body = _body(rendered, headers.order_id or 0, quoted)
    if attachments:
        # The parts' own boundary begins otherwise than that of the alternatives within them.
        body = _multipart(b"mixed", b"=_mixed-%d" % (headers.order_id or 0), [body, *attachments])
    return b"%b\r\n%b" % (head, body)


def _body(rendered: RenderedLetter, order_id: int, quoted: Quoted) -> bytes:
    plain = _part(b"plain", rendered.text, quoted)
    if rendered.html is None:
        return plain
    # '=_' occurs in no quoted-printable and no base64 text, so the boundary occurs in no part.
    return _multipart(b"alternative", b"=_order-%d" % order_id, [plain, _part(b"html", rendered.html, quoted)])


def _multipart(kind: bytes, boundary: bytes, parts: Sequence[bytes]) -> bytes:
    between = b"\r\n--%b\r\n" % boundary
    opening = b'Content-Type: multipart/%b; boundary="%b"\r\n\r\n--%b\r\n' % (kind, boundary, boundary)
    return b"%b%b\r\n--%b--\r\n" % (opening, between.join(parts), boundary)


def _header_lines(subject: str, headers: MailHeaders) -> Iterator[str]:
    if headers.date.tzinfo is None:
        raise InvalidInput("date of a mail", str(headers.date), "must have a time zone")
    yield _from(headers.sender)
    yield f"To: {_address('To', headers.recipient)}"
    if headers.reply_to:
        yield _mailbox("Reply-To", headers.reply_to)
    yield _text("Subject", subject)
    yield f"Date: {_date(headers.date, headers.date.tzinfo, headers.date.fold)}"
    # Never folded: readers exist that find no id in a continuation line.
    yield f"Message-ID: {_checked('Message-ID', _MESSAGE_ID, headers.message_id)}"
    yield "MIME-Version: 1.0"
    if headers.order_id is not None:
        yield f"X-Kontaktpflege-Order: {headers.order_id:d}"
    yield "Auto-Submitted: auto-generated"
    if headers.unsubscribe is not None:
        # In one line, as the Message-ID.
        yield f"List-Unsubscribe: <{_checked('List-Unsubscribe', _LINK, headers.unsubscribe, _LONGEST_WORD)}>"
        yield "List-Unsubscribe-Post: List-Unsubscribe=One-Click"
    for name, value in headers.extra.items():
        yield _extra(name, value)


@lru_cache(256)
def _from(sender: Sender) -> str:
    # A few senders write all letters.
    return _mailbox("From", sender)


@lru_cache(256)
def _date(date: datetime, _: tzinfo | None, __: int) -> str:
    # Letters claimed together have their date in common. Dates are equal in every zone, and in both of autumn's hours.
    return format_datetime(date)


def _mailbox(name: str, who: Sender) -> str:
    address = _address(name, who.email)
    display = " ".join(_BLANKS.sub(" ", who.display_name).split())
    if not display:
        return f"{name}: {address}"
    phrase = _phrase(display)
    together = f"{name}: {phrase} <{address}>"
    return together if len(together) <= _WIDTH else f"{name}: {phrase}\r\n <{address}>"


def _address(name: str, given: str) -> str:
    return _checked(f"address in {name}", _ADDRESS, ascii_domain_address(given))


def _phrase(display: str) -> str:
    if not display.isascii() or "=?" in display or len(display) > 60:
        return _encoded(display)
    if _PHRASE.match(display):
        return display
    escaped = display.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(name: str, text: str) -> str:
    text = _BLANKS.sub(" ", text).strip()
    if not text.isascii() or "=?" in text:
        return f"{name}: {_encoded(text)}"
    if len(name) + 2 + len(text) <= _WIDTH:
        return f"{name}: {text}"
    words = text.split(" ")
    return _folded(name, words) if max(map(len, words)) <= 60 else f"{name}: {_encoded(text)}"


def _encoded(text: str) -> str:
    # RFC 2047: each word holds whole characters; the blanks between encoded words do not count as text.
    data, words, start = text.encode(errors="replace"), [], 0
    while start < len(data):
        end = start + _ENCODED_BYTES
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"=?utf-8?b?{binascii.b2a_base64(data[start:end], newline=False).decode()}?=")
        start = end
    return "\r\n ".join(words)


def _extra(name: str, value: str) -> str:
    place = f"header {name}"
    reserved = name.lower() in _TAKEN or name.lower().startswith(_OWN)
    if reserved or not _FIELD_NAME.match(name):
        raise InvalidInput(place, name, "must be a name of its own, of letters, digits and hyphens")
    words = [word for word in value.split(" ") if word]
    if not value.isascii() or _UNPRINTABLE.search(value) or not words or max(map(len, words)) > _LONGEST_WORD:
        raise InvalidInput(place, value, "must be printable ASCII, in words")
    return _folded(name, words)


def _folded(name: str, words: list[str]) -> str:
    lines = [f"{name}: {words[0]}"]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= _WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    return "\r\n".join(lines)


def _checked(place: str, form: re.Pattern[str], value: str, longest: int = _LONGEST_ADDRESS) -> str:
    if len(value) > longest or not form.match(value):
        raise InvalidInput(place, value, "is not of the form that mail allows")
    return value


def _part(subtype: bytes, text: str, quoted: Quoted) -> bytes:
    text = _with_lf(text)
    text = text if text.endswith("\n") else f"{text}\n"
    pieces: list[bytes] = []
    size, rest = 0, text
    for block, as_quoted, length in quoted.blocks:
        before, found, after = rest.partition(block)
        if found and (not before or before[-1] == "\n"):
            size += length + _add_lines(pieces, before, quoted.lines)
            pieces.append(as_quoted)
            rest = after
    size += _add_lines(pieces, rest, quoted.lines)
    # Quoted-printable stays readable and grows with every character beyond ASCII; base64 is a third longer anyway.
    if (size - len(text)) * 8 <= size:
        encoding, body = b"quoted-printable", b"".join(pieces)
    else:
        encoding, body = b"base64", _base64(text.encode(errors="replace").replace(b"\n", b"\r\n"))
    return b'Content-Type: text/%b; charset="utf-8"\r\nContent-Transfer-Encoding: %b\r\n\r\n%b' % (
        subtype,
        encoding,
        body,
    )


def _add_lines(pieces: list[bytes], text: str, known: Mapping[str, bytes]) -> int:
    """Adds whole lines as quoted-printable; how many bytes they are as UTF-8."""
    if not text:
        return 0
    lines = text.split("\n")
    # An empty line is empty as quoted too, and most letters have some.
    found = [_quoted(line) if (quoted := known.get(line)) is None else quoted for line in lines]
    pieces.append(b"\r\n".join(found))
    return len(text.encode(errors="replace"))


def _with_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _quoted(line: str) -> bytes:
    # With its end, which blanks before it are encoded for.
    return binascii.b2a_qp(f"{line}\n".encode(errors="replace"))[:-1].replace(b"\n", b"\r\n")


def _base64(data: bytes) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    return b"".join(encoded[start : start + 76] + b"\r\n" for start in range(0, len(encoded), 76))
