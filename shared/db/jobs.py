"""Contact-care jobs: create, change, switch, copy, delete - what command line and console call (D1-D5, D35)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.approvals import decide, end_approvals, seal_of_job, waiting_approval
from shared.db.audit_tables import approvals
from shared.db.engine import Database
from shared.db.history import Change, record_changes
from shared.db.impact import NextDispatch, compare, next_dispatches
from shared.db.job_basis import refuse_other_basis
from shared.db.job_changes import JobChange, change_job, insert_job, refuse_taken_name
from shared.db.job_lineage import fresh_lineage
from shared.db.job_locks import lock_jobs
from shared.db.job_rows import load_job_row
from shared.db.plan_effect import PlanOfDay, plan_effect, plans_of
from shared.db.tables import contact_jobs, dispatch_runs
from shared.db.transactions import in_transaction
from shared.db.write_orders import JOB_DELETED, withdraw_open_orders_of_job
from shared.domain.job_fields import REQUIRED_JOB_FIELDS, read_job_fields, read_name
from shared.domain.text import fold
from shared.errors import InvalidInput, Outdated, Refused

_J, _P = contact_jobs.c, approvals.c


async def create_job(database: Database, pairs: Mapping[str, str], *, author: str, now: datetime) -> JobChange:
    """A new job from `key=value` pairs, Aus unless said otherwise; raises InvalidInput (D1)."""
    place = f"job {pairs.get('name', '')!r}"
    fields = read_job_fields(place, pairs)
    for key in ("name", *REQUIRED_JOB_FIELDS):
        if key not in fields:
            raise InvalidInput(place, key, "is missing and required")
    return await in_transaction(
        database, lambda connection: insert_job(connection, fields, place, author=author, now=now)
    )


async def set_job(
    database: Database,
    name: str,
    pairs: Mapping[str, str],
    *,
    author: str,
    now: datetime,
    basis: str | None = None,
    epoch: int | None = None,
) -> JobChange:
    """`job set NAME key=value ...`: validated like a setup file; raises NotFound, InvalidInput.

    With a `basis`, or the `epoch` alone, only for the job as it was shown; else raises Outdated.
    """
    place = f"job {name!r}"
    fields = read_job_fields(place, pairs)

    async def change(connection: AsyncConnection) -> JobChange:
        job = await load_job_row(connection, name)
        if basis is not None or epoch is not None:
            await lock_jobs(connection, _J.id == job["id"])
        if basis is not None:
            await refuse_other_basis(connection, job["id"], basis)
        if epoch is not None and (await load_job_row(connection, name))["epoch"] != epoch:
            raise Outdated("it has changed since it was shown; look at it again")
        return await change_job(connection, job["id"], fields, place, author=author, now=now)

    return await in_transaction(database, change)


async def rehearse_job(
    database: Database, name: str, pairs: Mapping[str, str], *, author: str, now: datetime
) -> JobChange:
    """What `set_job` would change, and what that would mean for the next dispatch and the plans. Changes nothing."""
    place = f"job {name!r}"
    fields = read_job_fields(place, pairs)

    async def seen(connection: AsyncConnection, job_id: int) -> tuple[dict[int, NextDispatch], dict[int, PlanOfDay]]:
        return await next_dispatches(connection, now), await plans_of(connection, job_id)

    async def work(connection: AsyncConnection) -> tuple[JobChange, Any, Any]:
        job_id = (await load_job_row(connection, name))["id"]
        before = await seen(connection, job_id)
        async with connection.begin_nested() as rehearsal:
            change = await change_job(connection, job_id, fields, place, author=author, now=now, approved=True)
            after = await seen(connection, job_id)
            await rehearsal.rollback()
        return change, before, after

    change, (dispatches, plans), (new_dispatches, new_plans) = await in_transaction(database, work)
    async with database.read() as connection:
        change.impact = await compare(connection, dispatches, new_dispatches)
        change.plan = await plan_effect(connection, change.job_id, plans, new_plans)
    return change


async def copy_job(database: Database, name: str, new: str, *, author: str, now: datetime, fresh: bool = False) -> None:
    """A copy starts Aus, without orders, in the lineage of its original; `fresh`: in one of its own (D2)."""
    new_name = read_name("job copy, new name", new)

    async def copy(connection: AsyncConnection) -> None:
        job = await _locked(connection, name)
        await refuse_taken_name(connection, new_name, "job copy")
        original, lineage_id = job["name"], job["lineage_id"]
        for key in ("id", "on_since", "next_occasion_day", "epoch"):
            job.pop(key)
        job |= {"name": new_name, "name_folded": fold(new_name), "status": "off", "off_since": now}
        job |= {"lineage_id": await fresh_lineage(connection, lineage_id, now) if fresh else lineage_id}
        job |= {"copied_from": original}
        job_id = (await connection.execute(insert(contact_jobs).values(job).returning(_J.id))).scalar_one()
        changes: list[Change] = [("copied_from", None, original), ("fresh", None, "yes" if fresh else "no")]
        await record_changes(connection, "job", job_id, new_name, "copy", changes, author=author, now=now)

    await in_transaction(database, copy)


async def delete_job(database: Database, name: str, *, author: str, now: datetime) -> int:
    """Deletes for good: open orders are withdrawn (how many is returned), sent ones keep the job's name (D35)."""

    async def remove(connection: AsyncConnection) -> int:
        job = await _locked(connection, name)
        withdrawn = await withdraw_open_orders_of_job(connection, job["id"], now=now, author=author)
        r = dispatch_runs.c
        await end_approvals(connection, _P.job_id == job["id"], now)
        open_runs = update(dispatch_runs).where(r.job_id == job["id"], r.state == "open")
        await connection.execute(open_runs.values(state="skipped", reason=JOB_DELETED, due_at=None))
        await connection.execute(delete(contact_jobs).where(_J.id == job["id"]))
        changes: list[Change] = [("withdrawn_orders", None, withdrawn)]
        await record_changes(connection, "job", job["id"], job["name"], "delete", changes, author=author, now=now)
        return withdrawn

    return await in_transaction(database, remove)


async def approve_job(
    database: Database, name: str, *, author: str, now: datetime, seal: str | None = None
) -> JobChange:
    """A second user's yes: the job is An, if it is what was asked for, and with a `seal` what was shown (S23).

    Raises Refused if nobody asks, for whoever asked or changed it last; Outdated.
    """

    async def work(connection: AsyncConnection) -> JobChange:
        job, asked = await _asked(connection, name)
        if {asked["seal"], asked["seal"] if seal is None else seal} != {await seal_of_job(connection, job["id"])}:
            raise Outdated("it has changed since it was shown; look at it again")
        await decide(connection, asked, "approved", author=author, now=now)
        await record_changes(connection, "job", job["id"], job["name"], "approve", [], author=author, now=now)
        place = f"job {name!r}"
        return await change_job(connection, job["id"], {"status": "on"}, place, author=author, now=now, approved=True)

    return await in_transaction(database, work)


async def refuse_job(database: Database, name: str, *, author: str, now: datetime) -> None:
    """A no, by anybody: the job stays Aus. Raises Refused if nobody asks."""

    async def work(connection: AsyncConnection) -> None:
        job, asked = await _asked(connection, name)
        await decide(connection, asked, "refused", author=author, now=now)
        await record_changes(connection, "job", job["id"], job["name"], "refuse", [], author=author, now=now)

    await in_transaction(database, work)


async def _asked(connection: AsyncConnection, name: str) -> tuple[dict[str, Any], Mapping[Any, Any]]:
    """The locked job, and what is asked of a second user."""
    job = await _locked(connection, name)
    asked = await waiting_approval(connection, job["id"])
    if asked is None:
        raise Refused("no approval is asked for")
    return job, asked


async def _locked(connection: AsyncConnection, name: str) -> dict[str, Any]:
    """The job, its lineage and row locked, as it is once nobody else can change it; raises NotFound."""
    seen = await load_job_row(connection, name)
    await lock_jobs(connection, _J.id == seen["id"])
    return dict(await load_job_row(connection, name))
