"""The HTML part of a letter: where a placeholder may stand, style rules moved into the elements, the text made of it.

The only importer of inscriptis.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path

from inscriptis import get_text
from inscriptis.model.config import ParserConfig

from shared.domain.letter_language import Segment
from shared.errors import InvalidInput

#: The program that moves style rules, its exit code for rules that cannot be read, and seconds to wait for it.
_MOVER = Path(__file__).with_name("style_mover.py")
_UNREADABLE = 3
_PATIENCE = 10.0
_STYLE = re.compile(r"<style[\s>]", re.IGNORECASE)
_DOCUMENT = re.compile(r"<(?:!doctype|html|head|body)[\s>]", re.IGNORECASE)
_MARK = re.compile(r"<!--kp(\d+)-->|kp(\d+)pk")
_BLANK_LINES = re.compile(r"\n{3,}")
_VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
#: Elements that never count as open: without an end, or put in by every reader of HTML (a stray end is harmless).
_UNCOUNTED = frozenset((*_VOID, "tbody"))
#: Elements whose content is no markup; in the first two a placeholder is only text.
_PLAIN = ("title", "textarea")
_CLOSED = ("script", "style")
#: Where a reader of the HTML stands -> what changes that.
_NEXT = {
    # A '<' at the end may become a tag with what is filled in next.
    "text": re.compile(r"<!--|<(/?)([a-zA-Z]+)|<[!?]|</?\Z"),
    "tag": re.compile(r"=\s*([\"'])|>"),
    "comment": re.compile(r"-->"),
    '"': re.compile(r'"'),
    "'": re.compile(r"'"),
    **{name: re.compile(rf"</{name}", re.IGNORECASE) for name in _PLAIN + _CLOSED},
}


class _UnreadableStyle(Exception):
    """The style rules cannot be read."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where in HTML: text, tag, comment, inside quotes, or in an element of that name; `opens` follows the tag."""

    where: str = "text"
    opens: str = "text"

    def after(self, data: str) -> "_Spot":
        spot, position = self, 0
        while found := _NEXT[spot.where].search(data, position):
            position = found.end()
            spot = spot._next(found)
        return spot

    def _next(self, found: re.Match[str]) -> "_Spot":
        if self.where == "text":
            if found.group() == "<!--":
                return _Spot("comment")
            name = (found.group(2) or "").lower()
            return _Spot("tag", name if name in _PLAIN + _CLOSED and not found.group(1) else "text")
        if self.where == "tag":
            return _Spot(found.group(1), self.opens) if found.group(1) else _Spot(self.opens)
        return _Spot("tag", self.opens if self.where in "\"'" else "text") if self.where != "comment" else _Spot()


def check_html(place: str, pieces: Iterable[Segment]) -> None:
    """Refuses placeholders that escaping cannot guard: in a tag outside of quotes, in <script> and <style> (S4)."""
    for piece, spot in _spots(place, pieces):
        if piece.kind == "output" and spot.where in ("tag", *_CLOSED):
            fix = "a placeholder stands in text or in a quoted attribute, not elsewhere in a tag, <script> or <style>"
            raise InvalidInput(f"{place}, line {piece.line}", piece.text, fix)


def inline_styles(place: str, pieces: list[Segment]) -> str:
    """The source with its <style> rules written into the elements, tags of the letter language kept as they are.

    Without <style> the source is unchanged. A fragment stays one (and loses its @media rules, which need a head).
    Raises InvalidInput where a tag of the letter language would be lost or moved.
    """
    source = "".join(piece.text for piece in pieces)
    if not _STYLE.search(source):
        return source
    kept: list[Segment] = []
    masked = "".join(_mask(place, kept, piece, spot) for piece, spot in _spots(place, pieces))
    inlined = _inlined(place, masked, bool(_DOCUMENT.search(source)))
    if [int(one or other) for one, other in _MARK.findall(inlined)] != list(range(len(kept))):
        raise InvalidInput(place, "<style>", "write the rules as style attributes: placeholders would be moved")
    _check_balance(place, inlined, kept)
    return _MARK.sub(lambda mark: kept[int(mark.group(1) or mark.group(2))].text, inlined)


def text_of(html: str) -> str:
    """The text part made of a rendered HTML part; the address of a link follows its text."""
    lines = get_text(html, ParserConfig(display_links=True)).splitlines()
    return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")


def _spots(place: str, pieces: Iterable[Segment]) -> Iterator[tuple[Segment, _Spot]]:
    spot, opened = _Spot(), list[_Spot]()
    for piece in pieces:
        if piece.word == "if":
            opened.append(spot)
        elif piece.word in ("elif", "else", "endif") and opened and spot != opened[-1]:
            fix = "what begins within {% if %} (a tag, a quoted value) must end before the next {% ... %}"
            raise InvalidInput(f"{place}, line {piece.line}", piece.text, fix)
        if piece.word == "endif" and opened:
            opened.pop()
        yield piece, spot
        if piece.kind == "data":
            spot = spot.after(piece.text)


def _mask(place: str, kept: list[Segment], piece: Segment, spot: _Spot) -> str:
    if piece.kind == "data":
        return piece.text
    if spot.where in ("tag", "comment", *_CLOSED):
        fix = "beside a <style> element, tags of the letter language stand in text or in quoted attributes only"
        raise InvalidInput(f"{place}, line {piece.line}", piece.text, fix)
    kept.append(piece)
    # A comment is the one thing that HTML leaves in its place anywhere, also between the rows of a table.
    return f"<!--kp{len(kept) - 1}-->" if spot.where == "text" else f"kp{len(kept) - 1}pk"


def _inlined(place: str, html: str, document: bool) -> str:
    try:
        return _moved(html, document)
    except _UnreadableStyle as exc:
        raise InvalidInput(place, "<style>", f"the style rules cannot be read: {exc}") from exc
    except subprocess.SubprocessError as exc:
        raise InvalidInput(place, "<style>", "too much HTML to move style rules into; write it simpler") from exc


# Checking a letter and composing it ask for the same; what was raised is asked for again.
@lru_cache(maxsize=4)
def _moved(html: str, document: bool) -> str:
    """The program's answer; what HTML does to its process is not done to this one (S3).

    Raises _UnreadableStyle, SubprocessError if it died, took too long or had too much to say.
    """
    # -P: it imports what this process could, but nothing that stands beside it.
    command = [sys.executable, "-P", str(_MOVER), "document" if document else "fragment"]
    done = subprocess.run(command, input=html.encode(), capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603
    if done.returncode == _UNREADABLE:
        raise _UnreadableStyle(done.stdout.decode())
    done.check_returncode()
    return done.stdout.decode()


def _check_balance(place: str, html: str, kept: list[Segment]) -> None:
    # The inliner closes what is open; an element that an {% if %} only begins would be closed in the wrong place.
    reader = _OpenElements()
    reader.feed(html)
    opened: list[tuple[int, ...] | None] = []
    for number, piece in enumerate(kept):
        if piece.word == "if":
            opened.append(reader.at.get(number))
        elif piece.word in ("elif", "else", "endif") and reader.at.get(number) != opened[-1]:
            fix = "beside a <style> element, elements that begin within {% if %} must end within it"
            raise InvalidInput(f"{place}, line {piece.line}", piece.text, fix)
        if piece.word == "endif":
            opened.pop()


class _OpenElements(HTMLParser):
    """Records for each mark in a well-formed text which elements are open there."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, tuple[int, ...]] = {}
        self._open: list[int] = []
        self._count = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._count += 1
        if tag not in _UNCOUNTED:
            self._open.append(self._count)

    def handle_endtag(self, tag: str) -> None:
        if self._open and tag not in _UNCOUNTED:
            self._open.pop()

    def handle_comment(self, data: str) -> None:
        if mark := _MARK.fullmatch(f"<!--{data}-->"):
            self.at[int(mark.group(1))] = tuple(self._open)
