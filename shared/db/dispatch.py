"""The one step of a run: make its plan, keep it current and, at the send moment, release it (D12-D16, D36).

Called by the evaluator for scheduled runs, and by `job run` for a run that a person asks for: same function, same
locks, one transaction. The caller commits; the doorbells are rung afterwards.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, null, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import traces
from shared.db.job_basis import Shown, refuse_other_basis
from shared.db.job_rows import load_job_row, schedule_of
from shared.db.plan_basis import begin_plan, end_plan, whom_to_look_at
from shared.db.queries import QueryDay, load_query_by_id
from shared.db.recipients import PlanScope, is_anybody_capped, recipients
from shared.db.runs import (
    NewRun,
    approved_number,
    earlier_due_run,
    largest_of_last_dispatches,
    load_run,
    lock_lineage,
    record_run,
    update_run,
)
from shared.db.system_settings import SystemSettings, load_system_settings
from shared.db.tables import contact_jobs, dispatch_runs
from shared.db.write_orders.claims import rules_of
from shared.db.write_orders.planning import (
    PlannedRun,
    count_planned,
    hold_planned,
    release,
    synchronise_plan,
    withdraw_planned,
)
from shared.errors import InvalidInput, Outdated, Refused

#: D36: a dispatch is held when it has more recipients than this, and more than `HELD_FACTOR` times the largest.
HELD_ABOVE = 50
HELD_FACTOR = 3


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did: orders released, how many of them have no usable address, and why it held them, if so.

    `waiting`: orders that stay planned, as another letter of the lineage to the person is under way (D13).
    """

    run_id: int
    released: int = 0
    without_address: int = 0
    held: str | None = None
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Step:
    """One step's given facts."""

    run: Mapping[str, Any]
    job: Mapping[str, Any]
    settings: SystemSettings
    now: datetime
    #: A person asked for a release now (`job run`), and whether the bound is theirs to check.
    asked: bool
    author: str


async def synchronise(
    connection: AsyncConnection, run_id: int, now: datetime, *, asked: bool = False, author: str = "evaluator"
) -> StepResult:
    """Brings a run up to date and releases it if its moment has come, or if a person asked."""
    run = await load_run(connection, run_id, lock=True)
    job = await _job_of(connection, run)
    if run is None or job is None or job["status"] == "off":
        if run is not None:
            await update_run(connection, run_id, due_at=None)
        return StepResult(run_id)
    step = _Step(run, job, await load_system_settings(connection), now, asked, author)
    try:
        if not asked and _is_missed(step):
            return await _skip(connection, step)
        return await _plan_and_release(connection, step)
    except InvalidInput as exc:  # the query has become invalid: the run fails visibly, the job stays An (D21)
        if asked:
            raise
        retry_at = now + timedelta(minutes=step.settings.sync_minutes)
        # A number that was approved is forgotten with it, and is then asked for again (D36).
        unheld = run["unheld"] and approved_number(run["reason"]) is None
        await update_run(connection, run_id, reason=f"failed: {exc}", due_at=retry_at, unheld=unheld)
        return StepResult(run_id)


async def run_now(
    connection: AsyncConnection,
    job_name: str,
    on: date | None,
    now: datetime,
    author: str,
    shown: Shown | None = None,
) -> tuple[StepResult, date]:
    """`job run`: makes or joins the run of (job, day) and releases it now, whatever the clock says.

    `shown`: what the person confirmed. Raises Outdated, for the caller to take back, if the job has changed or more
    letters would go; fewer may, as a block or an opt-out only takes away.
    """
    run_id, day = await _joined_run(connection, job_name, on, now)
    if shown is not None:
        job = await load_job_row(connection, job_name)
        await refuse_other_basis(connection, job["id"], shown.basis)
    result = await synchronise(connection, run_id, now, asked=True, author=author)
    if shown is not None and result.released > shown.count:
        raise Outdated(f"{result.released} letters would go, not {shown.count}; look at it again")
    return result, day


async def preview_bound(connection: AsyncConnection, job_name: str, on: date | None, now: datetime) -> str | None:
    """The question that D36 puts to a person before `job run`, if the dispatch is unusually large. Changes nothing."""
    async with connection.begin_nested() as rehearsal:
        question = await _bound_question(connection, job_name, on, now)
        await rehearsal.rollback()
    return question


async def _bound_question(connection: AsyncConnection, job_name: str, on: date | None, now: datetime) -> str | None:
    run_id, _ = await _joined_run(connection, job_name, on, now)
    run = await load_run(connection, run_id, lock=True)
    job = await _job_of(connection, run)
    if run is None or job is None:
        return None
    step = _Step(run, job, await load_system_settings(connection), now, asked=False, author="")
    ranked = (await _statement(connection, step)).subquery()
    count = (await connection.execute(select(func.count()).select_from(ranked).where(ranked.c.rank == 1))).scalar_one()
    held = await _held(connection, step, count)
    return (
        f"{count} recipients, more than {HELD_FACTOR} times as many as in any of the last dispatches" if held else None
    )


async def _joined_run(connection: AsyncConnection, job_name: str, on: date | None, now: datetime) -> tuple[int, date]:
    job = await load_job_row(connection, job_name)
    await lock_lineage(connection, job["lineage_id"])
    # Again: a change of the job may have been waited for.
    job = await load_job_row(connection, job_name)
    if job["status"] == "off":
        raise Refused(f"job {job['name']!r} is Aus; set status=An first, nothing was sent")
    day = on or now.astimezone(ZoneInfo(job["time_zone"])).date()
    schedule = schedule_of(job)
    send_at = schedule.send_moment(day) if schedule.is_occasion(day) else now
    await record_run(connection, NewRun(job, day, min(now, schedule.plan_from(day)), send_at), now)
    r = dispatch_runs.c
    found = await connection.execute(select(r.id).where(r.job_id == job["id"], r.occasion_day == day))
    return found.scalar_one(), day


async def _job_of(connection: AsyncConnection, run: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if run is None or run["job_id"] is None:
        return None
    statement = select(contact_jobs).where(contact_jobs.c.id == run["job_id"])
    row = (await connection.execute(statement)).mappings().first()
    return {str(key): value for key, value in row.items()} if row is not None else None


def _is_missed(step: _Step) -> bool:
    """D16 and D4: too late to catch up, counted from the later of send moment and switch-off."""
    if step.run["state"] != "open" or step.run["released_at"] is not None:
        return False
    since: datetime = step.run["send_at"]
    off = step.job["off_since"]
    if off is not None and step.job["on_since"] is not None and step.job["on_since"] > since:
        since = max(since, off)
    return step.now - since >= timedelta(hours=step.settings.catch_up_hours)


async def _skip(connection: AsyncConnection, step: _Step) -> StepResult:
    statement = await _statement(connection, step)
    ranked = statement.subquery()
    counted = select(func.count()).select_from(ranked).where(ranked.c.rank == 1)
    would_be = (await connection.execute(counted)).scalar_one()
    reason = f"missed by more than {step.settings.catch_up_hours} hours"
    await withdraw_planned(connection, step.run["id"], "missed", "missed", step.now, step.author)
    await update_run(
        connection, step.run["id"], state="skipped", reason=reason, recipients=would_be, due_at=None, synced_at=step.now
    )
    return StepResult(step.run["id"])


async def _statement(connection: AsyncConnection, step: _Step, among: Collection[int] | None = None) -> Any:
    query = await load_query_by_id(connection, step.job["query_id"])
    day = QueryDay(step.run["occasion_day"], ZoneInfo(step.job["time_zone"]), step.settings.leap_day_birthday)
    people = None if among is None else tuple(among)
    return recipients(query, day, PlanScope(rules_of(step.job, step.settings), step.run["id"], people))


async def _plan_and_release(connection: AsyncConnection, step: _Step) -> StepResult:
    run = step.run
    statement, basis, among = await _statement(connection, step), None, None
    if run["state"] == "open" and not step.asked and step.now < run["send_at"]:
        capped = await is_anybody_capped(connection, step.settings.frequency_cap_days)
        basis = await begin_plan(connection, statement, step.job, capped)
        among = await whom_to_look_at(connection, run, basis)
    # A dispatched run only looks after its leftovers: nobody is added to it but by a person's `job run`.
    planned = await synchronise_plan(
        connection,
        _planned_run(step, among),
        statement if among is None else await _statement(connection, step, among),
        step.now,
        step.author,
        only_leftovers=run["state"] != "open" and not step.asked,
    )
    if not planned.job_is_on:
        await update_run(connection, run["id"], due_at=None)
        return StepResult(run["id"])
    values: dict[str, Any] = {
        "synced_at": step.now,
        "synced_epoch": step.job["epoch"],
        "recipients": planned.recipients,
        # An approval stands until the release that it is for.
        "reason": run["reason"] if approved_number(run["reason"]) is not None else None,
        "basis": await end_plan(connection, basis) if basis else null(),
    }
    result = StepResult(run["id"])
    if step.asked or run["send_at"] <= step.now:
        with traces.step("release") as releasing:
            result = await _release(connection, step)
            releasing.note(orders=result.released)
        if result.held:
            values |= {"reason": result.held, "unheld": False}
        if result.released:
            values |= {"released_at": step.now, "released_orders": run["released_orders"] + result.released}
    values |= await _next(connection, step, result)
    if values.get("state") == "dispatched":
        values["reason"] = None
    await update_run(connection, run["id"], **values)
    return result


def _planned_run(step: _Step, among: Collection[int] | None) -> PlannedRun:
    planned_for = step.now if step.asked else step.run["send_at"]
    return PlannedRun(
        run_id=step.run["id"],
        job_id=step.job["id"],
        job_name=step.job["name"],
        lineage_id=step.job["lineage_id"],
        letter_id=step.job["letter_id"],
        occasion_day=step.run["occasion_day"],
        time_zone=step.job["time_zone"],
        planned_for=planned_for,
        expires_at=planned_for + timedelta(days=step.job["valid_days"]),
        return_all=step.asked,
        among=among,
    )


async def _release(connection: AsyncConnection, step: _Step) -> StepResult:
    run = step.run
    if not step.asked and await earlier_due_run(connection, run, step.now) is not None:
        return StepResult(run["id"])
    count, without = await count_planned(connection, run["id"])
    held = await _held(connection, step, count)
    if held:
        await hold_planned(connection, run["id"], held)
        return StepResult(run["id"], held=held)
    moment = step.now if step.asked else None
    valid = timedelta(days=step.job["valid_days"])
    released = await release(connection, run["id"], step.job["lineage_id"], step.now, moment, valid)
    waiting, waiting_without = await count_planned(connection, run["id"])
    return StepResult(run["id"], released, without - waiting_without, waiting=waiting)


async def _held(connection: AsyncConnection, step: _Step, count: int) -> str | None:
    """D36. `job run` by a person asks before it comes here; scripts are not held."""
    approved = approved_number(step.run["reason"])
    is_approved = step.run["unheld"] and (approved is None or count <= approved)
    if step.asked or is_approved or step.run["released_at"] is not None or count <= HELD_ABOVE:
        return None
    largest = await largest_of_last_dispatches(connection, step.job["lineage_id"], step.run["id"])
    if largest is None or count <= HELD_FACTOR * largest:
        return None
    return f"held: {count} > {HELD_FACTOR * largest}"


async def _next(connection: AsyncConnection, step: _Step, result: StepResult) -> dict[str, Any]:
    """State of the run and when it wants the next synchronisation."""
    later = step.now + timedelta(minutes=step.settings.sync_minutes)
    if step.now < step.run["send_at"]:
        return {"state": "open", "due_at": min(later, step.run["send_at"])}
    if result.held:
        return {"due_at": later}
    if not step.asked and await earlier_due_run(connection, step.run, step.now) is not None:
        return {"due_at": step.now + timedelta(seconds=2)}
    left, _ = await count_planned(connection, step.run["id"])
    # Leftovers wait for another letter of the same person to end.
    return {"state": "dispatched", "due_at": later if left else None}
