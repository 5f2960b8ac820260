"""`run mailbox`: looks into the mailbox every minute and reads what came, mail by mail."""

import asyncio
from collections import Counter
from typing import Any

from services.mailbox.imap import ImapPlace, Mailbox, open_mailbox
from services.mailbox.reading import Folder, Reader, read_mail
from shared.clock import Clock
from shared.db.engine import Database
from shared.domain.returned_mail import Kind
from shared.errors import Conflict, Unavailable
from shared.lifecycle import every
from shared.metrics import MAILBOX_READ, RETURNED_MAILS
from shared.settings import Settings

#: Looks at a mail whose effect could not be committed because of others, before it is left to people.
MOST_CONFLICTS = 5


async def run_mailbox(
    database: Database, clock: Clock, settings: Settings, place: ImapPlace, log: Any, stop: asyncio.Event
) -> None:
    """Looks until `stop`. A mailbox that cannot be reached is looked into again."""
    for kind in Kind:
        RETURNED_MAILS.labels(kind.value)  # what appears as 1 has not increased for Prometheus
    MAILBOX_READ.set_to_current_time()
    reader = Reader(database, clock, settings.return_paths(), log)
    conflicts: Counter[int] = Counter()

    async def look() -> None:
        # A session lives for one look: nothing is known of a connection that was idle for a minute.
        session = open_mailbox(place, settings.kp_imap_timeout_seconds)
        mailbox = await asyncio.to_thread(session.__enter__)
        try:
            await _read_all(reader, mailbox, conflicts, stop)
        except BaseException as exc:
            await asyncio.to_thread(session.__exit__, type(exc), exc, exc.__traceback__)
            raise
        await asyncio.to_thread(session.__exit__, None, None, None)
        MAILBOX_READ.set_to_current_time()

    await every(settings.kp_imap_poll_seconds, look, stop, log)


async def _read_all(reader: Reader, mailbox: Mailbox, conflicts: Counter[int], stop: asyncio.Event) -> None:
    """`conflicts`: how often each mail met others, kept from look to look."""
    for uid in await asyncio.to_thread(mailbox.waiting):
        if stop.is_set():
            return
        raw = await asyncio.to_thread(mailbox.read, uid)
        if raw is None:
            continue
        try:
            folder = (await read_mail(reader, raw)).folder
        except Unavailable:
            raise
        except Conflict:
            conflicts[uid] += 1
            if conflicts[uid] < MOST_CONFLICTS:
                raise
            reader.log.exception("mail_conflicts", action="mail_conflicts", uid=uid)
            folder = Folder.NOT_UNDERSTOOD
        except Exception:
            # A mail that breaks the reader must not stand in the way of those behind it; people find it.
            reader.log.exception("mail_broken", action="mail_broken", uid=uid)
            folder = Folder.NOT_UNDERSTOOD
        await asyncio.to_thread(mailbox.put_away, uid, folder.value)
        del conflicts[uid]
