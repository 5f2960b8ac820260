"""Manual orders and scheduled rejections as rows (D30); the scheduler releases them at their time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.history import record_changes
from shared.db.tables import write_orders


@dataclass(frozen=True, slots=True)
class ManualOrder:
    """A letter that a person writes to one application, now or later."""

    type: str
    task: str | None
    person_id: int
    application_id: int
    letter_id: int
    occasion_day: date
    time_zone: str
    planned_for: datetime
    expires_at: datetime


async def add_manual_order(connection: AsyncConnection, order: ManualOrder, *, author: str, now: datetime) -> int:
    """Plans the order; returns its id."""
    values: Mapping[str, Any] = {
        "type": order.type,
        "task": order.task,
        "created_by": author,
        "person_id": order.person_id,
        "application_id": order.application_id,
        "letter_id": order.letter_id,
        "occasion_day": order.occasion_day,
        "state": "planned",
        "time_zone": order.time_zone,
        "planned_for": order.planned_for,
        "expires_at": order.expires_at,
        "created_at": now,
    }
    statement = insert(write_orders).values(values).returning(write_orders.c.id)
    order_id = int((await connection.execute(statement)).scalar_one())
    changes = [("state", None, "planned")]
    await record_changes(
        connection, "order", order_id, order.task or order.type, "create", changes, author=author, now=now
    )
    return order_id
