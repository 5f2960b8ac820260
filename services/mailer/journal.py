"""What the mail server accepted, on this machine's disk before the database hears of it (I20).

A database that is away, or a kill between the server's 250 and T3, must not make a sent letter unclear. Losing the
journal turns at most the letters in that window into `unclear`; it never sends one twice.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import orjson

from shared.db.write_orders.outcomes import Settlement
from shared.errors import KontaktpflegeError
from shared.records import record

#: Bytes from which on a journal that never runs empty is rewritten with its open letters only.
MOST_BYTES = 4 * 2**20
#: Seconds between two looks whether a journal that could not be written can be again.
PROBE_SECONDS = 1.0


class JournalFailed(KontaktpflegeError):
    """The mailer's journal cannot be written, so no mail is sent: make KP_STATE_DIR writable and not full."""


@record
class JournalEntry:
    """One accepted letter, by order and claim."""

    order_id: int
    token: int
    code: int
    text: str
    at: datetime
    subject: str | None
    message_id: str | None

    @classmethod
    def of(cls, sent: Settlement) -> "JournalEntry":
        """What is written down of a letter that the mail server accepted."""
        return cls(
            order_id=sent.order_id,
            token=sent.token,
            code=sent.code or 250,
            text=sent.text or "",
            at=sent.at,
            subject=sent.subject,
            message_id=sent.message_id,
        )


class Journal:
    """An append-only file of one mailer, synced before T3, emptied when everything in it is settled."""

    def __init__(self, path: Path, descriptor: int, most_bytes: int = MOST_BYTES) -> None:
        self._path, self._descriptor, self._most_bytes = path, descriptor, most_bytes
        self._open: dict[int, bytes] = {}
        self._size = 0
        self._adopted: list[tuple[Path, int]] = []
        self._failed_at: float | None = None
        # One thread at a time works on the file.
        self._turn = asyncio.Lock()

    @classmethod
    def open(cls, folder: Path, name: str, most_bytes: int = MOST_BYTES) -> "Journal":
        """Opens this mailer's own file; raises JournalFailed if the folder cannot be written."""
        path = folder / f"mailer-{name.replace(os.sep, '_').replace(':', '-')}.journal"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _create(path)
            _sync_folder(folder)
        except OSError as exc:
            raise JournalFailed(f"journal {path}: {exc.strerror}; make KP_STATE_DIR writable, no mail is sent") from exc
        return cls(path, descriptor, most_bytes)

    @property
    def writable(self) -> bool:
        """False from a failed write until the disk takes one again: meanwhile T2 is granted to nobody."""
        waited = self._failed_at is not None and time.monotonic() - self._failed_at >= PROBE_SECONDS
        if waited and not self._turn.locked():
            # Here and not in a thread: while the disk is full there is nothing else to do.
            with suppress(JournalFailed):
                self._write(b"".join(self._open.values()))
        return self._failed_at is None

    async def append(self, entries: Sequence[JournalEntry]) -> None:
        """Writes and syncs; raises JournalFailed; whatever it raises, `writable` says so."""
        if not entries:
            return
        lines = {entry.token: _line(entry) for entry in entries}
        self._open |= lines
        async with self._turn:
            # What of a failed write is on the disk is unknown: everything open is written again.
            missing = lines if self._failed_at is None else self._open
            try:
                await asyncio.to_thread(self._write, b"".join(missing.values()))
            except Exception:
                # Without a thread or memory it is not on the disk either.
                self._failed_at = time.monotonic()
                raise

    async def settle(self, tokens: Collection[int]) -> None:
        """These letters are in the database; what is settled leaves the file when none is open, or it grows large."""
        for token in tokens:
            self._open.pop(token, None)
        async with self._turn:
            if not self._open and self._size:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, 0)
                    self._size = 0
            elif self._size > self._most_bytes:
                with suppress(OSError):
                    await asyncio.to_thread(self._rewrite, b"".join(self._open.values()))

    def replay(self) -> list[JournalEntry]:
        """The letters that mailers no longer running left behind; call `forget_adopted` when they are settled.

        Called again before that, it returns them again: a database may be away at the first try.
        """
        for path in sorted(self._path.parent.glob("mailer-*.journal")):
            descriptor = _lock_if_free(path) if path != self._path else None
            if descriptor is not None:
                self._adopted.append((path, descriptor))
        return [entry for _, descriptor in self._adopted for entry in _entries(descriptor)]

    def forget_adopted(self) -> None:
        """Removes the files of `replay`: what was in them is settled."""
        for path, descriptor in self._adopted:
            path.with_suffix(".new").unlink(missing_ok=True)
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
        # After a failed write a torn line may stand at the end: it must not swallow the next one.
        view = memoryview(lines if self._failed_at is None else b"\n" + lines)
        try:
            self._size += len(view)
            _write_all(self._descriptor, view)
            os.fsync(self._descriptor)
            self._failed_at = None
        except OSError as exc:
            self._failed_at = time.monotonic()
            raise JournalFailed(f"journal {self._path}: {exc.strerror}; no mail is sent until it can be") from exc

    def _rewrite(self, lines: bytes) -> None:
        """A new file with only these lines takes the old one's place, locked before anybody can see it."""
        # A name of another kind, so that no mailer takes the half-written file for a journal.
        beside = self._path.with_suffix(".new")
        descriptor = _create(beside)
        try:
            os.ftruncate(descriptor, 0)
            _write_all(descriptor, memoryview(lines))
            os.fsync(descriptor)
            beside.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        _sync_folder(self._path.parent)
        os.close(self._descriptor)
        self._descriptor, self._size = descriptor, len(lines)


def _create(path: Path) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _line(entry: JournalEntry) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def _lock_if_free(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between open and lock its mailer may have removed or replaced the file.
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except OSError:  # its mailer is alive, or the file is gone
        pass
    os.close(descriptor)
    return None


def _entries(descriptor: int) -> list[JournalEntry]:
    # A line that was written again after a failure stands there twice.
    found = {}
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        lines = file.read().split(b"\n")
    for line in lines:
        # A torn last line was never synced: its letter's fate is not known from here.
        with suppress(ValueError, KeyError, TypeError):
            fields = orjson.loads(line)
            found[fields["token"]] = JournalEntry(**{**fields, "at": datetime.fromisoformat(fields["at"])})
    return list(found.values())
