"""Which applications are one human being (D24)."""

from collections.abc import Mapping, Sequence
from datetime import date
from hashlib import sha256
from typing import Any

from shared.domain.text import fold


def identity_of(external_id: str, duplicate_set: str | None, fields: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The person's identity: the given set, else the configured keys if all are known, else the application alone."""
    if duplicate_set:
        return f"set:{duplicate_set}"
    values = [_text(fields.get(key)) for key in keys]
    if keys and all(values):
        return "key:" + sha256("\x1f".join(values).encode()).hexdigest()
    return f"one:{external_id}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else fold(value)
