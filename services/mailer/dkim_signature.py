"""A DKIM signature (RFC 6376) before a mail's head: dkimpy writes it, OpenSSL computes it; nobody else imports them."""

import base64
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import dkim
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

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


class _Signer(dkim.DKIM):  # type: ignore[misc]
    """dkimpy's canonical forms and header, with another time and another signature than its own."""

    def __init__(self, mail: bytes, key: RSAPrivateKey, date: datetime) -> None:
        super().__init__(mail, linesep=b"\r\n")
        self._key, self._date = key, date

    def gen_header(
        self,
        fields: Any,
        include_headers: Any,
        canon_policy: Any,
        header_name: bytes,
        pk: Any,
        standardize: bool = False,
    ) -> bytes:
        """As dkimpy does it, as of the mail's own date, so that every attempt of an order has the same bytes (I12).

        Its own RSA is pure Python: signing a letter with it takes several times as long as with OpenSSL.
        """
        time = str(int(self._date.timestamp())).encode()
        fields = [(name, time if name == b"t" else value) for name, value in fields]
        unsigned = dkim.RE_BTAG.sub(b"\\1", dkim.fold(b"; ".join(map(b"=".join, fields)), len(header_name), b"\r\n"))
        hasher = self.hasher()
        headers = canon_policy.canonicalize_headers(self.headers)
        dkim.hash_headers(hasher, canon_policy, headers, include_headers, (header_name, b" " + unsigned), dict(fields))
        signature = base64.b64encode(self._key.sign(hasher.digest(), PKCS1v15(), Prehashed(SHA256())))
        signed = [(name, signature if name == b"b" else value) for name, value in fields]
        header: bytes = dkim.fold(b"; ".join(map(b"=".join, signed)) + b"\r\n", len(header_name), b"\r\n")
        return header


class DkimSignature:
    """A domain's key; raises InvalidSettings, which never shows the key."""

    def __init__(self, domain: str, selector: str, key_file: Path) -> None:
        self._domain = ascii_domain_address(f"x@{domain}").rpartition("@")[2].lower().encode()
        for name, value in (("KP_DKIM_DOMAIN", self._domain.decode()), ("KP_DKIM_SELECTOR", selector)):
            if not _LABELS.match(value):
                raise InvalidSettings(f"setting {name}: {value!r} is no name in DNS")
        self._selector = selector.encode()
        self._key = _rsa_key(key_file)
        # What dkimpy wants to have read before it lets us sign; it takes no other form of it.
        form = (Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        self._for_dkimpy = self._key.private_bytes(*form)

    def sign(self, mail: bytes, date: datetime) -> bytes:
        """The mail with its signature first; the same mail, date and key give the same bytes."""
        signer = _Signer(mail, self._key, date)
        head = mail.partition(b"\r\n\r\n")[0]
        present = {name.decode().lower() for name in _NAME.findall(head)}
        signed = [name for name in SIGNED if name in present] + list(_NEVER_TWICE)
        policy = (b"relaxed", b"relaxed")
        signature: bytes = signer.sign(
            self._selector, self._domain, self._for_dkimpy, canonicalize=policy, include_headers=signed
        )
        return signature + mail


def _rsa_key(file: Path) -> RSAPrivateKey:
    """Read once, when a mailer starts. Raises InvalidSettings."""
    place, fix = f"setting KP_DKIM_KEY_FILE: {file}", "give an RSA key, as `openssl genrsa 2048` writes it"
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except OSError as exc:
        raise InvalidSettings(f"{place}: {exc.strerror}") from None
    except TypeError:
        raise InvalidSettings(f"{place} has a passphrase, and nobody could give it; take it off") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidSettings(f"{place} holds no private key; {fix}") from None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidSettings(f"{place} holds a key of another kind; {fix}")
    if key.key_size < SHORTEST_KEY_BITS:
        raise InvalidSettings(f"{place} has a key of {key.key_size} bits; receivers want 2048")
    return key
