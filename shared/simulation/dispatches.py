"""The dispatches of a span of days, in the order in which their letters go out (D10, D11, D15, D18)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.job_rows import load_job_row, schedule_of
from shared.db.queries import QueryDay, StoredQuery, load_query_by_id
from shared.db.recipients import JobRules
from shared.db.system_settings import SystemSettings
from shared.db.tables import application_statuses, contact_jobs, dispatch_runs, form_letter_versions, form_letters
from shared.db.write_orders.claims import rules_of
from shared.db.write_orders.rehearsal import RehearsedRun
from shared.domain.schedule import Schedule

#: The working-day rule moves a send day by less than this.
_LONGEST_SHIFT = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """A job with all that its dispatches need, read once."""

    id: int
    name: str
    lineage_id: int
    letter_id: int
    time_zone: str
    rules: JobRules
    schedule: Schedule
    query: StoredQuery
    #: The status that its letter sets, and whether that is a rejection (D41).
    sets_status_id: int | None
    rejects: bool
    #: Occasion days that have a run already, with the run's id and whether it is done with.
    runs: dict[date, tuple[int, bool]]


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One occasion of one job."""

    job: SimulatedJob
    on: QueryDay
    run: RehearsedRun


async def load_jobs(
    connection: AsyncConnection, names: Collection[str], settings: SystemSettings
) -> list[SimulatedJob]:
    """The named jobs, or those that are An. Raises NotFound, and InvalidInput for a query that became invalid."""
    j = contact_jobs.c
    wanted = j.id.in_([(await load_job_row(connection, name))["id"] for name in names]) if names else j.status == "on"
    version, status = form_letter_versions.c, application_statuses.c
    current = (version.letter_id == form_letters.c.id) & (version.version == form_letters.c.version)
    statement = (
        select(contact_jobs, version.sets_status_id, status.meta.label("sets_meta"))
        .join(form_letters, form_letters.c.id == j.letter_id)
        .join(form_letter_versions, current)
        .outerjoin(application_statuses, status.id == version.sets_status_id)
        .where(wanted)
        .order_by(j.id)
    )
    rows = (await connection.execute(statement)).mappings().all()
    return [await _loaded(connection, {str(k): v for k, v in row.items()}, settings) for row in rows]


async def _loaded(connection: AsyncConnection, row: dict[str, Any], settings: SystemSettings) -> SimulatedJob:
    r = dispatch_runs.c
    runs = await connection.execute(select(r.occasion_day, r.id, r.state, r.reason).where(r.job_id == row["id"]))
    return SimulatedJob(
        id=row["id"],
        name=row["name"],
        lineage_id=row["lineage_id"],
        letter_id=row["letter_id"],
        time_zone=row["time_zone"],
        rules=rules_of(row, settings),
        schedule=schedule_of(row),
        query=await load_query_by_id(connection, row["query_id"]),
        sets_status_id=row["sets_status_id"],
        rejects=row["sets_meta"] == "rejected",
        runs={run.occasion_day: (run.id, _is_done_with(run.state, run.reason)) for run in runs},
    )


def _is_done_with(state: str, reason: str | None) -> bool:
    # A held dispatch waits for a person, whom a simulation does not play (D36).
    return state != "open" or (reason or "").startswith("held:")


def upcoming(
    jobs: Sequence[SimulatedJob], first: date, last: date, after: datetime | None, leap_day_birthday: str
) -> list[Dispatch]:
    """The occasions of these days without a dispatch, by send moment.

    With `after`, all whose send moment lies behind it: also earlier occasions that the working-day rule moved there.
    """
    found = []
    for job in jobs:
        for day in job.schedule.occasion_days(first - (_LONGEST_SHIFT if after else timedelta(0))):
            if day > last:
                break
            run_id, is_done_with = job.runs.get(day, (0, False))
            send_at = job.schedule.send_moment(day)
            if not is_done_with and (after is None or send_at > after):
                on = QueryDay(day, ZoneInfo(job.time_zone), leap_day_birthday)
                run = RehearsedRun(run_id, job.id, job.name, job.lineage_id, job.letter_id, day, job.time_zone, send_at)
                found.append(Dispatch(job, on, run))
    return sorted(found, key=_turn)


def _turn(one: Dispatch) -> tuple[datetime, date, int, int]:
    return one.run.send_at, one.run.occasion_day, -one.job.rules.priority, one.job.id
