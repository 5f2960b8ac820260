"""A mail from outside taken apart within bounds (S32): linear in its size, whatever it holds; nothing is executed.

Only its first megabyte is looked at, a few levels and parts deep. What lies beyond is not read, and no error: a mail
that cannot be understood by then is not understood. Attached messages are not opened: they are other people's words.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from html import unescape

#: Bytes of a mail that are looked at, and of one part's text.
MOST_BYTES, MOST_TEXT_BYTES = 1 << 20, 1 << 16
#: Parts, levels of multipart, bytes of one head, fields in it and characters of one field.
MOST_PARTS, MOST_DEPTH, MOST_HEAD_BYTES, MOST_FIELDS, MOST_VALUE = 60, 6, 1 << 16, 400, 2000

_NAME = re.compile(r"[!-9;-~]{1,80}\Z")
_BLANK_LINE = re.compile(rb"\n[ \t]*\n")
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9._-]{1,40})', re.IGNORECASE)
#: Character sets that mail is written in. Python knows others, of which some take long.
_KNOWN_CHARSET = re.compile(
    r"(utf-?8|(us-)?ascii|iso-?8859|latin|windows-|cp\d|koi8|gb|big5|shift_?jis|euc|iso-2022|mac)", re.IGNORECASE
)
#: Neither can try again from within itself: each stops at the next bracket.
_UNSEEN = re.compile(r"<(style|script|head)\b[^<>]*>[^<]*(?:</\1>)?", re.IGNORECASE)
_LINE_END = re.compile(r"<(?:br|/p|/div|/tr|/li|/h\d)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")


class Fields:
    """The fields of a head, in order; names in any case, values unfolded and as they stand."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def __contains__(self, name: str) -> bool:
        return any(known == name for known, _ in self._pairs)

    def all(self, *names: str) -> list[str]:
        """The values of fields of these names (small letters)."""
        return [value for name, value in self._pairs if name in names]

    def first(self, *names: str) -> str:
        """The first of these fields; '' if there is none."""
        return next(iter(self.all(*names)), "")

    def text(self, name: str) -> str:
        """The first of these fields as people read it (RFC 2047)."""
        value = self.first(name)
        if "=?" not in value:
            return value
        try:
            words = decode_header(value)
        except (HeaderParseError, ValueError):
            return value
        return "".join(
            word if isinstance(word, str) else _decoded(word, charset or "us-ascii") for word, charset in words
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One part that is no multipart; `body` is as it was sent."""

    fields: Fields
    body: bytes

    @property
    def media_type(self) -> str:
        """In small letters, without parameters."""
        return media_type_of(self.fields)

    def content(self) -> bytes:
        """What its transfer encoding hides, up to the bound."""
        encoding = self.fields.first("content-transfer-encoding").strip().lower()
        if encoding == "base64":
            return _base64(self.body[: 2 * MOST_TEXT_BYTES])[:MOST_TEXT_BYTES]
        body = self.body[:MOST_TEXT_BYTES]
        return binascii.a2b_qp(body) if encoding == "quoted-printable" else body

    def text(self) -> str:
        """Its words, of HTML too; lines end with LF."""
        charset = _CHARSET.search(self.fields.first("content-type"))
        text = _decoded(self.content(), charset[1] if charset else "utf-8").replace("\r\n", "\n")
        if self.media_type == "text/html":
            text = unescape(_TAG.sub("", _LINE_END.sub("\n", _UNSEEN.sub("", text))))
        return text


@dataclass(frozen=True, slots=True)
class TakenApart:
    """A mail: its head, and its parts in order. `whole` is everything that was looked at."""

    fields: Fields
    parts: tuple[Part, ...]
    whole: bytes

    def part(self, *media_types: str) -> Part | None:
        """The first part of one of these types."""
        return next((part for part in self.parts if part.media_type in media_types), None)


def take_apart(raw: bytes) -> TakenApart:
    """Never raises, whatever the bytes are."""
    data = raw[:MOST_BYTES].replace(b"\r\n", b"\n")
    fields, body = split_head(data)
    parts: list[Part] = []
    for part in _parts(fields, body, MOST_DEPTH):
        parts.append(part)
        if len(parts) == MOST_PARTS:
            break
    return TakenApart(fields, tuple(parts), data)


def split_head(data: bytes) -> tuple[Fields, bytes]:
    """The fields before the first blank line, and what follows it."""
    data = data.lstrip(b"\n")
    end = _BLANK_LINE.search(data, 0, MOST_HEAD_BYTES)
    if end is None and len(data) > MOST_HEAD_BYTES:
        return fields_of(data[:MOST_HEAD_BYTES]), b""
    return (fields_of(data), b"") if end is None else (fields_of(data[: end.start()]), data[end.end() :])


def fields_of(head: bytes) -> Fields:
    """The fields of a head; lines that are none are passed over."""
    pairs: list[tuple[str, list[str]]] = []
    for line in head.decode("utf-8", "replace").split("\n"):
        if line[:1] in (" ", "\t"):
            if pairs:
                pairs[-1][1].append(line.strip())
            continue
        name, colon, value = line.partition(":")
        if colon and _NAME.match(name):
            if len(pairs) == MOST_FIELDS:
                break
            pairs.append((name.lower(), [value.strip()]))
    return Fields([(name, " ".join(lines)[:MOST_VALUE]) for name, lines in pairs])


def media_type_of(fields: Fields) -> str:
    """Of a head; plain text if it says nothing."""
    return fields.first("content-type").partition(";")[0].strip().lower() or "text/plain"


def _parts(fields: Fields, body: bytes, levels: int) -> Iterator[Part]:
    found = _BOUNDARY.search(fields.first("content-type"))
    is_whole = True
    if found and levels and media_type_of(fields).startswith("multipart/"):
        for piece in _pieces(body, (found[1] or found[2]).encode("utf-8", "replace")):
            is_whole = False
            # A part may have no head at all: then it begins with the blank line.
            inner, content = (Fields([]), piece[1:]) if piece.startswith(b"\n") else split_head(piece)
            yield from _parts(inner, content, levels - 1)
    # Every piece gives a part, an empty multipart too: so their number bounds the work.
    if is_whole:
        yield Part(fields, body)


def _pieces(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """What stands between the lines of a boundary; the last one may lack its end."""
    began: int | None = None
    body = b"\n" + body
    for line in re.finditer(rb"\n--%b(--)?[ \t]*(?=\n|\Z)" % re.escape(boundary), body):
        if began is not None:
            yield body[began : line.start()]
        began = line.end() + 1
        if line[1]:
            return
    if began is not None:
        yield body[began:]


def _decoded(data: bytes, charset: str) -> str:
    try:
        text = data.decode(charset if _KNOWN_CHARSET.match(charset) else "utf-8", "replace")
    except (LookupError, ValueError):
        text = data.decode("latin-1")
    return text.replace("\0", "")


def _base64(data: bytes) -> bytes:
    kept = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
    try:
        return binascii.a2b_base64(kept[: len(kept) // 4 * 4])
    except binascii.Error:
        return b""
