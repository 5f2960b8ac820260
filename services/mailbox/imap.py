"""A mailbox over IMAP (RFC 3501), the only importer of imaplib. Blocking: called in a thread.

The mailbox is the reader's own: whatever comes in is read once and moved to a folder that says what became of it.
"""

import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from shared.domain.mail_parts import MOST_BYTES
from shared.errors import InvalidSettings, Unavailable
from shared.settings import Settings, is_loopback

#: Mails that one look takes in; the next look takes the next ones.
MOST_MAILS = 500
_SCHEMES: dict[str, tuple[Literal["none", "implicit", "starttls"], int]] = {
    "imap": ("none", 143),
    "imaps": ("implicit", 993),
    "imap+starttls": ("starttls", 143),
}
_PREFIX = re.compile(rb'^\(\("((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class ImapPlace:
    """Where the mailbox is, and who asks."""

    host: str
    port: int
    tls: Literal["none", "implicit", "starttls"]
    user: str
    password: str
    folder: str

    def __repr__(self) -> str:
        return f"ImapPlace({self.address}, {self.folder}, tls={self.tls})"

    @property
    def address(self) -> str:
        """Host and port, as shown to people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_imap_url(url: str, password: str | None = None) -> ImapPlace:
    """The mailbox of a KP_IMAP_URL; raises InvalidSettings. TLS that is asked for is required, never optional (S10)."""
    place = "setting KP_IMAP_URL"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidSettings(f"{place}: the port must be a number below 65536, an IPv6 host in []") from None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise InvalidSettings(f"{place}: give imaps://USER@HOST or imap+starttls://USER@HOST, /FOLDER if not INBOX")
    tls, usual_port = _SCHEMES[parts.scheme]
    user, folder = unquote(parts.username or ""), unquote(parts.path.strip("/")) or "INBOX"
    secret = password or unquote(parts.password or "")
    if not user or not secret:
        raise InvalidSettings(f"{place}: needs a user, and KP_IMAP_PASSWORD or KP_IMAP_PASSWORD_FILE its password")
    if tls == "none" and not is_loopback(url):
        raise InvalidSettings(f"{place}: a password is never sent in clear; use imaps:// or imap+starttls://")
    if not folder.isascii() or re.search(r'[\x00-\x1f\x7f"\\%*]', folder):
        raise InvalidSettings(f"{place}: the folder's name must be of plain ASCII characters")
    return ImapPlace(parts.hostname, port or usual_port, tls, user, secret, folder)


def imap_place(settings: Settings) -> ImapPlace:
    """The mailbox of these settings; raises InvalidSettings, also if there is none."""
    if not settings.kp_imap_url:
        raise InvalidSettings("setting KP_IMAP_URL: is needed to read a mailbox; or let the mail server pipe mails in")
    password = settings.kp_imap_password
    return parse_imap_url(settings.kp_imap_url.get_secret_value(), password.get_secret_value() if password else None)


class Mailbox:
    """One session; whatever goes wrong with it is Unavailable, and the session is over."""

    def __init__(self, client: imaplib.IMAP4, place: ImapPlace, messages: int) -> None:
        self._client, self._place = client, place
        #: Mails in the folder when it was opened.
        self.messages = messages
        self._folders: set[str] = set()
        # A server says less before the login than after it.
        said = self._do("CAPABILITY", client.capability)
        self._offers = {word.upper() for line in said for word in line.decode("ascii", "replace").split()}
        self._prefix = self._own_prefix()

    def waiting(self) -> list[int]:
        """The UIDs of the mails that come next, oldest first."""
        for first in range(1, self.messages + 1, MOST_MAILS):
            last = min(first + MOST_MAILS - 1, self.messages)
            # By number, not all at once: a mailbox may hold any number of mails.
            found = self._do("UID SEARCH", self._client.uid, "SEARCH", f"{first}:{last}", "UNDELETED")
            if uids := sorted(int(uid) for line in found if line for uid in line.split()):
                return uids
        return []

    def read(self, uid: int) -> bytes | None:
        """The beginning of a mail, as much as is looked at; unread marks stay. None: somebody took it away."""
        answer = self._do("UID FETCH", self._client.uid, "FETCH", str(uid), f"(BODY.PEEK[]<0.{MOST_BYTES}>)")
        return next((bytes(one[1]) for one in answer if isinstance(one, tuple)), None)

    def put_away(self, uid: int, folder: str) -> None:
        """Moves a mail to one of our folders, made if it is not there. Twice leaves a second copy there at worst."""
        name = f'"{self._prefix}{folder}"'
        if folder not in self._folders:
            self._client.create(name)  # refused where it exists
            self._folders.add(folder)
        if "MOVE" in self._offers:
            self._do("UID MOVE", self._client.uid, "MOVE", str(uid), name)
            return
        self._do("UID COPY", self._client.uid, "COPY", str(uid), name)
        self._do("UID STORE", self._client.uid, "STORE", str(uid), "+FLAGS.SILENT", r"(\Deleted)")
        if "UIDPLUS" in self._offers:
            self._do("UID EXPUNGE", self._client.uid, "EXPUNGE", str(uid))

    def _own_prefix(self) -> str:
        """What a server puts before folders of one's own, such as 'INBOX.'."""
        if "NAMESPACE" not in self._offers:
            return ""
        found = _PREFIX.match(self._do("NAMESPACE", self._client.namespace)[0] or b"")
        return found[1].decode("ascii", "ignore") if found else ""

    def _do(self, what: str, call: Any, *arguments: str) -> list[Any]:
        verdict, answer = call(*arguments)
        if verdict != "OK":
            raise Unavailable("mailbox", self._place.address, f"{what}: {_words(answer)}")
        return list(answer)


@contextmanager
def open_mailbox(place: ImapPlace, timeout: float) -> Iterator[Mailbox]:
    """A session, its certificate checked; raises Unavailable with the server's words, now and while it lasts."""
    client: imaplib.IMAP4 | None = None
    try:
        client = _connected(place, timeout)
        client.login(place.user, place.password)
        verdict, answer = client.select(f'"{place.folder}"')
        if verdict != "OK":
            raise Unavailable("mailbox", place.address, f"folder {place.folder}: {_words(answer)}")
        yield Mailbox(client, place, int(answer[0] or b"0"))
        client.logout()
    except (imaplib.IMAP4.error, OSError, ValueError) as exc:
        raise Unavailable("mailbox", place.address, _words([str(exc)]) or type(exc).__name__) from exc
    finally:
        if client is not None:
            _hang_up(client)


def _hang_up(client: imaplib.IMAP4) -> None:
    with suppress(OSError):  # closed already
        client.shutdown()


def _connected(place: ImapPlace, timeout: float) -> imaplib.IMAP4:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if place.tls == "implicit":
        return imaplib.IMAP4_SSL(place.host, place.port, ssl_context=context, timeout=timeout)
    client = imaplib.IMAP4(place.host, place.port, timeout=timeout)
    if place.tls == "starttls":
        try:
            client.starttls(context)
        except BaseException:
            _hang_up(client)
            raise
    return client


def _words(answer: list[Any]) -> str:
    """One line of what a server said."""
    said = b" ".join(one if isinstance(one, bytes) else str(one).encode() for one in answer if one)
    return " ".join(said.decode("utf-8", "replace").split())[:200]
