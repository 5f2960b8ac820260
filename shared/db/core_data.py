"""Reduction to core data (D42): everything that is not core data is erased for good."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.system_settings import SystemSettings
from shared.db.tables import applications, attempts, contact_entries, custom_fields, form_letter_versions, write_orders

#: What is erased unless `core_data_keeps` lists it.
ERASED = ("phone", "email", "salutation", "title", "language", "department", "location", "source", "recruiter")
_FOLDED = ("language", "department", "location", "source", "recruiter")


async def reduce_to_core_data(
    connection: AsyncConnection, application_ids: Sequence[int], settings: SystemSettings, now: datetime
) -> None:
    """Reduces applications; kept are name, birth date, postal address, ids, kind, status, receipt and vacancy."""
    if not application_ids:
        return
    ids = list(application_ids)
    erased = [name for name in ERASED if name not in settings.core_data_keeps]
    values: dict[str, Any] = dict.fromkeys(erased) | {f"{name}_folded": None for name in _FOLDED if name in erased}
    if "email" in erased:
        values["usable_email"] = None
    table = applications.c
    await connection.execute(update(applications).where(table.id.in_(ids)).values(**values, reduced_at=now))
    await connection.execute(delete(custom_fields).where(custom_fields.c.application_id.in_(ids)))
    entries = update(contact_entries).where(contact_entries.c.application_id.in_(ids))
    await connection.execute(entries.values(subject=None, body=None, author=None))
    await _reduce_orders(connection, ids)


async def _reduce_orders(connection: AsyncConnection, application_ids: Sequence[int]) -> None:
    o, version = write_orders.c, form_letter_versions.c
    written = select(o.id, o.email, o.message_id, o.subject, version.subject.label("template"))
    join = write_orders.outerjoin(
        form_letter_versions, (version.letter_id == o.letter_id) & (version.version == o.letter_version)
    )
    rows = (await connection.execute(written.select_from(join).where(o.application_id.in_(application_ids)))).all()
    for row in rows:
        # A subject without placeholders is the letter's text, not the person's data.
        subject = row.subject if row.subject == row.template else None
        values = {"email": _hashed(row.email), "message_id": _hashed(row.message_id), "subject": subject}
        await connection.execute(update(write_orders).where(o.id == row.id).values(**values))
    ids = [row.id for row in rows]
    # The Message-ID stays on the order, hashed.
    erased = {"reply_text": None, "message_id": None}
    await connection.execute(update(attempts).where(attempts.c.order_id.in_(ids)).values(erased))


def _hashed(value: str | None) -> str | None:
    if value is None or value.startswith("sha256:"):
        return value
    return "sha256:" + sha256(value.encode()).hexdigest()
