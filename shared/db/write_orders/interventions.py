"""What people do to write orders: withdraw, block, unblock, retry, settle (D4, D32, D35, D37)."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.suppressions import is_pause, note_wish
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, blocks, contact_jobs, dispatch_runs, lineages, persons, write_orders
from shared.db.write_orders.states import SILENT, UNCLAIMED, Change, in_state, record_orders, stop_orders
from shared.errors import InvalidInput, NotFound, Refused

_O = write_orders.c
#: An unclear letter is not resent earlier than this after its hand-over (D37).
RESEND_AFTER = timedelta(minutes=15)
#: Why orders and runs ended: their job is gone for good, or their day is no occasion of it any more.
JOB_DELETED = "job deleted"
OTHER_SCHEDULE = "schedule changed"
#: Answers about an order that does not go out anyway.
_STOPPED = {"blocked": "was blocked already", "withdrawn": "is withdrawn"}
#: Of blocks, from narrow to wide.
_SCOPES = ("letter", "job", "all")


async def withdraw_open_orders_of_job(connection: AsyncConnection, job_id: int, *, now: datetime, author: str) -> int:
    """Withdraws what is planned, queued, or claimed before T2; returns how many (D35)."""
    await _hold_blocked(connection, _O.job_id == job_id)
    return await _withdraw(connection, _O.job_id == job_id, "job_deleted", JOB_DELETED, now, author)


async def withdraw_open_orders_of_run(connection: AsyncConnection, run_id: int, *, now: datetime, author: str) -> int:
    """The same for one run, when its day is no longer an occasion of the job.

    As synchronisation does it: the orders return if the day becomes an occasion again (a mistake put right).
    """
    await _hold_blocked(connection, _O.run_id == run_id)
    return await _withdraw(connection, _O.run_id == run_id, "sync", OTHER_SCHEDULE, now, author)


async def _hold_blocked(connection: AsyncConnection, whose: ColumnElement[bool]) -> None:
    # Who lifts a block of all jobs has no lineage locked. So it comes before the job goes, or sees that it is gone.
    blocked = select(_O.id).where(whose, _O.state == "blocked")
    await connection.execute(blocked.order_by(_O.id).with_for_update())


async def withdraw_open_letters_of_person(
    connection: AsyncConnection, person_id: int, *, withdrawn_by: str, reason: str, now: datetime, author: str
) -> tuple[int, int]:
    """Contact-care letters of a locked person: how many were withdrawn, and how many are handed over already."""
    theirs = select(applications.c.id).where(applications.c.person_id == person_id)
    whose = and_(_O.application_id.in_(theirs), _O.type == "contact_job")
    stopped = await _withdraw(connection, whose, withdrawn_by, reason, now, author)
    late = select(func.count()).select_from(write_orders).where(whose, _O.state == "sending")
    return stopped, int((await connection.execute(late)).scalar_one())


async def block_person(
    connection: AsyncConnection,
    person_id: int,
    lineage_id: int | None,
    *,
    reason: str,
    until: date | None,
    now: datetime,
    author: str,
) -> tuple[int, int]:
    """Blocks a locked person for a lineage or (None) for all jobs: orders blocked, and those that are too late.

    The same fact as a block of an order with scope job or all (D32), where no order shows yet.
    """
    scope = "job" if lineage_id is not None else "all"
    order = {"present_person_id": person_id, "lineage_id": lineage_id, "id": 0}
    block_id = await _store_block(connection, order, scope, reason, until, now, author)
    blocked = await _block_orders(connection, order, block_id, person_id, scope, reason, until, now, author)
    theirs = select(applications.c.id).where(applications.c.person_id == person_id)
    whose = [_O.application_id.in_(theirs), _O.type == "contact_job", _O.state == "sending"]
    whose += [_O.lineage_id == lineage_id] if lineage_id is not None else []
    late = select(func.count()).select_from(write_orders).where(*whose)
    return len(blocked), int((await connection.execute(late)).scalar_one())


async def withdraw_passed_while_off(
    connection: AsyncConnection,
    job_id: int,
    *,
    cutoff: datetime,
    off_since: datetime | None,
    now: datetime,
    author: str,
) -> int:
    """Withdraws orders whose later of send moment and switch-off lies before `cutoff` (D4); returns how many."""
    if off_since is not None and off_since >= cutoff:
        return 0
    which = and_(_O.job_id == job_id, _O.planned_for < cutoff)
    return await _withdraw(connection, which, "passed_while_off", "passed while the job was off", now, author)


async def move_planned_orders(
    connection: AsyncConnection, run_id: int, planned_for: datetime, expires_at: datetime
) -> None:
    """Gives the orders of a run that wait for it another send moment (the job's dispatch time changed)."""
    which = and_(_O.run_id == run_id, _O.state.in_(("planned", "blocked")))
    values = {"planned_for": planned_for, "expires_at": expires_at}
    await connection.execute(update(write_orders).where(which).values(values))


async def follow_letter(connection: AsyncConnection, job_id: int, letter_id: int) -> None:
    """Gives the orders of a job that no mailer has taken yet its other letter; what was begun keeps its bytes (I12)."""
    untried = and_(_O.job_id == job_id, _O.letter_version.is_(None), in_state("planned", "blocked", "queued"))
    await connection.execute(update(write_orders).where(untried).values(letter_id=letter_id))


async def _withdraw(
    connection: AsyncConnection,
    whose: ColumnElement[bool],
    withdrawn_by: str,
    reason: str,
    now: datetime,
    author: str,
) -> int:
    values = {"state": "withdrawn", "withdrawn_by": withdrawn_by, "reason": reason}
    return len(await stop_orders(connection, whose, values, Change(now, author, "withdraw", "withdrawn", reason)))


async def block_order(
    connection: AsyncConnection,
    order_id: int,
    *,
    scope: str,
    reason: str,
    until: date | None,
    now: datetime,
    author: str,
) -> str:
    """Blocks one order and, by scope, the person for the job or for all jobs (D32).

    Answers 'blocked', 'too late' when the letter is past T2 or done, or that it was stopped already; a wider block is
    stored either way. Manual orders are withdrawn. Raises InvalidInput if `until` has passed.
    """
    order = await _locked(connection, order_id)
    unchanged = _STOPPED.get(order["state"], "too late")
    if order["type"] != "contact_job":
        done = await _withdraw(connection, _O.id == order_id, "deleted", reason, now, author)
        return "withdrawn" if done else unchanged
    if order["state"] in _STOPPED and (scope == "letter" or await _covers(connection, order["block_id"], scope, until)):
        return unchanged
    person_id = order["present_person_id"]
    block_id = await _store_block(connection, order, scope, reason, until, now, author)
    touched = await _block_orders(connection, order, block_id, person_id, scope, reason, until, now, author)
    if order_id in touched:
        return "blocked"
    return f"{unchanged}; the wider block is stored" if order["state"] in _STOPPED else unchanged


async def _covers(connection: AsyncConnection, block_id: int | None, scope: str, until: date | None) -> bool:
    """Whether a block stops all that a new one would: then that one would only outlive it."""
    b = blocks.c
    row = (await connection.execute(select(b.scope, b.until).where(b.id == block_id))).first()
    if row is None or _SCOPES.index(row.scope) < _SCOPES.index(scope):
        return False
    return row.until is None or (until is not None and until <= row.until)


async def _store_block(
    connection: AsyncConnection,
    order: Mapping[str, Any],
    scope: str,
    reason: str,
    until: date | None,
    now: datetime,
    author: str,
) -> int:
    if until is not None and until < now.astimezone((await load_system_settings(connection)).zone).date():
        raise InvalidInput("--until", until.isoformat(), "has passed; give today or a later day, or none: for good")
    values = {
        "person_id": order["present_person_id"],
        "lineage_id": None if scope == "all" else order["lineage_id"],
        "scope": scope,
        "until": until,
        "reason": reason,
        "author": author,
        "created_at": now,
    }
    return int((await connection.execute(insert(blocks).values(values).returning(blocks.c.id))).scalar_one())


async def _block_orders(
    connection: AsyncConnection,
    order: Mapping[str, Any],
    block_id: int,
    person_id: int,
    scope: str,
    reason: str,
    until: date | None,
    now: datetime,
    author: str,
) -> set[int]:
    theirs = select(applications.c.id).where(applications.c.person_id == person_id)
    of_person = and_(_O.application_id.in_(theirs), _O.type == "contact_job")
    wider: ColumnElement[bool] = {
        "letter": _O.id == order["id"],
        "job": and_(of_person, _O.lineage_id == order["lineage_id"]),
        "all": and_(of_person, _O.occasion_day <= until) if until else of_person,
    }[scope]
    values = {"state": "blocked", "block_id": block_id, "reason": f"{reason} ({author})"}
    change = Change(now, author, "block", "blocked", reason)
    return await stop_orders(connection, or_(_O.id == order["id"], wider), values, change)


async def unblock_order(connection: AsyncConnection, order_id: int, *, now: datetime, author: str) -> str:
    """Lifts the block of an order; returns its state: planned again before its send moment, else withdrawn (D32)."""
    order = await _locked(connection, order_id)
    if order["state"] != "blocked":
        raise Refused(f"order {order_id} is {order['state']}, not blocked")
    was_pause = await is_pause(connection, order["block_id"])
    await lift_blocks(connection, [order["block_id"]], now=now, author=author)
    if was_pause:
        await note_wish(connection, order["present_person_id"], author, taken_back="paused_until")
        # After a merger another pause may stand.
        await note_wish(connection, order["present_person_id"], author)
    return str((await connection.execute(select(_O.state).where(_O.id == order_id))).scalar_one())


async def lift_blocks(connection: AsyncConnection, block_ids: Sequence[int], *, now: datetime, author: str) -> int:
    """Lifts standing blocks of a locked person; whoever they stopped comes back or is withdrawn. Returns how many."""
    block = blocks.c
    lifted = {"lifted_at": now, "lifted_by": author}
    standing = update(blocks).where(block.id.in_(block_ids), block.lifted_at.is_(None))
    count = (await connection.execute(standing.values(lifted))).rowcount
    theirs = and_(_O.block_id.in_(block_ids), _O.state == "blocked")
    which = await record_orders(connection, theirs, Change(now, author, "unblock", "unblocked", None))
    # The plan decides whether it still matches.
    r = dispatch_runs.c
    its_runs = r.id.in_(select(_O.run_id).where(which))
    await connection.execute(update(dispatch_runs).where(its_runs, r.state == "open").values(due_at=now, rung_at=None))
    await connection.execute(update(write_orders).where(which).values(_unblocked(now)))
    return count


def _unblocked(now: datetime) -> dict[str, Any]:
    """What becomes of a blocked order: as of its siblings if job or day went meanwhile, else by its send moment."""
    r = dispatch_runs.c
    gone = _O.job_id.is_(None)
    # By its id: the candidates' page may not read the rest of a run.
    dropped = select(r.id).where(r.id == _O.run_id, r.state == "skipped", r.reason == OTHER_SCHEDULE).exists()
    late = _O.planned_for <= now
    return {
        "state": case((or_(gone, dropped, late), "withdrawn"), else_="planned"),
        "reason": case((gone, JOB_DELETED), (dropped, OTHER_SCHEDULE), (late, "unblocked after its send moment")),
        "withdrawn_by": case((gone, "job_deleted"), (dropped, "sync"), (late, "unblocked_late")),
        "block_id": None,
    }


async def retry_order(connection: AsyncConnection, order_id: int, *, now: datetime, author: str) -> None:
    """failed or no_address -> queued again, valid as long as at first (D13: refused while another is under way).

    What may have arrived all the same, given up by a person while it was unclear, waits as any resend does (D37).
    """
    order = await _locked(connection, order_id)
    if order["state"] not in ("failed", "no_address"):
        hint = "; `order settle` decides on it" if order["state"] == "unclear" else ""
        raise Refused(
            f"order {order_id} is {order['state']}; only failed and no_address orders can be tried again{hint}"
        )
    await _requeue(connection, order, now, order["handed_over_at"], author, "retry")


async def lock_unclear(connection: AsyncConnection, order_id: int) -> Mapping[str, Any]:
    """The order that a person decides on, locked until the commit; Refused when it is not, or no longer, unclear."""
    order = await _locked(connection, order_id)
    if order["state"] != "unclear":
        raise Refused(f"order {order_id} is {order['state']}, not unclear")
    return order


async def settle_unclear(
    connection: AsyncConnection, order: Mapping[str, Any], decision: str, *, now: datetime, author: str
) -> None:
    """A person's decision `resend` or `failed` on a locked unclear order (D37); for `sent` see `settle_as_sent`."""
    order_id = order["id"]
    if decision == "resend":
        await _requeue(connection, order, now, order["handed_over_at"] or now, author, "settle_resend")
        return
    which = _O.id == order_id
    reason = f"settled as failed by {author}"
    await record_orders(connection, which, Change(now, author, "settle", "failed", reason))
    await connection.execute(
        update(write_orders).where(which).values(state="failed", reason=reason, **SILENT, **UNCLAIMED)
    )


async def _requeue(
    connection: AsyncConnection,
    order: Mapping[str, Any],
    now: datetime,
    in_doubt_since: datetime | None,
    author: str,
    action: str,
) -> None:
    """The locked order goes out again; after a wait if it was handed over and nobody knows the answer (D37)."""
    await _refuse_if_under_way(connection, order)
    not_before = now if in_doubt_since is None else max(now, in_doubt_since + RESEND_AFTER)
    valid, letter_id = await _validity_and_letter(connection, order)
    which = _O.id == order["id"]
    await record_orders(connection, which, Change(now, author, action, "queued", None))
    values = {
        "state": "queued",
        "reason": None,
        "not_before": not_before,
        "ring_at": not_before,
        "expires_at": not_before + valid,
        "letter_id": letter_id,
        "queued_at": now,
        "fruitless_claims": 0,
        **UNCLAIMED,
    }
    await connection.execute(update(write_orders).where(which).values(values))


async def _refuse_if_under_way(connection: AsyncConnection, order: Mapping[str, Any]) -> None:
    if order["type"] != "contact_job":
        return  # D13 is about letters of one job; a person may write as often as is wanted (D30)
    theirs = select(applications.c.id).where(applications.c.person_id == order["present_person_id"])
    same_person = or_(_O.person_id == order["person_id"], _O.application_id.in_(theirs))
    others = (_O.lineage_id == order["lineage_id"], same_person, _O.id != order["id"])
    under_way = select(_O.id).where(*others, _O.state.in_(("queued", "sending")))
    other = (await connection.execute(under_way)).scalars().first()
    if other is not None:
        raise Refused(f"order {other} of the same person and job is under way; try again when it has ended")
    # Of two persons that became one, each may have had a letter of that day (D24).
    same_day = select(_O.id).where(*others, _O.occasion_day == order["occasion_day"], _O.state.in_(("sent", "unclear")))
    other = (await connection.execute(same_day)).scalars().first()
    if other is not None:
        raise Refused(f"order {other} of the same person, job and day is sent or unclear; there is no second one")


async def _validity_and_letter(connection: AsyncConnection, order: Mapping[str, Any]) -> tuple[timedelta, int]:
    """For how long an order is valid, and its letter: of one that no mailer has taken yet the job's present one."""
    j = contact_jobs.c
    job = (await connection.execute(select(j.valid_days, j.letter_id).where(j.id == order["job_id"]))).first()
    if job is None and order["type"] == "contact_job":
        raise Refused(f"order {order['id']}: its job was deleted, nothing more is sent for it")
    if job is None:
        return timedelta(days=5), order["letter_id"]
    return timedelta(days=job.valid_days), order["letter_id"] if order["letter_version"] is not None else job.letter_id


async def _locked(connection: AsyncConnection, order_id: int) -> Mapping[str, Any]:
    """The order with its person, locked in the house's order: lineage, person, application, order."""
    seen = (await connection.execute(select(_O.lineage_id, _O.application_id).where(_O.id == order_id))).first()
    if seen is None:
        raise NotFound("order", order_id)
    await connection.execute(select(lineages.c.id).where(lineages.c.id == seen.lineage_id).with_for_update())
    person = select(applications.c.person_id).where(applications.c.id == seen.application_id)
    person_id = (await connection.execute(person)).scalar_one()
    await connection.execute(select(persons.c.id).where(persons.c.id == person_id).with_for_update())
    mine = applications.c.id == seen.application_id
    await connection.execute(select(applications.c.id).where(mine).with_for_update())
    row = (await connection.execute(select(write_orders).where(_O.id == order_id).with_for_update())).mappings().one()
    return {**row, "present_person_id": person_id}
