"""What people ask of dispatches: the list of a job's runs (D16), and to let a held one go (D36)."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import insert, update

from shared.db.engine import Database
from shared.db.job_rows import load_job_row
from shared.db.order_list import count_orders_of_run
from shared.db.runs import list_runs
from shared.db.tables import dispatch_runs, events
from shared.errors import Refused


async def job_runs(database: Database, name: str) -> list[dict[str, Any]]:
    """Past, planned and skipped dispatches of a job, newest first, with their orders by state."""
    async with database.read() as connection:
        job = await load_job_row(connection, name)
        rows = await list_runs(connection, job["id"])
        zone = ZoneInfo(job["time_zone"])
        return [
            {
                "run": row["id"],
                "occasion_day": row["occasion_day"].isoformat(),
                "state": row["state"],
                "send_at": row["send_at"].astimezone(zone).isoformat(),
                "released_at": row["released_at"].astimezone(zone).isoformat() if row["released_at"] else None,
                "recipients": row["recipients"],
                "orders": await count_orders_of_run(connection, row["id"]),
                "reason": row["reason"],
            }
            for row in rows
        ]


async def release_held(database: Database, name: str, *, author: str, now: datetime) -> int:
    """Lets the held dispatches of a job go; returns how many. Raises Refused if none is held."""
    async with database.begin() as connection:
        job = await load_job_row(connection, name)
        r = dispatch_runs.c
        held = update(dispatch_runs).where(r.job_id == job["id"], r.state == "open", r.reason.startswith("held:"))
        count = (await connection.execute(held.values(unheld=True, due_at=now, rung_at=None))).rowcount
        if not count:
            raise Refused(f"job {job['name']!r} has no held dispatch")
        event = {"at": now, "author": author, "action": "release", "noun": "job", "record_id": job["id"]}
        await connection.execute(insert(events).values(event | {"record_name": job["name"]}))
        return count
