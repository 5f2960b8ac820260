"""The history of jobs, queries and letters: field by field, in the transaction of the change (D3)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import application_statuses, events

#: (field, old, new) as people read them.
Change = tuple[str, Any, Any]


async def record_changes(
    connection: AsyncConnection,
    noun: str,
    record_id: int | None,
    name: str,
    action: str,
    changes: Iterable[Change],
    *,
    author: str,
    now: datetime,
) -> None:
    """One event per changed field; one without a field where nothing but the act is to be told."""
    common = {"at": now, "author": author, "action": action, "noun": noun}
    common |= {"record_id": record_id, "record_name": name}
    rows = [common | {"field": field, "old": as_text(old), "new": as_text(new)} for field, old, new in changes]
    await connection.execute(insert(events), rows or [common | {"field": None, "old": None, "new": None}])


@dataclass(frozen=True, slots=True)
class StatusChange:
    """An application's status before and after, by id; None: it has none."""

    application_id: int
    external_id: str
    old_id: int | None
    new_id: int | None
    at: datetime


async def record_status_changes(connection: AsyncConnection, changes: Sequence[StatusChange], author: str) -> None:
    """One event per application whose status really changed, by the names that the statuses have now."""
    changes = [one for one in changes if one.old_id != one.new_id]
    if not changes:
        return
    s = application_statuses.c
    ids = {id_ for one in changes for id_ in (one.old_id, one.new_id)}
    names: dict[int | None, str] = dict((await connection.execute(select(s.id, s.name).where(s.id.in_(ids)))).all())
    common = {"author": author, "action": "change", "noun": "application", "field": "status"}
    rows = [
        {"at": one.at, "record_id": one.application_id, "record_name": one.external_id}
        | {"old": names.get(one.old_id), "new": names.get(one.new_id)}
        for one in changes
    ]
    await connection.execute(insert(events), [common | row for row in rows])


async def load_history(connection: AsyncConnection, noun: str, record_id: int) -> list[dict[str, Any]]:
    """The changes of one record, newest first."""
    e = events.c
    columns = (e.at, e.author, e.action, e.field, e.old, e.new, e.reason)
    statement = select(*columns).where(e.noun == noun, e.record_id == record_id).order_by(e.id.desc())
    rows = (await connection.execute(statement)).mappings()
    return [{**row, "at": row["at"].isoformat()} for row in rows]


def as_text(value: Any) -> str | None:
    """A value as the history keeps it."""
    if value is None:
        return None
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat() if isinstance(value, date) else str(value)
