"""Which applications are due for reduction to core data, and the doing of it, in order and in batches (D42).

Only what this system rejected: `rejected_by_letter_at` is set when a letter sets a rejected status, and emptied when
anything gives the application another one that is not rejected.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.core_data import erased_columns, reduce_to_core_data
from shared.db.engine import Database
from shared.db.holds import load_hold
from shared.db.system_settings import SystemSettings, load_system_settings
from shared.db.tables import (
    application_statuses,
    applications,
    contact_entries,
    custom_fields,
    persons,
    write_orders,
)
from shared.domain.schedule import add_months, latest_start_of_full_months, start_of_day
from shared.retry import retry_conflicts

_A, _P, _S = applications.c, persons.c, application_statuses.c
#: Applications reduced in one transaction.
BATCH = 200


@dataclass(frozen=True, slots=True)
class DueReduction:
    """An application that is due, since which local day, and what would be erased of it."""

    application: str
    due_since: date
    fields: tuple[str, ...]
    custom_fields: int
    #: Contact entries with a subject, a body or an author.
    contact_contents: int
    orders: int


async def due_reductions(connection: AsyncConnection, now: datetime) -> list[DueReduction]:
    """Everything that is due, the longest due first. Changes nothing; with `off` nothing is due."""
    settings = await load_system_settings(connection)
    names = [*erased_columns(settings), "pool_since"]
    columns = (_A.id, _A.external_id, _A.rejected_by_letter_at, *(_A[name] for name in names))
    statement = select(*columns).where(_is_due(settings, now)).order_by(_A.rejected_by_letter_at, _A.id)
    rows = (await connection.execute(statement)).mappings().all()
    counts = await _counts(connection, settings, now)
    return [
        DueReduction(
            application=row["external_id"],
            due_since=_due_since(row["rejected_by_letter_at"], settings),
            fields=tuple(name for name in names if row[name] is not None),
            custom_fields=counts["custom_fields"].get(row["id"], 0),
            contact_contents=counts["contact_contents"].get(row["id"], 0),
            orders=counts["orders"].get(row["id"], 0),
        )
        for row in rows
    ]


async def reduce_due(database: Database, *, now: datetime, author: str) -> AsyncIterator[int]:
    """Reduces what is due, batch by batch, each in a transaction; yields how many so far. Nobody under the hold."""
    done = 0
    while True:
        found, reduced = await retry_conflicts(lambda: _reduce_batch(database, now, author))
        if not found:
            return
        done += reduced
        yield done


async def forget_lifted_rejections(connection: AsyncConnection, application_ids: Sequence[int]) -> None:
    """These may have got another status: what is no longer rejected was not finally rejected by this system (D42)."""
    if not application_ids:
        return
    rejected = select(_S.id).where(_S.meta == "rejected")
    lifted = and_(_A.reduced_at.is_(None), or_(_A.status_id.is_(None), _A.status_id.not_in(rejected)))
    which = (_A.id.in_(application_ids), _A.rejected_by_letter_at.is_not(None), lifted)
    await connection.execute(update(applications).where(*which).values(rejected_by_letter_at=None))


async def _reduce_batch(database: Database, now: datetime, author: str) -> tuple[int, int]:
    """How many were due, and how many of them still when they were locked."""
    async with database.begin() as connection:
        if await load_hold(connection):
            return 0, 0  # what came since the backup is not known, and nothing erased comes back
        settings = await load_system_settings(connection)
        due = _is_due(settings, now)
        first = select(_A.id).where(due).order_by(_A.rejected_by_letter_at, _A.id).limit(BATCH)
        ids = list((await connection.execute(first)).scalars())
        theirs = select(_A.person_id).where(_A.id.in_(ids))
        await connection.execute(select(_P.id).where(_P.id.in_(theirs)).order_by(_P.id).with_for_update())
        still = select(_A.id).where(_A.id.in_(ids), due).order_by(_A.id).with_for_update()
        locked = list((await connection.execute(still)).scalars())
        await reduce_to_core_data(connection, locked, settings, now, author)
    return len(ids), len(locked)


def _months(settings: SystemSettings) -> int | None:
    """How many months after the rejection; None: never."""
    wish = settings.reduce_core_data
    if isinstance(wish, dict):
        return int(wish["after_months"])
    return 0 if wish == "at_once" else None


def _is_due(settings: SystemSettings, now: datetime) -> ColumnElement[bool]:
    """Rejected by a letter of this system so long ago, rejected still, not reduced."""
    months = _months(settings)
    if months is None:
        return false()
    last_day = latest_start_of_full_months(now.astimezone(settings.zone).date(), months)
    before = start_of_day(last_day + timedelta(days=1), settings.zone)
    rejected = _A.status_id.in_(select(_S.id).where(_S.meta == "rejected"))
    return and_(_A.rejected_by_letter_at < before, _A.reduced_at.is_(None), rejected)


def _due_since(rejected_at: datetime, settings: SystemSettings) -> date:
    return add_months(rejected_at.astimezone(settings.zone).date(), _months(settings) or 0)


async def _counts(connection: AsyncConnection, settings: SystemSettings, now: datetime) -> dict[str, dict[int, int]]:
    due = select(_A.id).where(_is_due(settings, now))
    c = contact_entries.c
    content = or_(c.subject.is_not(None), c.body.is_not(None), c.author.is_not(None))
    whose: dict[str, tuple[Any, list[Any]]] = {
        "custom_fields": (custom_fields.c.application_id, []),
        "contact_contents": (c.application_id, [content]),
        "orders": (write_orders.c.application_id, []),
    }
    found = {}
    for name, (owner, conditions) in whose.items():
        statement = select(owner, func.count()).where(owner.in_(due), *conditions).group_by(owner)
        found[name] = {row[0]: int(row[1]) for row in await connection.execute(statement)}
    return found
