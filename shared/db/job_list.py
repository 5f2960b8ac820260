"""Jobs as people read them: the list and the job file (D2, D3)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.approvals import waiting_approval
from shared.db.consent_jobs import consent_of, count_answers
from shared.db.engine import Database
from shared.db.history import load_history
from shared.db.job_rows import load_job_row
from shared.db.job_schedule import next_dispatch
from shared.db.run_commands import job_runs
from shared.db.tables import (
    application_queries,
    application_statuses,
    contact_jobs,
    dispatch_runs,
    form_letters,
    write_orders,
)
from shared.domain.job_fields import shown

_J, _O = contact_jobs.c, write_orders.c
_COUNTED = ("planned", "queued", "sent", "no_address", "failed", "unclear", "blocked")
_FILE = (
    *("time_zone", "lead_days", "sender", "sender_fallback", "repeat_guard_days", "valid_days", "priority"),
    *("on_unclear", "working_days", "holidays", "copied_from", "note"),
)


async def list_jobs(database: Database, now: datetime) -> list[dict[str, Any]]:
    """Every job with its linked query and letter, its next dispatch and its orders by state."""
    async with database.read() as connection:
        return await list_job_rows(connection, now)


async def list_job_rows(connection: AsyncConnection, now: datetime) -> list[dict[str, Any]]:
    """The same on a connection at hand."""
    rows = (await connection.execute(_with_names().order_by(_J.name_folded))).mappings().all()
    counts = await _counts(connection)
    return [await _line(connection, row, counts.get(row["id"], {}), now) for row in rows]


async def show_job(database: Database, name: str, now: datetime) -> dict[str, Any]:
    """The job file: all fields, runs, history."""
    async with database.read() as connection:
        job = await load_job_row(connection, name)
        row = (await connection.execute(_with_names().where(_J.id == job["id"]))).mappings().one()
        line = await _line(connection, row, (await _counts(connection)).get(job["id"], {}), now)
        history = await load_history(connection, "job", job["id"])
        answers = (await count_answers(connection, [job["id"]])).get(job["id"])
        asked = await waiting_approval(connection, job["id"])
    fields: dict[str, Any] = {key: row[key] for key in _FILE}
    fields |= {"consent": shown("consent", consent_of(row))}
    if asked is not None:
        fields["approval_seal"] = asked["seal"]
    if answers is not None:
        zone = ZoneInfo(row["time_zone"])
        told = {name: getattr(answers, name) for name in ("asked", "stay", "delete", "silent", "lapsed", "void")}
        fields["consent_answers"] = told | {"next_silence": _local(answers.next_silence, zone)}
    return {**line, **fields, "runs": await job_runs(database, name), "history": history}


def _with_names() -> Any:
    names = (application_queries.c.name.label("query"), form_letters.c.name.label("letter"))
    return (
        select(contact_jobs, *names, application_statuses.c.name.label("consent_status"))
        .join(application_queries, application_queries.c.id == _J.query_id)
        .join(form_letters, form_letters.c.id == _J.letter_id)
        .outerjoin(application_statuses, application_statuses.c.id == _J.consent_status_id)
    )


async def _counts(connection: AsyncConnection) -> dict[int, dict[str, int]]:
    statement = select(_O.job_id, _O.state, func.count()).where(_O.job_id.is_not(None)).group_by(_O.job_id, _O.state)
    found: dict[int, dict[str, int]] = {}
    for job_id, state, count in (await connection.execute(statement)).all():
        found.setdefault(job_id, {})[state] = int(count)
    return found


async def _line(
    connection: AsyncConnection, row: Mapping[Any, Any], counts: Mapping[str, int], now: datetime
) -> dict[str, Any]:
    upcoming = await next_dispatch(connection, row, now)
    last = select(func.max(dispatch_runs.c.released_at)).where(dispatch_runs.c.job_id == row["id"])
    zone = ZoneInfo(row["time_zone"])
    asked = await waiting_approval(connection, row["id"])
    dispatch = (row["dispatch_mode"], row["cycle_months"], row["anchor_on"])
    return {
        "name": row["name"],
        "status": shown("status", row["status"]),
        "approval": f"asked for by {asked['asked_by']}" if asked else None,
        "query": row["query"],
        "letter": row["letter"],
        "dispatch": shown("dispatch", dispatch),
        "time": row["dispatch_time"],
        "next_dispatch": _local(upcoming, zone),
        "last_run": _local((await connection.execute(last)).scalar_one_or_none(), zone),
        **{state: counts.get(state, 0) for state in _COUNTED},
    }


def _local(at: datetime | None, zone: ZoneInfo) -> str | None:
    return at.astimezone(zone).isoformat() if at is not None else None
