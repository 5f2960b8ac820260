"""What a change of a job does to the letters that are planned already, beside who gets one (impact.py).

Within the rehearsal only the runs are read, a handful; letters are counted afterwards, where no job is locked.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import dispatch_runs, write_orders
from shared.db.write_orders import OTHER_SCHEDULE
from shared.db.write_orders.states import in_state

_R, _O = dispatch_runs.c, write_orders.c


@dataclass(frozen=True, slots=True)
class PlanOfDay:
    """A run whose plan may stand: its day, and its send moment; None: the day is no occasion of the job (any more)."""

    day: date
    send_at: datetime | None


@dataclass(frozen=True, slots=True)
class MovedPlan:
    """Letters of one occasion day that get another send moment; no moment before or after: there is no dispatch."""

    day: date
    count: int
    before: datetime | None
    after: datetime | None


@dataclass(frozen=True, slots=True)
class PlanEffect:
    """Letters planned now, and what becomes of those whose day gets another send moment or none."""

    planned: int = 0
    moved: tuple[MovedPlan, ...] = ()


async def plans_of(connection: AsyncConnection, job_id: int) -> dict[int, PlanOfDay]:
    """The runs of a job that are to come, and those that another schedule has dropped, by id."""
    dropped = and_(_R.state == "skipped", _R.reason == OTHER_SCHEDULE)
    statement = select(_R.id, _R.occasion_day, _R.state, _R.send_at).where(
        _R.job_id == job_id, (_R.state == "open") | dropped
    )
    return {
        row.id: PlanOfDay(row.occasion_day, row.send_at if row.state == "open" else None)
        for row in await connection.execute(statement)
    }


async def plan_effect(
    connection: AsyncConnection, job_id: int, before: Mapping[int, PlanOfDay], after: Mapping[int, PlanOfDay]
) -> PlanEffect:
    """What a change that turns these plans into those does to the letters as they are stored now."""
    moved = {run: plan for run, plan in before.items() if run in after and after[run].send_at != plan.send_at}
    planned = await _by_run(connection, in_state("planned"), before)
    # What a dropped day took with it comes back with the day.
    taken = and_(_O.state == "withdrawn", _O.withdrawn_by == "sync", _O.reason == OTHER_SCHEDULE)
    returning = await _by_run(connection, taken, [run for run, plan in moved.items() if plan.send_at is None])
    found = [
        MovedPlan(plan.day, count, plan.send_at, after[run].send_at)
        for run, plan in moved.items()
        if (count := (planned if plan.send_at is not None else returning).get(run, 0))
    ]
    return PlanEffect(sum(planned.values()), tuple(sorted(found, key=lambda one: one.day)))


async def count_planned(connection: AsyncConnection) -> int:
    """The planned letters of all jobs."""
    planned = select(func.count()).where(in_state("planned"), _O.type == "contact_job")
    return int((await connection.execute(planned)).scalar_one())


async def _by_run(connection: AsyncConnection, which: ColumnElement[bool], runs: Collection[int]) -> dict[int, int]:
    if not runs:
        return {}
    counted = select(_O.run_id, func.count()).where(_O.run_id.in_(runs), which).group_by(_O.run_id)
    return dict((await connection.execute(counted)).all())
