"""What several transitions share: the columns that a claim fills, and events about many orders at once."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, insert, literal, literal_column, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Instant, any_of
from shared.db.tables import attempts, events, write_orders

#: An order without a claim: what every transition out of `sending` writes.
UNCLAIMED: dict[str, Any] = {"phase": None, "lease_token": None, "lease_until": None}
#: An order that no doorbell shall be rung for.
SILENT: dict[str, Any] = {"ring_at": None}
_o = write_orders.c


def in_state(*states: str) -> ColumnElement[bool]:
    """Orders in one of these states, named in the statement's text: only so do partial indexes always serve it."""
    named = [literal_column(f"'{state}'", _o.state.type) for state in states]
    return _o.state == named[0] if len(named) == 1 else _o.state.in_(named)


#: Orders that a person or a rule can still stop: planned, or on their way and before T2.
STOPPABLE = and_(
    or_(in_state("planned", "queued"), and_(in_state("sending"), _o.phase == "claimed")),
    _o.handed_over_at.is_(None),
)
#: Unclear orders on their way again: what stops the resend makes them unclear again (D37).
RESENDING = and_(
    or_(in_state("queued"), and_(in_state("sending"), _o.phase == "claimed")), _o.handed_over_at.is_not(None)
)


@dataclass(frozen=True, slots=True)
class Change:
    """What the history says of each order that a transition moves: who, when, the state it goes to, and why."""

    now: datetime
    author: str
    action: str
    new: str
    reason: str | None


async def stop_orders(
    connection: AsyncConnection, whose: ColumnElement[bool], values: dict[str, Any], change: Change
) -> set[int]:
    """Ends with `values` what of `whose` can still be stopped; returns the ids. Resends return to unclear (D37)."""
    # Both kinds together, by ascending id: one after the other would be another order of locks.
    locked = await _lock(connection, and_(whose, or_(STOPPABLE, RESENDING)))
    await stop_resends(connection, locked, change)
    which = and_(locked, STOPPABLE)
    await _record(connection, which, change)
    await _end_claims(connection, which, change)
    statement = update(write_orders).where(which).values(**values, **SILENT, **UNCLAIMED)
    return set((await connection.execute(statement.returning(_o.id))).scalars())


async def stop_resends(connection: AsyncConnection, locked: ColumnElement[bool], change: Change) -> None:
    """Resends among these locked orders return to unclear with the reason, whatever state `change` names (D37)."""
    reason = f"resend stopped: {change.reason}"
    which = and_(locked, RESENDING)
    await _record(connection, which, replace(change, new="unclear", reason=reason))
    await _end_claims(connection, which, change)
    values = {"state": "unclear", "reason": reason, **SILENT, **UNCLAIMED}
    await connection.execute(update(write_orders).where(which).values(values))


async def record_orders(connection: AsyncConnection, which: ColumnElement[bool], change: Change) -> ColumnElement[bool]:
    """One event per order that matches, before the UPDATE that changes them (I17).

    They are locked first, by ascending id. Returns the condition for the UPDATE: exactly those that have an event.
    """
    locked = await _lock(connection, which)
    await _record(connection, locked, change)
    return locked


async def _lock(connection: AsyncConnection, which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Locks the orders that match; returns a condition that holds for these alone, whatever happens to others."""
    if connection.dialect.name == "sqlite":
        return which  # there is one writer
    # READ COMMITTED: each statement sees what others have committed meanwhile, so a condition asked twice can give two
    # answers - an event without its change, or a change without its event.
    locked = select(_o.id).where(which).order_by(_o.id).with_for_update()
    ids = list((await connection.execute(locked)).scalars())
    return any_of(_o.id, ids)


async def _record(connection: AsyncConnection, which: ColumnElement[bool], change: Change) -> None:
    names = ["at", "author", "action", "noun", "record_id", "record_name", "field", "old", "new", "reason"]
    row = select(
        literal(change.now, Instant()),
        literal(change.author),
        literal(change.action),
        literal("order"),
        _o.id,
        _o.job_name,
        literal("state"),
        _o.state,
        literal(change.new),
        literal(change.reason),
    ).where(which)
    await connection.execute(insert(events).from_select(names, row))


async def _end_claims(connection: AsyncConnection, which: ColumnElement[bool], change: Change) -> None:
    """Attempts of claimed orders that are stopped get their outcome now: the mailer may not live to write it (I17)."""
    tokens = select(_o.lease_token).where(which, _o.phase == "claimed")
    a = attempts.c
    ended = update(attempts).where(a.lease_token.in_(tokens), a.settled_at.is_(None))
    await connection.execute(ended.values(outcome=f"stopped: {change.reason}", settled_at=change.now))
