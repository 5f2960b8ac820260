"""A letter that was handed over, written once more: for whoever asks what was sent to them (Art. 15 GDPR)."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.mailer.letters import open_letters
from shared.db.letter_data import load_applications
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, contact_jobs
from shared.db.write_orders.claims import ClaimedOrder
from shared.domain.mail_addresses import usable_address
from shared.errors import KontaktpflegeError
from shared.settings import Settings

_J = contact_jobs.c


async def write_again(
    settings: Settings, connection: AsyncConnection, order: Mapping[str, Any], message_id: str, digest: str
) -> bytes | None:
    """The mail of an order, if it is byte for byte the one whose SHA-256 was kept; else None.

    It is written from the version that was pinned and from what is known of the person now: where that has changed
    since, or was erased, another mail comes of it, and nobody can tell any more what exactly was sent. So it is under
    other settings of links and DKIM than the mailer's. Raises InvalidSettings.
    """
    # An order keeps the address as it was given; it went to its normal form.
    if (recipient := usable_address(order["email"])) is None:
        return None
    # As values: letters are made for one person at a time, so no more than one is kept.
    letters, in_database = open_letters(settings), await load_system_settings(connection)
    job = (await connection.execute(select(_J.sender, _J.sender_fallback).where(_J.id == order["job_id"]))).first()
    (application,) = await load_applications(connection, applications.c.id == order["application_id"])
    claimed = ClaimedOrder(
        **{name: order[name] for name in ("id", "type", "job_id", "job_name", "letter_id", "letter_version")},
        **{name: order[name] for name in ("time_zone", "mail_date", "expires_at")},
        email=recipient,
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
        mail = letters.write(claimed, await letters.prepare(connection, [claimed], in_database))
    except KontaktpflegeError:
        return None
    return mail.content if sha256(mail.content).hexdigest() == digest else None
