"""Creating and changing a job within a transaction: the one path of setup file, command line and console (D1-D4)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.approvals import (
    ASKED,
    LAPSED,
    SEALED,
    ask_for_job,
    end_approvals,
    four_eyes,
    is_approved,
    living_approval,
)
from shared.db.audit_tables import approvals
from shared.db.consent_jobs import check_letters_of_jobs, consent_of, rejecting_status
from shared.db.history import Change, record_changes
from shared.db.impact import Impact
from shared.db.job_lineage import leave_lineage, new_lineage
from shared.db.job_locks import lock_jobs
from shared.db.job_rows import schedule_of
from shared.db.job_schedule import reschedule, switch_on
from shared.db.named_records import find_named, id_of
from shared.db.plan_effect import PlanEffect
from shared.db.system_settings import load_system_settings
from shared.db.tables import (
    application_queries,
    application_statuses,
    contact_jobs,
    dispatch_runs,
    form_letter_versions,
    form_letters,
    users,
)
from shared.db.write_orders import follow_letter
from shared.domain.job_fields import job_columns, shown
from shared.domain.text import fold
from shared.errors import InvalidInput, NotFound

_J, _P = contact_jobs.c, approvals.c
_SCHEDULE = {
    *("dispatch_mode", "cycle_months", "anchor_on", "dispatch_time", "time_zone", "lead_days", "working_days"),
    *("holidays", "valid_days"),
}
_DEFAULTS = {
    "status": "off",
    "lead_days": 0,
    "sender": "recruiter",
    "valid_days": 5,
    "priority": 10,
    "on_unclear": "ask",
    "working_days": "as_is",
}
#: Where the names that a field gives have become ids.
_COLUMNS = {
    "query": ["query_id"],
    "letter": ["letter_id"],
    "consent": ["consent_answer_days", "consent_status_id"],
}


@dataclass(slots=True)
class JobChange:
    """What a change did: fields as people read them, what else happened, and what to think about."""

    job_id: int
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: For a rehearsal: what it would mean for the next dispatch.
    impact: list[Impact] = field(default_factory=list)
    #: For a rehearsal: what it would do to the letters that are planned already.
    plan: PlanEffect = field(default_factory=PlanEffect)


async def insert_job(
    connection: AsyncConnection, fields: Mapping[str, Any], place: str, *, author: str, now: datetime
) -> JobChange:
    """A new job with a lineage of its own. `fields` as read by JOB_FIELDS; raises InvalidInput for a missing record."""
    await refuse_taken_name(connection, fields["name"], place)
    columns = await _with_defaults(connection, await _with_ids(connection, job_columns(fields), place))
    columns |= {"name_folded": fold(columns["name"]), "lineage_id": await new_lineage(connection, now)}
    asks = columns["status"] == "on" and await four_eyes(connection)
    if asks:
        columns["status"], fields = "off", {**fields, "status": "off"}
    if columns["status"] == "on":
        columns |= {"on_since": now, "next_occasion_day": schedule_of(columns).first_upcoming(now)}
    else:
        columns |= {"off_since": now}
    job_id = (await connection.execute(insert(contact_jobs).values(columns).returning(_J.id))).scalar_one()
    await check_letters_of_jobs(connection, [job_id], place)
    change = JobChange(job_id, [(key, None, shown(key, value)) for key, value in fields.items() if value is not None])
    change.warnings = await warnings_of(connection, [job_id])
    await record_changes(connection, "job", job_id, columns["name"], "create", change.changes, author=author, now=now)
    if asks:
        await ask_for_job(connection, job_id, author=author, now=now)
        change.notes.append(ASKED)
    return change


async def change_job(
    connection: AsyncConnection,
    job_id: int,
    fields: Mapping[str, Any],
    place: str,
    *,
    author: str,
    now: datetime,
    approved: bool = False,
    by_the_way: bool = False,
) -> JobChange:
    """Changes a job: raises its epoch, so that nothing claimed under the old one is sent (I9).

    With four eyes An only asks, and a change makes it Aus, unless `approved`: by a second user, or to rehearse (S23).
    `by_the_way`: it follows from a change of something else, see `ask_for_job`.
    """
    # Aus takes the job's row alone: it must not wait for a plan that is being made.
    only_off = dict(fields) == {"status": "off"}
    job = await _locked(connection, job_id, with_lineage=not only_off)
    if "name" in fields:
        await refuse_taken_name(connection, fields["name"], place, but=job_id)
    columns = await _with_ids(connection, job_columns(fields), place)
    new = {key: value for key, value in columns.items() if value != job[key]}
    change = JobChange(job_id)
    allowed = dict(new)
    asks = not only_off and await _withhold(connection, job, allowed)
    if asks:
        change.notes.append(LAPSED if "status" in allowed else ASKED)
    new = new if approved else allowed
    if new:
        await _write(connection, job, fields, new, change, only_off=only_off, author=author, now=now)
    if {"consent_answer_days", "letter_id"} & set(new):
        await check_letters_of_jobs(connection, [job_id], place)
    if asks and not approved:
        await ask_for_job(connection, job_id, author=author, now=now, by_the_way=by_the_way)
    elif "status" in new:
        await end_approvals(connection, and_(_P.job_id == job_id, _P.state == "waiting"), now)
    return change


async def _withhold(connection: AsyncConnection, job: Mapping[str, Any], new: dict[str, Any]) -> bool:
    """Takes out of a change what needs a second user, or adds Aus; whether one is to be asked (S23)."""
    if not new or not await four_eyes(connection):
        return False
    is_sealed = bool(SEALED & set(new))
    if new.get("status") == "on" and (is_sealed or not await is_approved(connection, job["id"])):
        del new["status"]
        return True
    if job["status"] == "on" and is_sealed:
        new["status"] = "off"
        return True
    living = await living_approval(connection, job["id"]) if is_sealed else None
    return living is not None and living["state"] == "waiting"


async def _write(
    connection: AsyncConnection,
    job: Mapping[str, Any],
    fields: Mapping[str, Any],
    new: dict[str, Any],
    change: JobChange,
    *,
    only_off: bool,
    author: str,
    now: datetime,
) -> None:
    """Writes the columns that are new, with all that follows from them, and tells `change` of it."""
    job_id = job["id"]
    change.changes = _readable(job, {**fields, **_status_in(new)}, new)
    values = new | ({"name_folded": fold(new["name"])} if "name" in new else {})
    # With the rest in one UPDATE: a second one of the row would have PostgreSQL look at the lineage, and wait for it.
    values |= {"off_since": now} if new.get("status") == "off" else {}
    await connection.execute(update(contact_jobs).where(_J.id == job_id).values(**values, epoch=_J.epoch + 1))
    change.notes += await _follow(connection, job, new, author=author, now=now)
    if not only_off:
        await wake_runs(connection, [job_id], now)
        change.warnings = await warnings_of(connection, [job_id])
    name = new.get("name", job["name"])
    await record_changes(connection, "job", job_id, name, "change", change.changes, author=author, now=now)


def _status_in(new: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": new["status"]} if "status" in new else {}


async def _follow(
    connection: AsyncConnection, job: Mapping[str, Any], new: Mapping[str, Any], *, author: str, now: datetime
) -> list[str]:
    """What the change means for lineage, runs and planned orders; says what is worth telling."""
    after = {**job, **new}
    notes = []
    if "letter_id" in new:
        await follow_letter(connection, job["id"], new["letter_id"])
    if "letter_id" in new and await leave_lineage(connection, job, now):
        notes.append("another letter before the first dispatch of a copy: the repeat guard begins anew")
    if _SCHEDULE & set(new):
        await reschedule(connection, after, author=author, now=now)
    if new.get("status") == "off":
        notes.append("Aus: nothing more of this job is sent; its orders stay visible as planned")
    elif "status" in new:
        notes += await switch_on(connection, after, author=author, now=now)
    return notes


async def wake_runs(connection: AsyncConnection, job_ids: Collection[int], now: datetime) -> None:
    """Has the open plans of these jobs synchronised at once (D14)."""
    r = dispatch_runs.c
    runs = update(dispatch_runs).where(r.job_id.in_(job_ids), r.state == "open")
    await connection.execute(runs.values(due_at=now, rung_at=None))


async def refuse_taken_name(connection: AsyncConnection, name: str, place: str, but: int | None = None) -> None:
    """Raises InvalidInput if another job has the name."""
    other = await find_named(connection, contact_jobs, name)
    if other is not None and other["id"] != but:
        raise InvalidInput(f"{place}, name", name, f"a job named {other['name']!r} exists already")


async def _locked(connection: AsyncConnection, job_id: int, *, with_lineage: bool) -> dict[str, Any]:
    """The job with the names of its query and letter, as it is once nobody else can change it."""
    await lock_jobs(connection, _J.id == job_id, with_lineage=with_lineage)
    statement = (
        select(contact_jobs, application_queries.c.name.label("query"), form_letters.c.name.label("letter"))
        .add_columns(application_statuses.c.name.label("consent_status"))
        .join(application_queries, application_queries.c.id == _J.query_id)
        .join(form_letters, form_letters.c.id == _J.letter_id)
        .outerjoin(application_statuses, application_statuses.c.id == _J.consent_status_id)
        .where(_J.id == job_id)
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("job", job_id)
    return {str(key): value for key, value in row.items()}


async def _with_defaults(connection: AsyncConnection, columns: Mapping[str, Any]) -> dict[str, Any]:
    usual = dict(_DEFAULTS) | {"repeat_guard_days": 14 if columns["dispatch_mode"] == "cyclic" else 30}
    if "time_zone" not in columns:
        usual["time_zone"] = (await load_system_settings(connection)).time_zone
    return {"holidays": None, **usual, **columns}


async def _with_ids(connection: AsyncConnection, columns: dict[str, Any], place: str) -> dict[str, Any]:
    """Names of query, letter and status become ids; named users must exist."""
    for key, table in (("query", application_queries), ("letter", form_letters)):
        if key in columns:
            columns[f"{key}_id"] = await id_of(connection, table, key, columns.pop(key), f"{place}, {key}")
    if "consent_status" in columns:
        status = columns.pop("consent_status")
        columns["consent_status_id"] = await rejecting_status(connection, status, place) if status else None
    for key in ("sender", "sender_fallback"):
        if (columns.get(key) or "").startswith("user:"):
            await id_of(connection, users, "user", columns[key].removeprefix("user:"), f"{place}, {key}")
    return columns


def _readable(job: Mapping[str, Any], fields: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    found: list[Change] = []
    for key, value in fields.items():
        columns = _COLUMNS.get(key) or list(job_columns({key: value}))
        if any(column in new for column in columns):
            found.append((key, shown(key, _old(job, key)), shown(key, value)))
    return found


def _old(job: Mapping[str, Any], key: str) -> Any:
    if key == "dispatch":
        return job["dispatch_mode"], job["cycle_months"], job["anchor_on"]
    if key == "consent":
        return consent_of(job)
    return job["dispatch_time" if key == "time" else key]


async def warnings_of(connection: AsyncConnection, job_ids: Collection[int]) -> list[str]:
    """What the source advises against, without refusing it (D13, D41)."""
    v = form_letter_versions.c
    statement = (
        select(contact_jobs, application_queries.c.filters, v.sets_status_id)
        .join(application_queries, application_queries.c.id == _J.query_id)
        .join(form_letters, form_letters.c.id == _J.letter_id)
        .join(form_letter_versions, (v.letter_id == form_letters.c.id) & (v.version == form_letters.c.version))
        .where(_J.id.in_(job_ids))
        .order_by(_J.id)
    )
    rows = (await connection.execute(statement)).mappings()
    return [f"job {row['name']!r}: {text}" for row in rows for text in _doubts(row)]


def _doubts(job: Mapping[Any, Any]) -> list[str]:
    found = []
    if job["cycle_months"] and job["repeat_guard_days"] >= 28 * job["cycle_months"]:
        days = job["repeat_guard_days"]
        found.append(f"a repeat guard of {days} days can swallow the next dispatch")
    asks_pool = any(one["field"] in ("in_pool", "dwell_months") for one in job["filters"])
    answer_days = job["consent_answer_days"]
    if asks_pool and job["sets_status_id"] is None and answer_days is None:
        found.append("its query asks for the pool, but its letter sets no status")
    if answer_days is not None and job["repeat_guard_days"] <= answer_days:
        guard = job["repeat_guard_days"]
        found.append(f"a repeat guard of {guard} days asks again before the {answer_days} days to answer are over")
    return found
