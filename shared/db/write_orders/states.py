"""What several transitions share: the columns that a claim fills, and events about many orders at once."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Instant
from shared.db.tables import events, write_orders

#: An order without a claim: what every transition out of `sending` writes.
UNCLAIMED: dict[str, Any] = {"phase": None, "lease_token": None, "lease_until": None}
#: An order that no doorbell shall be rung for.
SILENT: dict[str, Any] = {"ring_at": None}
_o = write_orders.c
#: Orders that a person or a rule can still stop: planned, or on their way and before T2.
STOPPABLE = and_(
    or_(_o.state.in_(("planned", "queued")), and_(_o.state == "sending", _o.phase == "claimed")),
    _o.handed_over_at.is_(None),
)
#: Unclear orders on their way again: what stops the resend makes them unclear again (D37).
RESENDING = and_(
    or_(_o.state == "queued", and_(_o.state == "sending", _o.phase == "claimed")), _o.handed_over_at.is_not(None)
)


async def stop_resends(connection: AsyncConnection, which: ColumnElement[bool], reason: str) -> None:
    """Resends among `which` return to unclear with the reason (D37)."""
    values = {"state": "unclear", "reason": f"resend stopped: {reason}", **SILENT, **UNCLAIMED}
    await connection.execute(update(write_orders).where(which, RESENDING).values(values))


async def record_orders(
    connection: AsyncConnection,
    which: ColumnElement[bool],
    *,
    now: datetime,
    author: str,
    action: str,
    new: str,
    reason: str | None,
) -> None:
    """One event per order that matches, written before the UPDATE of the same condition (I17)."""
    names = ["at", "author", "action", "noun", "record_id", "record_name", "field", "old", "new", "reason"]
    row = select(
        literal(now, Instant()),
        literal(author),
        literal(action),
        literal("order"),
        _o.id,
        _o.job_name,
        literal("state"),
        _o.state,
        literal(new),
        literal(reason),
    ).where(which)
    await connection.execute(insert(events).from_select(names, row))
