"""How fast letters may go out, for all mailers together: to the relay, and to one recipient domain (I16).

A row for each limit holds the moment of the next free slot. Times are the application's; rates are letters per second.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.service_tables import send_slots

_S = send_slots.c
#: Slots are taken so far ahead at most: a mailer that dies wastes no more.
AHEAD = timedelta(seconds=2)
#: The row of a domain that nobody wrote to for so long is removed.
FORGOTTEN = timedelta(days=1)


async def take_relay_slots(
    connection: AsyncConnection, relay: str, rate: float, wanted: int, now: datetime
) -> tuple[datetime, int]:
    """Up to `wanted` slots: when the first one is, and how many were taken. None taken: ask again at that moment."""
    scope = f"relay {relay}"
    slot = (await _locked(connection, [scope], now))[scope]
    first = max(slot["next_at"], now)
    room = int((now + AHEAD - first).total_seconds() * rate)
    taken = min(wanted, max(room, 1 if first <= now else 0))
    await _keep(connection, [(scope, first + taken * timedelta(seconds=1 / rate), now)])
    return first, taken


async def take_domain_slots(
    connection: AsyncConnection, domains: Sequence[str], rate: float, now: datetime
) -> list[tuple[datetime, bool]]:
    """For each letter, in this order, by its domain: its slot and True, or when to ask again and False.

    Who has to ask again is spread over the time that those before need, so that a long queue is not looked at in vain.
    """
    step = timedelta(seconds=1 / rate)
    slots = await _locked(connection, sorted({f"domain {name}" for name in domains}), now)
    free = {scope: max(row["next_at"], now) for scope, row in slots.items()}
    end = {scope: max(row["queue_end"], free[scope]) for scope, row in slots.items()}
    found = []
    for scope in (f"domain {name}" for name in domains):
        if free[scope] < now + AHEAD:
            found.append((free[scope], True))
            free[scope] += step
        else:
            end[scope] = max(end[scope], free[scope]) + step
            found.append((end[scope], False))
    await _keep(connection, [(scope, free[scope], end[scope]) for scope in sorted(slots)])
    return found


async def forget_idle_slots(connection: AsyncConnection, now: datetime) -> None:
    """Removes the rows of limits that bind nobody any more."""
    await connection.execute(delete(send_slots).where(_S.next_at < now - FORGOTTEN, _S.queue_end < now))


async def _locked(connection: AsyncConnection, scopes: Sequence[str], now: datetime) -> dict[str, Mapping[str, Any]]:
    """The rows of these limits, made where they are missing, locked in the order of their names."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = [{"scope": scope, "next_at": now, "queue_end": now} for scope in scopes]
    await connection.execute(dialect.insert(send_slots).on_conflict_do_nothing(index_elements=["scope"]), new)
    statement = select(send_slots).where(_S.scope.in_(scopes)).order_by(_S.scope).with_for_update()
    return {row["scope"]: dict(row) for row in (await connection.execute(statement)).mappings()}


async def _keep(connection: AsyncConnection, slots: Sequence[tuple[str, datetime, datetime]]) -> None:
    statement = update(send_slots).where(_S.scope == bindparam("_scope"))
    values = {
        "next_at": bindparam("_next", type_=_S.next_at.type),
        "queue_end": bindparam("_end", type_=_S.queue_end.type),
    }
    rows = [{"_scope": scope, "_next": next_at, "_end": end} for scope, next_at, end in slots]
    await connection.execute(statement.values(values), rows)
