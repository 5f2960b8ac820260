"""Contact-care jobs: create, change, switch, copy, delete - what command line and console call (D1-D4, D35)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import Change, record_changes
from shared.db.job_rows import load_job_row
from shared.db.job_schedule import reschedule, switch
from shared.db.system_settings import load_system_settings
from shared.db.tables import (
    application_queries,
    blocks,
    contact_jobs,
    dispatch_runs,
    form_letter_versions,
    form_letters,
    lineages,
    users,
)
from shared.db.write_orders import withdraw_open_orders_of_job
from shared.domain.job_fields import JOB_FIELDS, job_columns, unknown_key
from shared.domain.text import fold
from shared.errors import InvalidInput, Refused

_J = contact_jobs.c
_SCHEDULE = {
    *("dispatch_mode", "cycle_months", "anchor_on", "dispatch_time", "time_zone", "lead_days", "working_days"),
    *("holidays", "valid_days"),
}


@dataclass(slots=True)
class JobChange:
    """What a change did: fields as people read them, what else happened, and what to think about."""

    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def defaults(columns: Mapping[str, Any], time_zone: str) -> dict[str, Any]:
    """A new job's columns: what is not given has the default of D1; it starts Aus."""
    guard = 14 if columns.get("dispatch_mode") == "cyclic" else 30
    usual = {
        "status": "off",
        "time_zone": time_zone,
        "lead_days": 0,
        "sender": "recruiter",
        "repeat_guard_days": guard,
        "valid_days": 5,
        "priority": 10,
        "on_unclear": "ask",
        "working_days": "as_is",
    }
    return {**usual, **columns}


async def create_job(
    connection: AsyncConnection, fields: Mapping[str, Any], place: str, *, author: str, now: datetime
) -> JobChange:
    """A new job with a lineage of its own. `fields` as read by JOB_FIELDS; raises InvalidInput for a missing record."""
    settings = await load_system_settings(connection)
    columns = defaults(await _with_ids(connection, job_columns(fields), place), settings.time_zone)
    lineage = insert(lineages).values(created_at=now).returning(lineages.c.id)
    columns |= {"name_folded": fold(columns["name"]), "lineage_id": (await connection.execute(lineage)).scalar_one()}
    columns |= {"on_since": now} if columns["status"] == "on" else {"off_since": now}
    job_id = (await connection.execute(insert(contact_jobs).values(columns).returning(_J.id))).scalar_one()
    change = JobChange(changes=[(key, None, shown(key, value)) for key, value in fields.items() if value is not None])
    change.warnings = await _warnings(connection, job_id)
    await record_changes(connection, "job", job_id, columns["name"], "create", change.changes, author=author, now=now)
    return change


async def change_job(
    connection: AsyncConnection,
    job: Mapping[str, Any],
    fields: Mapping[str, Any],
    place: str,
    *,
    author: str,
    now: datetime,
) -> JobChange:
    """Changes a job: raises its epoch, so that nothing claimed under the old one is sent (I9)."""
    only_off = dict(fields) == {"status": "off"}
    if not only_off:  # Aus touches the job's row alone: it must not wait for a plan that is being made
        await connection.execute(select(lineages.c.id).where(lineages.c.id == job["lineage_id"]).with_for_update())
    columns = await _with_ids(connection, job_columns(fields), place)
    new = {key: value for key, value in columns.items() if value != job[key]}
    if not new:
        return JobChange()
    change = JobChange(changes=await _readable(connection, job, new))
    if "name" in new:
        new["name_folded"] = fold(new["name"])
    await connection.execute(update(contact_jobs).where(_J.id == job["id"]).values(**new, epoch=_J.epoch + 1))
    after = {**job, **new}
    if "status" in new:
        change.notes += await switch(connection, after, author=author, now=now)
    elif _SCHEDULE & set(new):
        await reschedule(connection, after, author=author, now=now)
    if not only_off:
        runs = update(dispatch_runs).where(dispatch_runs.c.job_id == job["id"], dispatch_runs.c.state == "open")
        await connection.execute(runs.values(due_at=now))
        change.warnings = await _warnings(connection, job["id"])
    await record_changes(connection, "job", job["id"], after["name"], "change", change.changes, author=author, now=now)
    return change


async def set_job(database: Database, name: str, pairs: Mapping[str, str], *, author: str, now: datetime) -> JobChange:
    """`job set NAME key=value ...`: validated like a setup file."""
    place = f"job {name!r}"
    fields = {}
    for key, value in pairs.items():
        if key not in JOB_FIELDS:
            raise unknown_key(place, key, JOB_FIELDS)
        fields[key] = JOB_FIELDS[key](f"{place}, {key}", value)
    async with database.begin() as connection:
        return await change_job(connection, await load_job_row(connection, name), fields, place, author=author, now=now)


async def copy_job(database: Database, name: str, new: str, *, author: str, now: datetime, fresh: bool = False) -> None:
    """A copy starts Aus, without orders, in the lineage of its original; `fresh`: in one of its own (D2)."""
    async with database.begin() as connection:
        job = dict(await load_job_row(connection, name))
        taken = select(_J.id).where(_J.name_folded == fold(new))
        if not fold(new) or (await connection.execute(taken)).first() is not None:
            raise Refused(f"a job named {new!r} exists already" if fold(new) else "the copy needs a name")
        lineage_id = await _fresh_lineage(connection, job["lineage_id"], now) if fresh else job["lineage_id"]
        for key in ("id", "on_since", "next_occasion_day", "epoch"):
            job.pop(key)
        job |= {"name": new.strip(), "name_folded": fold(new), "status": "off", "off_since": now}
        job |= {"lineage_id": lineage_id, "copied_from": name}
        job_id = (await connection.execute(insert(contact_jobs).values(job).returning(_J.id))).scalar_one()
        changes: list[Change] = [("copied_from", None, name), ("fresh", None, fresh)]
        await record_changes(connection, "job", job_id, job["name"], "copy", changes, author=author, now=now)


async def _fresh_lineage(connection: AsyncConnection, old: int, now: datetime) -> int:
    statement = insert(lineages).values(created_at=now).returning(lineages.c.id)
    lineage_id = int((await connection.execute(statement)).scalar_one())
    standing = select(blocks).where(blocks.c.lineage_id == old, blocks.c.scope == "job", blocks.c.lifted_at.is_(None))
    rows = (await connection.execute(standing)).mappings().all()
    if rows:  # blocks are carried over, the repeat guard begins anew
        carried = [{**{k: v for k, v in row.items() if k != "id"}, "lineage_id": lineage_id} for row in rows]
        await connection.execute(insert(blocks), carried)
    return lineage_id


async def delete_job(database: Database, name: str, *, author: str, now: datetime) -> int:
    """Deletes for good: open orders are withdrawn (how many is returned), sent ones keep the job's name (D35)."""
    async with database.begin() as connection:
        job = await load_job_row(connection, name)
        await connection.execute(select(lineages.c.id).where(lineages.c.id == job["lineage_id"]).with_for_update())
        await connection.execute(select(_J.id).where(_J.id == job["id"]).with_for_update())
        withdrawn = await withdraw_open_orders_of_job(
            connection, job["id"], withdrawn_by="job_deleted", reason="job deleted", now=now, author=author
        )
        r = dispatch_runs.c
        open_runs = update(dispatch_runs).where(r.job_id == job["id"], r.state == "open")
        await connection.execute(open_runs.values(state="skipped", reason="job deleted", due_at=None))
        await connection.execute(delete(contact_jobs).where(_J.id == job["id"]))
        changes: list[Change] = [("withdrawn_orders", None, withdrawn)]
        await record_changes(connection, "job", job["id"], job["name"], "delete", changes, author=author, now=now)
        return withdrawn


async def _with_ids(connection: AsyncConnection, columns: dict[str, Any], place: str) -> dict[str, Any]:
    """Names of query and letter become ids; named users must exist."""
    for key, table in (("query", application_queries), ("letter", form_letters)):
        if key in columns:
            columns[f"{key}_id"] = await id_of(connection, table, key, columns.pop(key), place)
    for key in ("sender", "sender_fallback"):
        if (columns.get(key) or "").startswith("user:"):
            await id_of(connection, users, "user", columns[key].removeprefix("user:"), f"{place}, {key}")
    return columns


async def id_of(connection: AsyncConnection, table: Table, noun: str, name: str, place: str) -> int:
    """The id of a named record; raises InvalidInput with the nearest name."""
    c = table.c
    found = (await connection.execute(select(c.id).where(c.name_folded == fold(name)))).scalars().first()
    if found is None:
        names = (await connection.execute(select(c.name))).scalars().all()
        near = get_close_matches(name, names, 1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidInput(f"{place}, {noun}", name, f"there is no such {noun}{hint}")
    return int(found)


async def _readable(connection: AsyncConnection, job: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    found: list[Change] = []
    for key, value in new.items():
        table = {"query_id": application_queries, "letter_id": form_letters}.get(key)
        if table is None:
            found.append((key, shown(key, job[key]), shown(key, value)))
            continue
        names = dict((await connection.execute(select(table.c.id, table.c.name))).tuples().all())
        found.append((key.removesuffix("_id"), names.get(job[key]), names.get(value)))
    return found


def shown(key: str, value: Any) -> Any:
    """A field's value as people write it."""
    if key == "status":
        return {"on": "An", "off": "Aus"}.get(value, value)
    if key == "dispatch":
        mode, months, anchor = value
        return mode if mode == "rolling" else f"every {months} months from {anchor}"
    return value


async def _warnings(connection: AsyncConnection, job_id: int) -> list[str]:
    """What the source advises against, without refusing it (D13, D41)."""
    v = form_letter_versions.c
    statement = (
        select(contact_jobs, application_queries.c.filters, v.sets_status_id)
        .join(application_queries, application_queries.c.id == _J.query_id)
        .join(form_letters, form_letters.c.id == _J.letter_id)
        .join(form_letter_versions, (v.letter_id == form_letters.c.id) & (v.version == form_letters.c.version))
        .where(_J.id == job_id)
    )
    job = (await connection.execute(statement)).mappings().one()
    found = []
    if job["cycle_months"] and job["repeat_guard_days"] >= 28 * job["cycle_months"]:
        days = job["repeat_guard_days"]
        found.append(f"job {job['name']!r}: a repeat guard of {days} days can swallow the next dispatch")
    asks_pool = any(one["field"] in ("in_pool", "dwell_months") for one in job["filters"])
    if asks_pool and job["sets_status_id"] is None:
        found.append(f"job {job['name']!r}: its query asks for the pool, but its letter sets no status")
    return found
