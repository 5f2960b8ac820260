"""Layouts: the common head and foot of letters, put around a letter's own part before it is checked (D43)."""

import re
from dataclasses import dataclass

from shared.errors import InvalidInput

_CONTENT = re.compile(r"\{\{-?\s*content\s*-?\}\}")


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands around a letter's HTML and text; None: that part stays as it is."""

    html: str | None
    text: str | None


def check_layout(place: str, layout: Layout) -> None:
    """Raises InvalidInput unless each part says exactly once where the letter stands."""
    if not layout.html and not layout.text:
        raise InvalidInput(place, None, "needs html, text or both")
    for name, part in (("html", layout.html), ("text", layout.text)):
        if part and len(_CONTENT.findall(part)) != 1:
            raise InvalidInput(
                f"{place}, {name}", part, "must contain {{ content }} exactly once: there the letter stands"
            )


def in_layout(part: str | None, around: str | None) -> str | None:
    """A part of a letter as it stands in its layout, as source: the allow-list of the letter language sees it whole."""
    if not part or not part.strip() or not around:
        return part
    return _CONTENT.sub(lambda _: part, around)
