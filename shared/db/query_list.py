"""Queries as people read them: the list, and one with its history (D3, D21)."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.history import load_history
from shared.db.named_records import find_named
from shared.db.tables import application_queries, contact_jobs
from shared.errors import NotFound

_Q, _J = application_queries.c, contact_jobs.c


async def list_queries(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every query by name, with the number of its conditions and of the jobs that ask it."""
    jobs = select(func.count()).where(_J.query_id == _Q.id).scalar_subquery().label("jobs")
    rows = await connection.execute(select(_Q.name, _Q.filters, _Q.version, jobs).order_by(_Q.name_folded))
    return [
        {"name": row.name, "conditions": len(row.filters), "version": row.version, "jobs": row.jobs} for row in rows
    ]


async def show_query(connection: AsyncConnection, name: str) -> dict[str, Any]:
    """One query with its filters as in a setup file, its jobs and the history of its changes. Raises NotFound."""
    row = await find_named(connection, application_queries, name)
    if row is None:
        raise NotFound("query", name)
    jobs = await connection.execute(select(_J.name).where(_J.query_id == row["id"]).order_by(_J.name_folded))
    return {
        "name": row["name"],
        "version": row["version"],
        "filters": row["filters"],
        "jobs": list(jobs.scalars()),
        "history": await load_history(connection, "query", row["id"]),
    }
