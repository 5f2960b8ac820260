"""One mail, whichever way it came: understood, its effect committed, counted and logged."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.clock import Clock
from shared.db.engine import Database
from shared.db.returned_mails import Effect, take_in
from shared.domain.return_paths import ReturnPaths
from shared.domain.returned_mail import Kind, understand
from shared.metrics import RETURNED_MAILS


class Folder(StrEnum):
    """Where people find a mail that was read; the names of folders and directories."""

    RETURNED = "kontaktpflege-returned"
    REPLIES = "kontaktpflege-replies"
    NOT_UNDERSTOOD = "kontaktpflege-not-understood"


@dataclass(frozen=True, slots=True)
class Reader:
    """What reading a mail needs."""

    database: Database
    clock: Clock
    return_paths: ReturnPaths | None
    log: Any


@dataclass(frozen=True, slots=True)
class MailRead:
    """Where it belongs, and the name that all its copies have in common."""

    folder: Folder
    fingerprint: str


async def read_mail(reader: Reader, raw: bytes) -> MailRead:
    """Reads one mail; raises Unavailable or Conflict if its effect could not be committed: read it again later."""
    # Milliseconds, or somewhat more for a mail that wants to be expensive.
    mail = await asyncio.to_thread(understand, raw)
    taken = await take_in(reader.database, mail, reader.return_paths, reader.clock.now())
    # Never addresses, words or subjects: they are personal data.
    fields = {"kind": mail.kind.value, "effect": taken.effect.value, "order": taken.order_id, "status": mail.status}
    say = reader.log.info if taken.effect.is_understood else reader.log.warning
    say("mail_returned", action="mail_returned", message_id=mail.message_id, **fields)
    if taken.effect is not Effect.REPEATED:
        RETURNED_MAILS.labels(mail.kind.value if taken.effect.is_understood else Kind.UNKNOWN.value).inc()
    if not taken.effect.is_understood:
        folder = Folder.NOT_UNDERSTOOD
    else:
        folder = Folder.REPLIES if mail.kind is Kind.REPLY else Folder.RETURNED
    return MailRead(folder, mail.fingerprint)
