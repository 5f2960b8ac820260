"""Lineages: a job, its copies and renames; what was sent and blocked for one counts for all (D2, D13)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import blocks, contact_jobs, dispatch_runs, lineages, write_orders


async def new_lineage(connection: AsyncConnection, now: datetime) -> int:
    """A lineage without a past."""
    statement = insert(lineages).values(created_at=now).returning(lineages.c.id)
    return int((await connection.execute(statement)).scalar_one())


async def fresh_lineage(connection: AsyncConnection, old: int, now: datetime) -> int:
    """A lineage whose repeat guard begins anew; the blocks of the old one are carried over (D2)."""
    lineage_id = await new_lineage(connection, now)
    standing = select(blocks).where(blocks.c.lineage_id == old, blocks.c.scope == "job", blocks.c.lifted_at.is_(None))
    rows = (await connection.execute(standing)).mappings().all()
    if rows:
        carried = [{**{k: v for k, v in row.items() if k != "id"}, "lineage_id": lineage_id} for row in rows]
        await connection.execute(insert(blocks), carried)
    return lineage_id


async def leave_lineage(connection: AsyncConnection, job: Mapping[str, Any], now: datetime) -> bool:
    """Gives a copy with another letter a lineage of its own, unless it was dispatched; says whether it did (D2)."""
    r, o = dispatch_runs.c, write_orders.c
    dispatched = select(r.id).where(r.job_id == job["id"], r.released_at.is_not(None)).limit(1)
    if not job["copied_from"] or not await _shares_lineage(connection, job):
        return False
    if (await connection.execute(dispatched)).first() is not None:
        return False
    lineage_id = await fresh_lineage(connection, job["lineage_id"], now)
    for table, whose in ((contact_jobs, contact_jobs.c.id), (dispatch_runs, r.job_id), (write_orders, o.job_id)):
        await connection.execute(update(table).where(whose == job["id"]).values(lineage_id=lineage_id))
    return True


async def _shares_lineage(connection: AsyncConnection, job: Mapping[str, Any]) -> bool:
    j, o = contact_jobs.c, write_orders.c
    other_job = select(j.id).where(j.lineage_id == job["lineage_id"], j.id != job["id"]).limit(1)
    foreign = or_(o.job_id != job["id"], o.job_id.is_(None))
    other_order = select(o.id).where(o.lineage_id == job["lineage_id"], foreign).limit(1)
    for others in (other_job, other_order):
        if (await connection.execute(others)).first() is not None:
            return True
    return False
