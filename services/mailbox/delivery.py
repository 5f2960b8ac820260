"""`mailbox deliver`: one mail from a mail server's pipe. What people may want to see is kept as a file (Maildir)."""

import asyncio
import os
from pathlib import Path
from typing import BinaryIO

from services.mailbox.reading import Folder, Reader, read_mail
from shared.domain.mail_parts import MOST_HEAD_BYTES, split_head
from shared.errors import InvalidInput

#: Bytes of a mail that is taken: more than mail servers let through.
MOST_BYTES = 64 << 20
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

    Raises OSError if it cannot be kept: the mail server is to try again.
    """
    read = await read_mail(reader, raw)
    if read.folder is not Folder.RETURNED:
        await asyncio.to_thread(_keep, state_dir / "mailbox" / read.folder.value, read.fingerprint, raw)
    return read.folder


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
