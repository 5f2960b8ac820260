"""The address of the mail server, as SMTP_URL gives it."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from shared.errors import InvalidSettings
from shared.settings import is_loopback

_SCHEMES: dict[str, tuple[Literal["none", "implicit", "starttls"], int]] = {
    "smtp": ("none", 25),
    "smtps": ("implicit", 465),
    "smtp+starttls": ("starttls", 587),
}


@dataclass(frozen=True, slots=True)
class Relay:
    """The mail server that takes every letter."""

    host: str
    port: int
    tls: Literal["none", "implicit", "starttls"]
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Relay({self.address}, tls={self.tls})"

    @property
    def address(self) -> str:
        """Host and port, as shown to people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_smtp_url(url: str, password: str | None = None) -> Relay:
    """The relay of an SMTP_URL; raises InvalidSettings. TLS that is asked for is required, never optional (S10)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidSettings("setting SMTP_URL: the port must be a number below 65536, an IPv6 host in []") from None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise InvalidSettings(
            "setting SMTP_URL: give smtp://HOST, smtps://HOST or smtp+starttls://HOST, with :PORT if unusual"
        )
    tls, usual_port = _SCHEMES[parts.scheme]
    user = unquote(parts.username) if parts.username else None
    secret = password or (unquote(parts.password) if parts.password else None)
    if user and tls == "none" and not is_loopback(url):
        raise InvalidSettings("setting SMTP_URL: a password is never sent in clear; use smtps:// or smtp+starttls://")
    return Relay(parts.hostname, port or usual_port, tls, user, secret)
