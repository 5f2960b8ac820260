"""A DKIM signature (RFC 6376) before a mail's head, made by dkimpy: the only importer of it."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dkim
from dkim.crypto import UnparsableKeyError, parse_pem_private_key

from shared.domain.mail_addresses import ascii_domain_address
from shared.errors import InvalidSettings

#: What receivers believe; longer keys do not fit everywhere in DNS.
SHORTEST_KEY_BITS = 1024
#: What is signed where it is there. List-Unsubscribe counts for receivers only signed (RFC 8058).
SIGNED = (
    *("from", "to", "reply-to", "subject", "date", "message-id", "mime-version", "content-type"),
    *("content-transfer-encoding", "auto-submitted", "list-unsubscribe", "list-unsubscribe-post"),
    "x-kontaktpflege-order",
)
#: Once more than it is there: a second one, added on the way, breaks the signature.
_NEVER_TWICE = ("from", "to", "reply-to", "subject", "date", "list-unsubscribe", "list-unsubscribe-post")
_NAME = re.compile(rb"^([A-Za-z0-9-]+):", re.MULTILINE)
_LABELS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z")


class _Dated(dkim.DKIM):  # type: ignore[misc]
    """Signs as of the mail's own date: every attempt of an order has the same bytes (I12)."""

    date: datetime = datetime.fromtimestamp(0, UTC)

    def gen_header(self, fields: Any, *given: Any, **more: Any) -> Any:
        """As dkimpy does it, with another time."""
        time = str(int(self.date.timestamp())).encode()
        return super().gen_header([(name, time if name == b"t" else value) for name, value in fields], *given, **more)


class DkimSignature:
    """A domain's key; raises InvalidSettings, which never shows the key."""

    def __init__(self, domain: str, selector: str, key_file: Path) -> None:
        self._domain = ascii_domain_address(f"x@{domain}").rpartition("@")[2].lower().encode()
        for name, value in (("KP_DKIM_DOMAIN", self._domain.decode()), ("KP_DKIM_SELECTOR", selector)):
            if not _LABELS.match(value):
                raise InvalidSettings(f"setting {name}: {value!r} is no name in DNS")
        self._selector = selector.encode()
        try:
            self._key = key_file.read_bytes()
            bits = int(parse_pem_private_key(self._key)["modulus"]).bit_length()
        except OSError as exc:
            raise InvalidSettings(f"setting KP_DKIM_KEY_FILE: {key_file}: {exc.strerror}") from None
        except (UnparsableKeyError, ValueError, IndexError, KeyError, TypeError):
            fix = "give an RSA key, as `openssl genrsa 2048` writes it"
            raise InvalidSettings(f"setting KP_DKIM_KEY_FILE: {key_file} holds no private key; {fix}") from None
        if bits < SHORTEST_KEY_BITS:
            raise InvalidSettings(f"setting KP_DKIM_KEY_FILE: {key_file} has a key of {bits} bits; receivers want 2048")

    def sign(self, mail: bytes, date: datetime) -> bytes:
        """The mail with its signature first; the same mail, date and key give the same bytes."""
        signer = _Dated(mail, linesep=b"\r\n")
        signer.date = date
        head = mail.partition(b"\r\n\r\n")[0]
        present = {name.decode().lower() for name in _NAME.findall(head)}
        signed = [name for name in SIGNED if name in present] + list(_NEVER_TWICE)
        policy = (b"relaxed", b"relaxed")
        signature: bytes = signer.sign(
            self._selector, self._domain, self._key, canonicalize=policy, include_headers=signed
        )
        return signature + mail
