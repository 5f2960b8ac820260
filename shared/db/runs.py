"""Dispatch runs: one row per job and occasion day (I7), from its plan to its dispatch or skip."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, and_, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import contact_jobs, dispatch_runs, lineages, write_orders

_R, _J = dispatch_runs.c, contact_jobs.c
_HELD = re.compile(r"held: (\d+) > \d+")
_APPROVED = re.compile(r"let go: at most (\d+)")


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be recorded."""

    job: Mapping[str, Any]
    occasion_day: date
    plan_from: datetime
    send_at: datetime


async def lock_lineage(connection: AsyncConnection, lineage_id: int) -> None:
    """The first lock of who plans or records runs: they do so one after another for a lineage."""
    # Not FOR UPDATE: whoever inserts a row that refers to the lineage would wait for the plan.
    statement = select(lineages.c.id).where(lineages.c.id == lineage_id)
    await connection.execute(statement.with_for_update(key_share=True))


async def record_run(connection: AsyncConnection, new: NewRun, now: datetime) -> bool:
    """Records a run, wanting its first synchronisation at once; False if the job has one of that day already.

    The caller has the lineage's lock: two who record the same run would wait for each other's insert, each with a lock
    that the other wants next.
    """
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {
        "job_id": new.job["id"],
        "lineage_id": new.job["lineage_id"],
        "job_name": new.job["name"],
        "occasion_day": new.occasion_day,
        "plan_from": new.plan_from,
        "send_at": new.send_at,
        "state": "open",
        "due_at": now,
    }
    statement = (
        dialect.insert(dispatch_runs).values(values).on_conflict_do_nothing(index_elements=["job_id", "occasion_day"])
    )
    return bool((await connection.execute(statement)).rowcount)


async def runs_to_ring(connection: AsyncConnection, now: datetime, again_after: timedelta) -> list[int]:
    """Chooses the runs whose synchronisation is due and marks them rung; ascending by occasion day (D13).

    A run is rung again when its doorbell must be lost: no evaluator came within `again_after`.
    """
    on = exists().where(_J.id == _R.job_id, _J.status == "on")
    unanswered = or_(_R.rung_at.is_(None), _R.rung_at < _R.due_at, _R.rung_at < now - again_after)
    due = and_(_R.due_at <= now, unanswered, on)
    chosen = select(_R.id).where(due).order_by(_R.occasion_day, _R.id).with_for_update(skip_locked=True)
    ids = list((await connection.execute(chosen)).scalars())
    if ids:
        await connection.execute(update(dispatch_runs).where(_R.id.in_(ids)).values(rung_at=now))
    return ids


async def ring_failed(connection: AsyncConnection, run_ids: Sequence[int]) -> None:
    """The broker did not take these doorbells: they are wanted still."""
    await connection.execute(update(dispatch_runs).where(_R.id.in_(run_ids)).values(rung_at=None))


async def wake_runs_with_leftovers(connection: AsyncConnection, now: datetime) -> int:
    """Dispatched runs that have planned orders again (the job was off, or a person had a letter under way)."""
    on = exists().where(_J.id == _R.job_id, _J.status == "on")
    o = write_orders.c
    planned = select(o.run_id).where(o.state == "planned", o.planned_for <= now, o.type == "contact_job").distinct()
    which = and_(_R.state == "dispatched", _R.due_at.is_(None), on, _R.id.in_(planned))
    return (await connection.execute(update(dispatch_runs).where(which).values(due_at=now))).rowcount


async def earlier_due_run(connection: AsyncConnection, run: Mapping[str, Any], now: datetime) -> int | None:
    """An open run of the same lineage with an earlier occasion day that is to be released first (D13)."""
    statement = (
        select(_R.id)
        .join(contact_jobs, _J.id == _R.job_id)
        .where(
            _R.lineage_id == run["lineage_id"],
            _R.state == "open",
            _R.occasion_day < run["occasion_day"],
            _R.send_at <= now,
            _R.reason.is_(None),
            _J.status == "on",
        )
    )
    return (await connection.execute(statement.order_by(_R.occasion_day).limit(1))).scalars().first()


async def largest_of_last_dispatches(connection: AsyncConnection, lineage_id: int, but: int) -> int | None:
    """The most orders that one of the lineage's last five dispatches released (D36); None before the first."""
    statement = (
        select(_R.released_orders)
        .where(_R.lineage_id == lineage_id, _R.id != but, _R.released_orders > 0)
        .order_by(_R.released_at.desc())
        .limit(5)
    )
    return max((await connection.execute(statement)).scalars(), default=None)


async def load_run(connection: AsyncConnection, run_id: int, lock: bool = False) -> Mapping[str, Any] | None:
    """The run, or None; with `lock` its lineage first (the house's order)."""
    if not lock:
        return _plain((await connection.execute(select(dispatch_runs).where(_R.id == run_id))).mappings().first())
    seen = (await connection.execute(select(_R.lineage_id, _R.job_id).where(_R.id == run_id))).first()
    if seen is None:
        return None
    await lock_lineage(connection, seen.lineage_id)
    locked = select(dispatch_runs).where(_R.id == run_id).with_for_update()
    return _plain((await connection.execute(locked)).mappings().first())


def _plain(row: RowMapping | None) -> dict[str, Any] | None:
    return {str(key): value for key, value in row.items()} if row is not None else None


async def update_run(connection: AsyncConnection, run_id: int, **values: Any) -> None:
    """Writes columns of one run."""
    await connection.execute(update(dispatch_runs).where(_R.id == run_id).values(**values))


async def list_runs(connection: AsyncConnection, job_id: int) -> list[Mapping[str, Any]]:
    """Past and planned runs of a job, newest first."""
    statement = select(dispatch_runs).where(_R.job_id == job_id).order_by(_R.occasion_day.desc(), _R.id.desc())
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


def held_number(reason: str | None) -> int:
    """How many letters a run holds (`held: 900 > 75`); 0 where it holds none."""
    found = _HELD.match(reason or "")
    return int(found[1]) if found else 0


def approval_of(count: int) -> str:
    """The reason of a run that a person let go after they were shown so many letters (D36)."""
    return f"let go: at most {count}"


def approved_number(reason: str | None) -> int | None:
    """How many letters a person let go, as `approval_of` says it."""
    found = _APPROVED.fullmatch(reason or "")
    return int(found[1]) if found else None
