"""Locks on contact jobs: shared by who plans or sends for one, exclusive for who changes it (D4, I9).

A row lock FOR SHARE alone is unfair on PostgreSQL: new sharers do not queue behind a waiting writer, so a switch to Aus
could wait as long as several mailers send at full speed. The advisory lock before it queues in order of arrival. SQLite
has one writer at a time and needs neither.

Rows are locked FOR NO KEY UPDATE (`key_share`): their ids never change, and FOR UPDATE would wait for every transaction
that has inserted a row which refers to them, such as the run that `job run` has just recorded.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, bindparam, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import IdList, any_of
from shared.db.prepared import Prepared
from shared.db.tables import contact_jobs, lineages

_J = contact_jobs.c
#: Namespace of the advisory locks, whose second part is the job's id.
_NAMESPACE = 0x6B70
_IDS = bindparam("ids", type_=IdList())


_ONE = func.unnest(_IDS).column_valued("one")


def _each(lock: Any) -> Prepared:
    # The locks are taken in the order of the ids.
    return Prepared(lambda: select(lock(literal(_NAMESPACE, Integer), cast(_ONE, Integer))))


_QUEUE, _SHARED_QUEUE = _each(func.pg_advisory_xact_lock), _each(func.pg_advisory_xact_lock_shared)
_SHARED = Prepared(lambda: select(_J.id).where(any_of(_J.id, _IDS)).order_by(_J.id).with_for_update(read=True))


@cache
def _shared(columns: tuple[ColumnElement[Any], ...]) -> Prepared:
    return Prepared(lambda: select(*columns).where(any_of(_J.id, _IDS)).order_by(_J.id).with_for_update(read=True))


async def share_jobs(
    connection: AsyncConnection, columns: Sequence[ColumnElement[Any]], ids: Collection[int]
) -> list[dict[str, Any]]:
    """These columns of these jobs, which stay as they are until the transaction ends."""
    if not ids:
        return []
    await _wait_in(_SHARED_QUEUE, connection, ids)
    names = tuple(str(column.key) for column in columns)
    rows = await _shared(tuple(columns)).fetch(connection, ids=sorted(ids))
    return [dict(zip(names, row, strict=True)) for row in rows]


async def hold_jobs(connection: AsyncConnection, ids: Collection[int]) -> None:
    """The same without reading them: they stay as they are until the transaction ends."""
    await _wait_in(_SHARED_QUEUE, connection, ids)
    await _wait_in(_SHARED, connection, ids)


async def lock_jobs(connection: AsyncConnection, which: ColumnElement[bool], *, with_lineage: bool = True) -> None:
    """Locks jobs for a change, by ascending id; their lineages first, as everywhere."""
    if with_lineage:
        theirs = select(lineages.c.id).where(lineages.c.id.in_(select(_J.lineage_id).where(which)))
        await connection.execute(theirs.order_by(lineages.c.id).with_for_update(key_share=True))
    statement = select(_J.id).where(which)
    await _wait_in(_QUEUE, connection, (await connection.execute(statement)).scalars().all())
    await connection.execute(statement.order_by(_J.id).with_for_update(key_share=True))


async def _wait_in(lock: Prepared, connection: AsyncConnection, ids: Collection[int]) -> None:
    if ids and connection.dialect.name == "postgresql":
        await lock.execute(connection, ids=sorted(ids))
