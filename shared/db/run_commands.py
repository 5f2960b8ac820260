"""What people ask of dispatches: the list of a job's runs (D16), and to let a held one go (D36)."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.job_basis import Shown, refuse_other_basis
from shared.db.job_rows import load_job_row
from shared.db.order_list import count_orders_of_run
from shared.db.runs import approval_of, held_number, list_runs, lock_lineage
from shared.db.tables import dispatch_runs, events
from shared.db.transactions import in_transaction
from shared.errors import Outdated, Refused

_R = dispatch_runs.c


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


async def release_held(database: Database, name: str, *, author: str, now: datetime, shown: Shown | None = None) -> int:
    """Lets the held dispatches of a job go; returns how many. Raises Refused if none is held.

    With `shown` the first of them, and no more letters than were shown; raises Outdated if it is another one by now.
    """

    async def work(connection: AsyncConnection) -> int:
        job = await load_job_row(connection, name)
        await lock_lineage(connection, job["lineage_id"])
        held: tuple[ColumnElement[bool], ...] = (
            _R.job_id == job["id"],
            _R.state == "open",
            _R.reason.startswith("held:"),
        )
        values: dict[str, Any] = {"unheld": True, "due_at": now, "rung_at": None}
        if shown is not None:
            await refuse_other_basis(connection, job["id"], shown.basis)
            first = select(_R.id, _R.reason).where(*held).order_by(_R.send_at, _R.id).limit(1)
            for run_id, reason in await connection.execute(first):
                if held_number(reason) > shown.count:
                    raise Outdated(f"{held_number(reason)} letters are held, not {shown.count}; look at it again")
                held = (*held, _R.id == run_id)
            values["reason"] = approval_of(shown.count)
        count = (await connection.execute(update(dispatch_runs).where(*held).values(values))).rowcount
        if not count:
            raise Refused(f"job {job['name']!r} has no held dispatch")
        event = {"at": now, "author": author, "action": "release", "noun": "job", "record_id": job["id"]}
        await connection.execute(insert(events).values(event | {"record_name": job["name"]}))
        return count

    return await in_transaction(database, work)
