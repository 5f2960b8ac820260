"""Who refers to a renamed record by its name: filters to statuses, jobs to users. They follow."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.history import record_changes
from shared.db.job_changes import change_job
from shared.db.tables import application_queries, contact_jobs
from shared.domain.text import fold


async def follow_status(connection: AsyncConnection, old: str, new: str, *, author: str, now: datetime) -> list[int]:
    """Queries that filter by the status of the old name; returns their ids."""
    table = application_queries
    found = []
    for row in (await connection.execute(select(table).order_by(table.c.id))).mappings().all():
        filters = [_renamed(one, old, new) for one in row["filters"]]
        if filters == row["filters"]:
            continue
        values = {"filters": filters, "version": row["version"] + 1}
        await connection.execute(update(table).where(table.c.id == row["id"]).values(**values))
        changes = [("filters", row["filters"], filters)]
        await record_changes(connection, "query", row["id"], row["name"], "change", changes, author=author, now=now)
        found.append(row["id"])
    return found


def _renamed(one: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    if one["field"] != "status":
        return dict(one)
    return {
        key: [new if fold(name) == fold(old) else name for name in value] if isinstance(value, list) else value
        for key, value in one.items()
    }


async def follow_user(connection: AsyncConnection, old: str, new: str, *, author: str, now: datetime) -> None:
    """Jobs that send in the name of the user."""
    for job in (await connection.execute(select(contact_jobs).order_by(contact_jobs.c.id))).mappings().all():
        wishes = {key: job[key] for key in ("sender", "sender_fallback") if _names_user(job[key], old)}
        if wishes:
            fields = dict.fromkeys(wishes, f"user:{new}")
            who: dict[str, Any] = {"author": author, "now": now, "by_the_way": True}
            await change_job(connection, job["id"], fields, f"job {job['name']!r}", **who)


def _names_user(wish: str | None, name: str) -> bool:
    return wish is not None and wish.startswith("user:") and fold(wish.removeprefix("user:")) == fold(name)
