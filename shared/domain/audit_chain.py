"""The chain of seals over the history: what each is computed from (S28, decision 42).

A seal covers the one before, its number, and the whole row. What reduction erases (D42) goes in as a digest with a key
of its own: with text and key gone nobody learns the words from it, and the chain still holds.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

#: What the first seal has before it.
BEGINNING = "0" * 64
SALT_BYTES = 16
#: Of these records reduction erases words; of no other.
ERASED_NOUNS = frozenset({"application", "person", "order"})
_WORDS = ("old", "new", "reason")


def words_of(row: Mapping[Any, Any]) -> dict[str, str | None]:
    """What of a row may be erased one day. The states of an order stay."""
    names = ("reason",) if row["noun"] == "order" and row["field"] == "state" else _WORDS
    return {name: row[name] for name in names}


def digest_of_words(salt: str, row: Mapping[Any, Any]) -> str:
    """Stands for the words, and tells nothing of them without the salt."""
    return hmac.digest(bytes.fromhex(salt), _canonical(words_of(row)), "sha256").hex()


def link_of(before: str, number: int, row: Mapping[Any, Any], words: str) -> str:
    """The seal of a row: `number` counts from 1, `before` is the seal of the one before."""
    kept = {name: row[name] for name in ("id", "author", "action", "noun", "record_id", "record_name", "field")}
    kept |= {name: row[name] for name in _WORDS if name not in words_of(row)}
    kept |= {"at": row["at"].astimezone(UTC).isoformat(timespec="microseconds"), "number": number}
    return hashlib.sha256((before + words).encode() + _canonical(kept)).hexdigest()


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
