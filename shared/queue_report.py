"""The broker's queues and what waits in the rows, for `kontaktpflege queues` and the console's monitor."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.bus.connect import look
from shared.bus.topology import ROUTES
from shared.db.approvals import list_waiting
from shared.db.engine import Database
from shared.db.holds import load_hold
from shared.db.order_list import count_by_state
from shared.db.service_instances import live_services
from shared.db.service_tables import queue_depths
from shared.db.tables import write_orders
from shared.errors import Unavailable
from shared.lifecycle import HEARTBEAT_SECONDS
from shared.settings import Settings

_O = write_orders.c
_MEANINGS = {
    ROUTES[0].queue: "runs waiting for an evaluator",
    ROUTES[1].queue: "letters waiting for a mailer",
    ROUTES[0].dead_queue: "messages no evaluator could read",
    ROUTES[1].dead_queue: "messages no mailer could read",
}


async def report(database: Database, settings: Settings, now: datetime) -> dict[str, Any]:
    """Queues from the broker itself where it can be asked, else as the scheduler last saw them."""
    async with database.read() as connection:
        found = await queues_now(connection, settings)
        return {
            "queues": found,
            "orders": await count_by_state(connection),
            "waiting_reasons": await _waiting_reasons(connection),
            "oldest_waiting": await _oldest(connection, now),
            "services": await live_services(connection, 3 * HEARTBEAT_SECONDS),
            "hold": await load_hold(connection),
            "approvals": [{**one, "asked_at": one["asked_at"].isoformat()} for one in await list_waiting(connection)],
        }


async def queues_now(connection: AsyncConnection, settings: Settings) -> list[dict[str, Any]]:
    """Each queue with its depth: asked of the broker, else as last measured; None where nobody has measured."""
    try:
        depths = await look(settings.broker_url.get_secret_value())
        rows = [(d.queue, d.messages, d.consumers, None) for d in depths]
    except Unavailable:
        q = queue_depths.c
        statement = select(q.queue, q.messages, q.consumers, q.measured_at).order_by(q.queue)
        rows = [
            (r.queue, r.messages, r.consumers, r.measured_at.isoformat()) for r in await connection.execute(statement)
        ]
    # A queue that nobody has measured yet has an unknown depth, not none.
    measured = dict.fromkeys(_MEANINGS, (None, None, None)) | {queue: rest for queue, *rest in rows}
    return [
        {
            "queue": queue,
            "messages": messages,
            "consumers": consumers,
            "measured_at": at,
            "meaning": _MEANINGS.get(queue),
        }
        for queue, (messages, consumers, at) in measured.items()
    ]


async def _waiting_reasons(connection: AsyncConnection) -> dict[str, int]:
    statement = select(_O.reason, func.count()).where(_O.state == "planned", _O.reason.is_not(None)).group_by(_O.reason)
    return {reason: int(count) for reason, count in (await connection.execute(statement)).all()}


async def _oldest(connection: AsyncConnection, now: datetime) -> dict[str, Any] | None:
    statement = select(_O.id, _O.job_name, _O.queued_at).where(_O.state == "queued").order_by(_O.queued_at).limit(1)
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    age = (now - row.queued_at).total_seconds()
    return {"id": row.id, "job": row.job_name, "since": row.queued_at.isoformat(), "age_seconds": round(age, 1)}
