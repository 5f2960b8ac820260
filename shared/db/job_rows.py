"""A job as a row: found by name, and its schedule."""

from collections.abc import Mapping
from datetime import time
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import contact_jobs
from shared.domain.schedule import Schedule
from shared.domain.text import fold
from shared.errors import NotFound


async def load_job_row(connection: AsyncConnection, name: str) -> Mapping[str, Any]:
    """The job of that name; raises NotFound with the nearest name."""
    j = contact_jobs.c
    row = (await connection.execute(select(contact_jobs).where(j.name_folded == fold(name)))).mappings().first()
    if row is None:
        names = (await connection.execute(select(j.name))).scalars().all()
        raise NotFound("job", name, next(iter(get_close_matches(name, names, 1, cutoff=0.5)), None))
    return dict(row)


def schedule_of(job: Mapping[Any, Any]) -> Schedule:
    """The schedule that a job's row describes."""
    return Schedule(
        dispatch_time=time.fromisoformat(job["dispatch_time"]),
        time_zone=ZoneInfo(job["time_zone"]),
        cycle_months=job["cycle_months"] if job["dispatch_mode"] == "cyclic" else None,
        anchor_on=job["anchor_on"],
        lead_days=job["lead_days"],
        working_days=job["working_days"],
        holidays=job["holidays"],
    )
