"""Jobs at a glance, for people: next dispatch, its letters, what became of the last 30 days (D2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.approvals import waiting_approvals
from shared.db.job_basis import BASIS, basis_in
from shared.db.job_rows import schedule_of
from shared.db.runs import held_number
from shared.db.tables import (
    application_queries,
    application_statuses,
    contact_jobs,
    dispatch_runs,
    form_letters,
    write_orders,
)
from shared.errors import NotFound

#: Days that a glance goes back.
GLANCE_DAYS = 30
_J, _R, _O = contact_jobs.c, dispatch_runs.c, write_orders.c


@dataclass(frozen=True, slots=True)
class JobGlance:
    """A job's row with `query` and `letter` as names, and what matters about it now."""

    row: Mapping[str, Any]
    #: The next send moment, local; None while Aus.
    next_at: datetime | None
    #: Letters planned for it; None: its plan does not exist yet.
    next_count: int | None
    last_at: datetime | None
    #: Why a dispatch waits for a person (D36), if one does.
    held: str | None
    #: Why a dispatch could not be evaluated, if one could not (D21).
    failed: str | None
    #: Orders by state: of the last 30 days, and whatever is planned.
    counts: Mapping[str, int]
    #: What a second user is asked (S23), if somebody asks.
    asked: Mapping[str, Any] | None = None
    #: Letters sent on each of the last 30 occasion days, oldest first.
    sent_by_day: list[int] = field(default_factory=list)

    @property
    def id(self) -> int:
        """The job's id."""
        return int(self.row["id"])

    @property
    def basis(self) -> str:
        """What a form gives back, so that only what was shown is confirmed."""
        return basis_in(self.row)

    @property
    def held_count(self) -> int:
        """How many letters the held dispatch has."""
        return held_number(self.held)


async def glance_at_jobs(
    connection: AsyncConnection, now: datetime, today: date, job_id: int | None = None
) -> list[JobGlance]:
    """Every job (or one) by name: five statements, however many jobs there are."""
    names = (
        *(application_queries.c.name.label("query"), form_letters.c.name.label("letter"), *BASIS[3:]),
        application_statuses.c.name.label("consent_status"),
    )
    statement = (
        select(contact_jobs, *names)
        .join(application_queries, application_queries.c.id == _J.query_id)
        .join(form_letters, form_letters.c.id == _J.letter_id)
        .outerjoin(application_statuses, application_statuses.c.id == _J.consent_status_id)
        .order_by(_J.name_folded)
    )
    statement = statement if job_id is None else statement.where(_J.id == job_id)
    jobs = [{str(k): v for k, v in row.items()} for row in (await connection.execute(statement)).mappings()]
    counts = await _counts(connection, today, job_id)
    runs = await _open_runs(connection, job_id)
    last = await _last_releases(connection, job_id)
    asked = await waiting_approvals(connection)
    return [
        _glance(job, counts.get(job["id"], {}), runs.get(job["id"], []), last.get(job["id"]), asked, now, today)
        for job in jobs
    ]


async def glance_at_job(connection: AsyncConnection, job_id: int, now: datetime, today: date) -> JobGlance:
    """One job; raises NotFound."""
    found = await glance_at_jobs(connection, now, today, job_id)
    if not found:
        raise NotFound("job", job_id)
    return found[0]


#: Of one job: (occasion day, run, state) -> orders.
_Counts = dict[tuple[date, int, str], int]


async def _counts(connection: AsyncConnection, today: date, job_id: int | None) -> dict[int, _Counts]:
    # By run, for which there is an index: a count of all orders ever would be as slow as there are many.
    since = _R.occasion_day > today - timedelta(days=GLANCE_DAYS)
    which = _R.job_id.is_not(None) if job_id is None else _R.job_id == job_id
    keys = (_R.job_id, _R.occasion_day, _R.id, _O.state)
    statement = select(*keys, func.count()).join(write_orders, _O.run_id == _R.id).where(since, which).group_by(*keys)
    found: dict[int, _Counts] = {}
    for job, day, run, state, count in (await connection.execute(statement)).all():
        found.setdefault(job, {})[day, run, state] = int(count)
    return found


async def _open_runs(connection: AsyncConnection, job_id: int | None) -> dict[int, list[Mapping[str, Any]]]:
    which = _R.job_id.is_not(None) if job_id is None else _R.job_id == job_id
    statement = select(_R.job_id, _R.id, _R.occasion_day, _R.send_at, _R.synced_at, _R.reason)
    rows = await connection.execute(statement.where(which, _R.state == "open").order_by(_R.send_at))
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows.mappings():
        found.setdefault(row["job_id"], []).append({str(key): value for key, value in row.items()})
    return found


async def _last_releases(connection: AsyncConnection, job_id: int | None) -> dict[int, datetime]:
    which = _R.job_id.is_not(None) if job_id is None else _R.job_id == job_id
    statement = select(_R.job_id, func.max(_R.released_at)).where(which).group_by(_R.job_id)
    return {job: at for job, at in (await connection.execute(statement)).all() if at is not None}


def _glance(
    job: Mapping[str, Any],
    counts: _Counts,
    runs: list[Mapping[str, Any]],
    last_at: datetime | None,
    asked: Mapping[int, Mapping[str, Any]],
    now: datetime,
    today: date,
) -> JobGlance:
    zone = ZoneInfo(job["time_zone"])
    coming = next((run for run in runs if run["send_at"] > now), None)
    next_at, next_count = None, None
    if job["status"] == "on":
        schedule = schedule_of(job)
        next_at = coming["send_at"] if coming else schedule.send_moment(schedule.first_upcoming(now))
        if coming and coming["synced_at"] is not None:
            next_count = counts.get((coming["occasion_day"], coming["id"], "planned"), 0)
    by_state: dict[str, int] = {}
    by_day: dict[date, int] = {}
    for (day, _, state), count in counts.items():
        by_state[state] = by_state.get(state, 0) + count
        if state == "sent":
            by_day[day] = by_day.get(day, 0) + count
    days = [today - timedelta(days=back) for back in range(GLANCE_DAYS - 1, -1, -1)]
    reasons = [run["reason"] or "" for run in runs]
    return JobGlance(
        row=job,
        next_at=next_at.astimezone(zone) if next_at else None,
        next_count=next_count,
        last_at=last_at.astimezone(zone) if last_at else None,
        held=next((one for one in reasons if one.startswith("held:")), None),
        failed=next((one.removeprefix("failed: ") for one in reasons if one.startswith("failed: ")), None),
        counts=by_state,
        asked=asked.get(job["id"]),
        sent_by_day=[by_day.get(day, 0) for day in days],
    )
