"""What became of each mail, synced to disk before its sender is answered."""

import asyncio
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]*>)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(rb"<([^>]*)>")


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What became of one mail whose final dot arrived. `code`: the verdict, told or not; None: none was reached."""

    message_id: str
    recipient: str
    sha256: str
    code: int | None
    stored: bool
    replied: bool


@dataclass(frozen=True, slots=True)
class TakenMail:
    """One accepted mail, as a mailbox would hold it."""

    sender: str
    recipient: str
    content: bytes
    #: time.monotonic() when it was accepted.
    at: float
    #: Whether MAIL asked for SMTPUTF8 (RFC 6531).
    smtputf8: bool = False


class Ledger:
    """Append-only JSON lines; what arrives while one sync is under way shares the next, and is answered after it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._waiting: list[tuple[bytes, Callable[[], None]]] = []
        self._syncing: asyncio.Task[None] | None = None

    def enter(self, entry: LedgerEntry, then: Callable[[], None]) -> None:
        """Writes the entry and calls `then` once it is on disk."""
        self._waiting.append((json.dumps(asdict(entry)).encode() + b"\n", then))
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def close(self) -> None:
        """Writes what waits and lets go of the file."""
        if self._syncing is not None:
            await self._syncing
        os.close(self._descriptor)

    async def _sync(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            await asyncio.to_thread(self._write, b"".join(line for line, _ in waiting))
            for _, then in waiting:
                then()

    def _write(self, lines: bytes) -> None:
        os.write(self._descriptor, lines)
        os.fdatasync(self._descriptor)


def read_ledger(path: Path) -> list[LedgerEntry]:
    """All entries of a ledger file."""
    return [LedgerEntry(**json.loads(line)) for line in path.read_text().splitlines()]


def message_id_in(mail: bytes) -> str:
    """Its Message-ID; empty if it has none."""
    found = _MESSAGE_ID.search(mail)
    return found[1].decode("utf-8", "replace") if found else ""


def path_in(line: bytes) -> str:
    """The address that MAIL or RCPT names."""
    found = _PATH.search(line)
    return found[1].decode("utf-8", "replace") if found else ""
