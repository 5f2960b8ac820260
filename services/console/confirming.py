"""A change that was shown to somebody is the one that they confirm: what was typed since is shown anew."""

import hashlib
import json
from typing import Any


def seal_of(*content: Any) -> str:
    """A short text that stands for exactly this content."""
    written = json.dumps(content, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:32]


def whole(text: str) -> int:
    """A whole number of a form; 0 where there is none."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0
