"""How text is compared: trimmed, in Unicode NFC, case-folded (interfaces, section 4)."""

import unicodedata


def fold(text: str) -> str:
    """The form in which two texts are equal to a rule."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).casefold())


def fold_or_none(text: str | None) -> str | None:
    """The folded text; None for an unknown (empty) one."""
    return (fold(text) or None) if text is not None else None
