"""A seal: what somebody was shown, as a short text that comes back with what they want to do about it."""

import hashlib
import json
from typing import Any


def seal_of(*content: Any) -> str:
    """A short text that stands for exactly this content."""
    written = json.dumps(content, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:32]
