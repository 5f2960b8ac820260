"""One sign-in on its way: what only the browser that began it can know."""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from shared.errors import KontaktpflegeError, Refused

#: Seconds in which a person has to be back from the provider.
LONGEST_SECONDS = 600
#: Characters of a secret, and of the page that was asked for at most.
_SECRET, _LONGEST_PATH = 43, 1000


class NotTrusted(Refused):
    """The sign-in service's answer does not prove who the person is. Nobody was signed in."""


class ProviderTrouble(KontaktpflegeError):
    """The sign-in service does not answer, or not as OpenID Connect asks; the next try may succeed."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What has to fit later is made from one secret, which only a cookie of this browser holds (S22).

    So no row is written for somebody who is nobody yet, and any console can take the answer.
    """

    secret: str
    #: The page of the console to go to afterwards.
    to: str

    @classmethod
    def begin(cls, to: str) -> "Attempt":
        """A new one."""
        return cls(secrets.token_urlsafe(32), to)

    @property
    def state(self) -> str:
        """Goes through the browser and back: the answer is to this browser's question."""
        return self._made_for("state")

    @property
    def nonce(self) -> str:
        """Comes back inside the token: the token was made for this sign-in."""
        return self._made_for("nonce")

    @property
    def verifier(self) -> str:
        """Shown when the code is redeemed (PKCE): a stolen code is of no use."""
        return self._made_for("verifier")

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier beforehand."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())

    def is_answered_by(self, state: str) -> bool:
        """Whether an answer belongs to this attempt."""
        return hmac.compare_digest(self.state.encode(), state.encode())

    def pack(self) -> str:
        """As a cookie's value."""
        return f"{self.secret}.{_base64(self.to[:_LONGEST_PATH].encode())}"

    @classmethod
    def unpack(cls, value: str) -> "Attempt | None":
        """The attempt of a cookie; None where it is none of ours."""
        secret, _, to = value.partition(".")
        if len(secret) != _SECRET:
            return None
        try:
            return cls(secret, base64.urlsafe_b64decode(to + "=" * (-len(to) % 4)).decode())
        except (binascii.Error, UnicodeError, ValueError):
            return None

    def _made_for(self, purpose: str) -> str:
        return _base64(hmac.digest(self.secret.encode(), purpose.encode(), "sha256"))


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
