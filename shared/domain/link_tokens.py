"""Signed tokens for addresses that leave the house: links in letters, return paths (S25, S32).

A token holds an opaque subject of a few bytes, such as an order's id, and nothing about the person. It is base32 in
small letters, read in any case, and at most 64 characters long (42 for a record's id), so that it fits a link's path
and the local part of a return path alike. What it is for is signed and not said: a token for one purpose is none for
another.
"""

import hmac
import re
from base64 import b32decode, b32encode
from binascii import Error
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256

from shared.errors import InvalidSettings

#: Bytes of the key's id, of the signature (128 bits of HMAC-SHA256) and, at most, of the subject.
KEY_ID_BYTES, SIGNATURE_BYTES, SUBJECT_BYTES = 2, 16, 22
#: Characters of the longest token, and of the shortest secret that keys are made from.
LONGEST, SHORTEST_SECRET = 64, 32
_ID_BYTES = 8


class Purpose(StrEnum):
    """What a token allows whoever has it to do. The value is signed: it never changes once letters have gone out."""

    #: The candidate's page about contact care; the subject is an order's id.
    PREFERENCES = "preferences"
    #: What comes back to this address is about the letter of an order; the subject is the order's id.
    RETURN_PATH = "return_path"
    #: One answer to a consent letter each; the subject is an order's id.
    CONSENT_STAY = "consent: stay"
    CONSENT_DELETE = "consent: delete"


class LinkTokens:
    """Signs with the first of its secrets and believes all of them, so that secrets can be replaced.

    Raises InvalidSettings for secrets that are missing, short or alike; the message never holds one.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or min(map(len, secrets)) < SHORTEST_SECRET:
            fix = f"give one secret or more, each of at least {SHORTEST_SECRET} random characters"
            raise InvalidSettings(f"setting KP_LINK_KEYS: {fix}")
        self._keys = {_key_id(key): key for key in (secret.encode() for secret in secrets)}
        if len(self._keys) < len(secrets):
            raise InvalidSettings("setting KP_LINK_KEYS: two secrets have the same id; draw another")
        self._newest, self._newest_key = next(iter(self._keys.items()))

    def sign(self, purpose: Purpose, subject: bytes) -> str:
        """The token; the same for the same purpose, subject and secret."""
        if not 0 < len(subject) <= SUBJECT_BYTES:
            raise ValueError(f"a subject has 1 to {SUBJECT_BYTES} bytes")
        signed = self._newest + subject + _signature(self._newest_key, purpose, subject)
        return b32encode(signed).rstrip(b"=").lower().decode()

    def subject_of(self, purpose: Purpose, token: str) -> bytes | None:
        """The subject of a token that was signed here for this purpose; None for everything else, after equal work."""
        raw = _bytes_of(token)
        key_id, subject = raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:-SIGNATURE_BYTES]
        expected = _signature(self._keys.get(key_id, self._newest_key), purpose, subject)
        is_genuine = hmac.compare_digest(expected, raw[-SIGNATURE_BYTES:])
        return subject if is_genuine and subject and key_id in self._keys else None

    def sign_id(self, purpose: Purpose, record_id: int) -> str:
        """The token whose subject is a record's id."""
        return self.sign(purpose, record_id.to_bytes(_ID_BYTES))

    def id_of(self, purpose: Purpose, token: str) -> int | None:
        """The id that `sign_id` signed for this purpose; None for everything else."""
        subject = self.subject_of(purpose, token)
        return int.from_bytes(subject) if subject is not None and len(subject) == _ID_BYTES else None


def split_secrets(text: str) -> list[str]:
    """The secrets of a setting, the one that signs first: separated by commas, blanks or lines."""
    return [secret for secret in re.split(r"[,\s]+", text) if secret]


def _key_id(key: bytes) -> bytes:
    return hmac.digest(key, b"id", sha256)[:KEY_ID_BYTES]


def _signature(key: bytes, purpose: Purpose, subject: bytes) -> bytes:
    return hmac.digest(key, b"%b\0%b" % (purpose.encode(), subject), sha256)[:SIGNATURE_BYTES]


def _bytes_of(token: str) -> bytes:
    """What a token says, or as many zeros, which no secret signs, if it is none."""
    none = bytes(KEY_ID_BYTES + _ID_BYTES + SIGNATURE_BYTES)
    if len(token) > LONGEST or not token.isascii():
        return none
    try:
        raw = b32decode(token.upper() + "=" * (-len(token) % 8))
    except Error:
        return none
    # One spelling only: what the last character holds beyond the last byte is zero.
    is_token = len(raw) > KEY_ID_BYTES + SIGNATURE_BYTES and b32encode(raw).rstrip(b"=").decode() == token.upper()
    return raw if is_token else none
