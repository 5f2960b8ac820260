"""The log of people about whom something changed that plans look at, and where its readers stand.

Triggers write it (migration 0005), in the transaction that makes the change: nobody can forget to. A reader keeps a
mark. On PostgreSQL that is the oldest transaction still under way when it began to look: whoever committed before is in
what it saw, everybody else has a number from there on, however late the commit comes. On SQLite, where one writes at a
time, it is the next row's id.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    and_,
    cast,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import IdList
from shared.db.service_tables import person_changes

_L = person_changes.c
#: More people than this in one go are logged as everybody: looking at each of them would take longer than at all.
MANY = 10_000
#: The advisory lock between readers, who share it from their mark to their commit, and who forgets what they read.
_LOCK = 0x6B70_6C6F67
_OWN: ColumnElement[int] = cast(cast(func.pg_current_xact_id(), Text), BigInteger)
_OLDEST: ColumnElement[int] = cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger)
_NEXT_ID = text("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'person_changes'), 0) + 1")


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to where a reader has seen changes: everything before `position`, and what `own`, its transaction, did."""

    position: int
    own: int | None = None


async def begin_looking(connection: AsyncConnection) -> Mark:
    """Where a reader stands that looks at its data from now on. Nothing is forgotten before it ends its transaction."""
    if connection.dialect.name == "sqlite":
        return Mark((await connection.execute(_NEXT_ID)).scalar_one())
    await connection.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))
    # Taken by a statement of its own, before the look: what commits in between is looked at twice.
    row = (await connection.execute(select(_OLDEST, _OWN))).one()
    return Mark(row[0], row[1])


async def end_looking(connection: AsyncConnection, mark: Mark) -> Mark:
    """What to keep of it when the reader's own changes are made, as the last thing in its transaction."""
    return await begin_looking(connection) if connection.dialect.name == "sqlite" else mark


async def changed_people(connection: AsyncConnection, since: Mark, limit: int) -> set[int] | None:
    """Whom something changed about; None: more than `limit`, or nobody can say."""
    at_once = func.cardinality if connection.dialect.name == "postgresql" else func.json_array_length
    number = func.coalesce(func.sum(at_once(_L.people)), 0)
    everybody = func.count().filter(_L.people.is_(None), _L.forgotten_to.is_(None))
    which = _from(connection, since.position)
    if since.own is not None:
        which = and_(which, _L.transaction_id != since.own)
    found = (await connection.execute(select(number, everybody, func.max(_L.forgotten_to)).where(which))).one()
    if found[1] or (found[2] or 0) > since.position:
        return None
    # One who changed often is counted as often, so there may be fewer; but not by orders of magnitude.
    if found[0] > 10 * limit:
        return None
    lists = (await connection.execute(select(_L.people).where(which, _L.people.is_not(None)))).scalars()
    people = {one for some in lists for one in some if one is not None}
    return people if len(people) <= limit else None


async def note_people(connection: AsyncConnection, people: Select[Any], number: int) -> None:
    """Logs people whose change no trigger notes, because a whole run of orders changes at once."""
    if not number:
        return
    on_postgresql = connection.dialect.name == "postgresql"
    collected = func.array_agg if on_postgresql else func.json_group_array
    them = people.subquery()
    logged = null() if number > MANY else select(collected(next(iter(them.c)), type_=IdList())).scalar_subquery()
    own = {"transaction_id": _OWN} if on_postgresql else {}
    await connection.execute(insert(person_changes).values(people=logged, **own))


async def lock_log(connection: AsyncConnection) -> bool:
    """Keeps readers away until the end of the transaction; False if there is one: try again another time."""
    if connection.dialect.name == "sqlite":
        return True
    return bool((await connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK)))).scalar_one())


async def any_changes(connection: AsyncConnection) -> bool:
    """Whether there is anything to forget."""
    some = select(_L.id).where(_L.forgotten_to.is_(None)).limit(1)
    return (await connection.execute(some)).first() is not None


async def forget_changes(connection: AsyncConnection, marks: Collection[int]) -> int:
    """Removes what no reader with one of these positions needs; returns how many rows. The log must be locked.

    What was forgotten is on record: a reader who is not among them, and stands before it, has to look at everybody.
    """
    on_sqlite = connection.dialect.name == "sqlite"
    now = (await connection.execute(_NEXT_ID if on_sqlite else select(_OLDEST))).scalar_one()
    first_needed = min(now, *marks) if marks else now
    gone = _position(connection) < first_needed
    if (await connection.execute(select(_L.id).where(gone, _L.forgotten_to.is_(None)).limit(1))).first() is None:
        return 0
    # An older note too, unless it tells of more.
    gone = or_(gone, _L.forgotten_to <= first_needed)
    removed = (await connection.execute(delete(person_changes).where(gone))).rowcount
    own = {} if on_sqlite else {"transaction_id": _OWN}
    await connection.execute(insert(person_changes).values(forgotten_to=first_needed, **own))
    return removed


def _from(connection: AsyncConnection, position: int) -> ColumnElement[bool]:
    return _position(connection) >= position


def _position(connection: AsyncConnection) -> ColumnElement[int]:
    return _L.transaction_id if connection.dialect.name == "postgresql" else _L.id
