"""What the mail server accepted, on this machine's disk before the database hears of it (I20).

A database that is away, or a kill between the server's 250 and T3, must not make a sent letter unclear. Losing the
journal turns at most the letters in that window into `unclear`; it never sends one twice.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from shared.errors import KontaktpflegeError


class JournalFailed(KontaktpflegeError):
    """The mailer's journal cannot be written, so no mail is sent: make KP_STATE_DIR writable and not full."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One accepted letter, by order and claim."""

    order_id: int
    token: int
    code: int
    text: str
    at: datetime
    subject: str | None
    message_id: str | None


class Journal:
    """An append-only file of one mailer, synced before T3, emptied when everything in it is settled."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._open: set[int] = set()
        self._adopted: list[tuple[Path, int]] = []
        #: False after a failed write: then T2 is granted to nobody.
        self.writable = True

    @classmethod
    def open(cls, folder: Path, name: str) -> "Journal":
        """Opens this mailer's own file; raises JournalFailed if the folder cannot be written."""
        path = folder / f"mailer-{name.replace(os.sep, '_').replace(':', '-')}.journal"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fsync(descriptor)
        except OSError as exc:
            raise JournalFailed(f"journal {path}: {exc.strerror}; make KP_STATE_DIR writable, no mail is sent") from exc
        return cls(path, descriptor)

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        """Writes and syncs; raises JournalFailed, and says so in `writable`."""
        if entries:
            self._open.update(entry.token for entry in entries)
            lines = b"".join(_line(entry) for entry in entries)
            await asyncio.to_thread(self._write, lines)

    async def settle(self, tokens: Collection[int]) -> None:
        """These letters are in the database; a journal without open letters is emptied."""
        self._open.difference_update(tokens)
        if tokens and not self._open:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)

    def replay(self) -> list[JournalEntry]:
        """The letters that mailers no longer running left behind; call `forget_adopted` when they are settled."""
        found: list[JournalEntry] = []
        for path in sorted(self._path.parent.glob("mailer-*.journal")):
            descriptor = _lock_if_free(path) if path != self._path else None
            if descriptor is not None:
                self._adopted.append((path, descriptor))
                found += _entries(path)
        return found

    def forget_adopted(self) -> None:
        """Removes the files of `replay`: what was in them is settled."""
        for path, descriptor in self._adopted:
            path.unlink(missing_ok=True)
            os.close(descriptor)
        self._adopted = []

    def close(self) -> None:
        """Lets go of the file; an empty one is removed."""
        for _, descriptor in self._adopted:
            os.close(descriptor)
        if not self._open:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _write(self, lines: bytes) -> None:
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)
            self.writable = True
        except OSError as exc:
            self.writable = False
            raise JournalFailed(f"journal {self._path}: {exc.strerror}") from exc


def _line(entry: JournalEntry) -> bytes:
    return json.dumps({**asdict(entry), "at": entry.at.isoformat()}, ensure_ascii=False).encode() + b"\n"


def _lock_if_free(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # its mailer is alive
        os.close(descriptor)
        return None
    return descriptor


def _entries(path: Path) -> list[JournalEntry]:
    found = []
    for line in path.read_bytes().split(b"\n"):
        # A torn last line was never synced: its letter's fate is not known from here.
        with suppress(ValueError, KeyError, TypeError):
            fields = json.loads(line)
            found.append(JournalEntry(**{**fields, "at": datetime.fromisoformat(fields["at"])}))
    return found
