"""Signs of life of the services, and queue depths as last seen; by the database's clock, so every reader agrees."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import lease_clock
from shared.db.service_tables import queue_depths, service_instances

_S = service_instances.c


async def beat(connection: AsyncConnection, service: str, instance: str) -> None:
    """Says that an instance of a service is alive."""
    mine = update(service_instances).where(_S.service == service, _S.instance == instance)
    if not (await connection.execute(mine.values(seen_at=lease_clock()))).rowcount:
        values = {"service": service, "instance": instance, "started_at": lease_clock(), "seen_at": lease_clock()}
        await connection.execute(insert(service_instances).values(values))


async def forget(connection: AsyncConnection, service: str, instance: str) -> None:
    """An instance ended in order; and whoever was unseen for a day is gone too."""
    own = delete(service_instances).where(_S.service == service, _S.instance == instance)
    await connection.execute(own)
    await connection.execute(delete(service_instances).where(_S.seen_at < lease_clock(-86_400)))


async def live_services(connection: AsyncConnection, within_seconds: float) -> dict[str, int]:
    """How many instances of each service were seen lately."""
    statement = select(_S.service, func.count()).where(_S.seen_at > lease_clock(-within_seconds)).group_by(_S.service)
    return {service: int(count) for service, count in (await connection.execute(statement)).all()}


async def store_depths(connection: AsyncConnection, depths: Iterable[tuple[str, int, int]], now: datetime) -> None:
    """Remembers (queue, messages, consumers) for readers that cannot ask the broker."""
    # Sorted: several schedulers write the same rows, and must lock them in the same order.
    rows = [
        {"queue": queue, "messages": messages, "consumers": consumers, "measured_at": now}
        for queue, messages, consumers in sorted(depths)
    ]
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(queue_depths)
    seen = {name: statement.excluded[name] for name in ("messages", "consumers", "measured_at")}
    if rows:
        await connection.execute(statement.on_conflict_do_update(index_elements=["queue"], set_=seen), rows)
