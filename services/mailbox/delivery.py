"""`mailbox deliver`: one mail from a mail server's pipe. What people may want to see is kept as a file (Maildir)."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from services.mailbox.reading import Folder, Reader, read_mail
from shared.domain.mail_parts import MOST_BYTES as MOST_KEPT_BYTES
from shared.domain.mail_parts import MOST_HEAD_BYTES, split_head
from shared.errors import InvalidInput

#: Bytes of a mail that is taken: more than mail servers let through.
MOST_BYTES = 64 << 20
#: Days that a mail is kept (docs/retention.md), and bytes of all that are: strangers do not fill the journal's disk.
KEPT_DAYS, MOST_BYTES_OF_ALL = 90, 200 << 20
#: Bytes that a file takes up at least, however small it is.
_BLOCK = 4096
#: Answers to the mail server (sysexits.h): refused for good, and try again later.
DATA_ERROR, TRY_AGAIN = 65, 75


def receive(pipe: BinaryIO, recipient: str | None) -> bytes:
    """The whole mail; raises InvalidInput for what is none. `recipient`: where it was sent to, as the server says."""
    raw = pipe.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise InvalidInput("mail", f"more than {MOST_BYTES} bytes", "is too large")
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]  # how mailbox files begin a mail
    fields, _ = split_head(raw[: 2 * MOST_HEAD_BYTES].replace(b"\r\n", b"\n"))
    if not fields:
        raise InvalidInput("mail", raw[:40].decode("ascii", "replace"), "must begin with a head, as mails do")
    return f"Delivered-To: {' '.join(recipient.split())}\n".encode() + raw if recipient else raw


async def deliver(reader: Reader, raw: bytes, state_dir: Path) -> Folder:
    """Reads it, and keeps answers and what was not understood under the state directory. Twice is as once.

    Kept is what was looked at, the first megabyte, for KEPT_DAYS; where there is no room left the log has the
    Message-ID. Raises OSError if it cannot be kept: the mail server is to try again.
    """
    read = await read_mail(reader, raw)
    mailbox = state_dir / "mailbox"
    taken = await asyncio.to_thread(_remove_old, mailbox)
    if read.folder is Folder.RETURNED:
        return read.folder
    kept = raw[:MOST_KEPT_BYTES]
    if taken + len(kept) + _BLOCK > MOST_BYTES_OF_ALL:
        # Its effect is committed: coming again would not help it, and there would be no more room.
        reader.log.error("mail_not_kept", action="mail_not_kept", folder=read.folder.value, taken=taken)
    else:
        await asyncio.to_thread(_keep, mailbox / read.folder.value, read.fingerprint, kept)
    return read.folder


def _remove_old(mailbox: Path) -> int:
    """Removes what was kept for long enough; the bytes that the rest takes up."""
    # The files' own time: a mail program that moves a mail on leaves it.
    oldest, taken = time.time() - KEPT_DAYS * 86400, 0
    for path in mailbox.rglob("*"):
        with suppress(FileNotFoundError):  # another delivery, or a mail program, was faster
            found = path.lstat()
            if path.is_dir():
                continue
            if found.st_mtime < oldest:
                path.unlink()
            else:
                taken += found.st_size + _BLOCK
    return taken


def _keep(folder: Path, name: str, raw: bytes) -> None:
    """As a Maildir: written beside, then moved, so that no reader sees a half."""
    for part in ("tmp", "new", "cur"):
        (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    written = folder / "tmp" / f"{name}.{os.getpid()}"
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    written.replace(folder / "new" / name)
    for directory in (folder / "tmp", folder / "new"):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
