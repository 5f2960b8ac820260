"""A letter that was handed over, written once more: for whoever asks what was sent to them (Art. 15 GDPR)."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.mailer.letters import Letters
from shared.db.letter_data import load_applications
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, contact_jobs
from shared.db.write_orders.claims import ClaimedOrder
from shared.errors import KontaktpflegeError

_J = contact_jobs.c


async def write_again(
    connection: AsyncConnection, order: Mapping[str, Any], message_id: str, digest: str
) -> bytes | None:
    """The mail of an order, if it is byte for byte the one whose SHA-256 was kept; else None.

    It is written from the version that was pinned and from what is known of the person now: where that has changed
    since, or was erased, another mail comes of it, and nobody can tell any more what exactly was sent.
    """
    # As values: letters are made for one person at a time, so no more than one is kept.
    letters, settings = Letters(None), await load_system_settings(connection)
    job = (await connection.execute(select(_J.sender, _J.sender_fallback).where(_J.id == order["job_id"]))).first()
    (application,) = await load_applications(connection, applications.c.id == order["application_id"])
    claimed = ClaimedOrder(
        **{name: order[name] for name in ("id", "type", "job_id", "job_name", "letter_id", "letter_version")},
        **{name: order[name] for name in ("time_zone", "mail_date", "email", "expires_at")},
        token=0,
        attempt_no=0,
        deferrals=0,
        on_unclear="ask",
        message_id=message_id,
        sender=job.sender if job else "recruiter",
        sender_fallback=job.sender_fallback if job else None,
        application=application,
    )
    try:
        mail = letters.write(claimed, await letters.prepare(connection, [claimed], settings))
    except KontaktpflegeError:
        return None
    return mail.content if sha256(mail.content).hexdigest() == digest else None
