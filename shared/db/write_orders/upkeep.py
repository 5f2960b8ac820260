"""The sweep's part of the state machine: leases that ran out, orders that expired, doorbells to ring."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Instant, any_of, lease_clock, unindexed
from shared.db.tables import applications, attempts, contact_jobs, write_orders
from shared.db.write_orders.states import SILENT, UNCLAIMED, Change, in_state, record_orders, stop_orders

_O = write_orders.c
# Made once: an alias copies every column of its table, and the sweep asks each second.
_OTHER, _MINE, _THEIRS = write_orders.alias("other"), applications.alias("mine"), applications.alias("theirs")
#: How long a ringer may take between choosing orders and marking them rung.
RINGING = timedelta(seconds=15)
#: Lost doorbells that are wanted again in one transaction.
MOST_LOST = 20_000
#: Expired orders of a job that are withdrawn in one transaction.
MOST_EXPIRED = 20_000
_JOB_IS_OFF = exists().where(contact_jobs.c.id == _O.job_id, contact_jobs.c.status == "off")


async def return_expired_claims(connection: AsyncConnection, now: datetime) -> dict[str, int]:
    """Claims whose lease ran out: before T2 back to queued, after it to unclear (I4, I5).

    When an order became unclear stands in `not_before`: nothing is sent again until its mailer could tell (I20).
    """
    # One moment for all statements, and the rows locked first: a lease that ran out between two of them would give back
    # an order whose attempt stays without an outcome, or make one unclear without an event.
    moment = literal((await connection.execute(select(lease_clock()))).scalar_one(), Instant())
    ran_out = and_(in_state("sending"), _O.lease_until < moment)
    await connection.execute(select(_O.id).where(ran_out).order_by(_O.id).with_for_update())
    before = and_(ran_out, _O.phase == "claimed")
    tokens = select(_O.lease_token).where(before)
    open_attempts = update(attempts).where(attempts.c.lease_token.in_(tokens), attempts.c.settled_at.is_(None))
    await connection.execute(open_attempts.values(outcome="lease ran out", settled_at=now))
    again = {"state": "queued", "not_before": now, "ring_at": now, **UNCLAIMED}
    returned = (await connection.execute(update(write_orders).where(before).values(again))).rowcount
    after = and_(ran_out, _O.phase == "handed_over")
    reason = "handed over to the mail server, answer unknown: the mailer was lost"
    await record_orders(connection, after, Change(now, "sweep", "unclear", "unclear", reason))
    # The token stays: a late answer of that attempt still settles it.
    lost = {"state": "unclear", "reason": reason, "not_before": now, "phase": None, "lease_until": None, **SILENT}
    unclear = (await connection.execute(update(write_orders).where(after).values(lost))).rowcount
    return {"returned": returned, "unclear": unclear}


async def resend_unclear(connection: AsyncConnection, now: datetime, wait: timedelta) -> int:
    """unclear -> queued for jobs with `on_unclear: resend`, not before `wait` after the hand-over (D37).

    Where the mailer was lost, `wait` counts from when that was found: after an outage of the database longer than
    `wait`, mailers and journals that know of an accepted letter come first (I20).
    """
    other = _OTHER.c
    which = and_(
        in_state("unclear"),
        *_is_due(_O, now, wait),
        ~_is_there(other.state.in_(("queued", "sending"))),
        # Of several to one person the first: two under way would break the key, and with it the whole sweep (D13).
        ~_is_there(other.id < _O.id, other.state == "unclear", *_is_due(other, now, wait)),
    )
    which = await record_orders(connection, which, Change(now, "sweep", "resend", "queued", "resend"))
    values = {"state": "queued", "not_before": now, "ring_at": now, "reason": None, **UNCLAIMED}
    return (await connection.execute(update(write_orders).where(which).values(values))).rowcount


def _is_due(o: Any, now: datetime, wait: timedelta) -> tuple[ColumnElement[bool], ...]:
    """Of unclear orders: their job sends them again, and the wait is over."""
    job = contact_jobs.c
    return (
        o.handed_over_at < now - wait,
        or_(o.not_before.is_(None), o.not_before < now - wait),
        o.expires_at > now,
        exists().where(job.id == o.job_id, job.on_unclear == "resend", job.status == "on"),
        # What stopped a resend once is for a person to decide.
        or_(o.reason.is_(None), ~o.reason.startswith("resend stopped")),
    )


def _is_there(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Another such order of the lineage to the same person, as it was when they were made or as it is.

    Apart, so that each finds its index: a lineage may have a million orders under way.
    """
    mine, theirs, o = _MINE.c, _THEIRS.c, _OTHER.c
    beside = (o.id != _O.id, *which)
    then = (o.lineage_id == _O.lineage_id, o.person_id == _O.person_id)
    by_now = (mine.id == _O.application_id, theirs.person_id == mine.person_id, o.application_id == theirs.id)
    of_lineage = unindexed(o.lineage_id) == _O.lineage_id
    return or_(exists().where(*then, *beside), exists().where(*by_now, of_lineage, *beside))


async def withdraw_expired(connection: AsyncConnection, now: datetime) -> int:
    """Planned or queued past their validity (D19), unless the job is off (D4); so many of a job in one go."""
    late = and_(in_state("planned", "queued"), _O.expires_at <= now)
    found: list[int] = []
    for job_id in (await connection.execute(_jobs_with(late))).scalars().all():
        some = select(_O.id).where(late, _O.job_id == job_id).order_by(_O.expires_at).limit(MOST_EXPIRED)
        found += (await connection.execute(some)).scalars()
    if not found:
        return 0
    reason = case((_O.reason.is_(None), "expired"), else_="expired; last: " + _O.reason)
    values = {"state": "withdrawn", "withdrawn_by": "expired", "reason": reason}
    # Asked once more now that they are locked: another sweep may have been first, and the job be off since.
    which = and_(any_of(_O.id, found), late, ~_JOB_IS_OFF)
    return len(await stop_orders(connection, which, values, Change(now, "sweep", "expire", "withdrawn", "expired")))


def _jobs_with(late: ColumnElement[bool]) -> CompoundSelect[Any]:
    """Jobs that are on and have orders that are `late`; NULL for orders of no job.

    One look into the index for each: of a job that is off nothing is read, and it may have a million.
    """
    job = contact_jobs.c
    # Not EXISTS, which a planner may turn into a join of all that are late.
    first = select(func.min(_O.expires_at)).where(late)
    on = select(job.id).where(job.status == "on", first.where(_O.job_id == job.id).scalar_subquery().is_not(None))
    none = select(cast(null(), job.id.type)).where(first.where(_O.job_id.is_(None)).scalar_subquery().is_not(None))
    return on.union_all(none)


async def release_manual_orders(connection: AsyncConnection, now: datetime) -> int:
    """Manual orders and scheduled rejections at their time (D30)."""
    which = and_(_O.type != "contact_job", in_state("planned"), _O.planned_for <= now)
    values = {"state": "queued", "queued_at": now, "not_before": now, "ring_at": now, "reason": None}
    return (await connection.execute(update(write_orders).where(which).values(values))).rowcount


async def choose_to_ring(
    connection: AsyncConnection, now: datetime, limit: int, run_id: int | None = None
) -> list[int]:
    """Takes up to `limit` queued orders that want a doorbell; nobody else rings for them for `RINGING`."""
    due = [in_state("queued"), _O.ring_at <= now, *([_O.run_id == run_id] if run_id is not None else [])]
    # By the index alone: a million orders that were released together have one `ring_at`, and none of them is sorted.
    chosen = select(_O.id).where(*due).order_by(_O.ring_at).limit(limit).with_for_update(skip_locked=True)
    ids = list((await connection.execute(chosen)).scalars())
    if ids:
        await connection.execute(update(write_orders).where(_O.id.in_(ids)).values(ring_at=now + RINGING))
    return ids


async def mark_rung(connection: AsyncConnection, ids: Sequence[int], chosen_at: datetime, now: datetime) -> None:
    """The broker has the doorbells of these orders. Who was claimed and put back meanwhile keeps its own time."""
    mine = and_(_O.id.in_(ids), in_state("queued"), _O.ring_at == chosen_at + RINGING)
    # Locked by ascending id like everywhere else, so that two writers of many orders cannot deadlock.
    locked = select(_O.id).where(mine).order_by(_O.id).with_for_update().cte("locked")
    await connection.execute(
        update(write_orders).where(_O.id.in_(select(locked.c.id))).values(ring_at=None, rung_at=now)
    )


async def ring_when_due(connection: AsyncConnection, ids: Sequence[int], now: datetime) -> None:
    """For a mailer whose doorbells came too early: those of these orders are rung again when it may claim them.

    Without it they would wait until they are taken for lost. Too early is what a clock ahead of the mailer's rings, so
    by at least as much as is missing: that is put on top.
    """
    early = and_(any_of(_O.id, ids), in_state("queued"), _O.not_before > now)
    # Who was put off has its time already.
    rung = select(_O.id, _O.not_before).where(early, _O.ring_at.is_distinct_from(_O.not_before))
    found = (await connection.execute(rung.order_by(_O.id).with_for_update())).all()
    again = [{"_id": one.id, "_at": one.not_before + (one.not_before - now)} for one in found]
    if again:
        then = update(write_orders).where(_O.id == bindparam("_id"))
        await connection.execute(then.values(ring_at=bindparam("_at", type_=_O.ring_at.type)), again)


async def ring_lost_again(connection: AsyncConnection, now: datetime, older_than: timedelta) -> int:
    """Queued orders whose doorbell must be lost (their queue is empty) want a new one; so many in one go."""
    lost = and_(in_state("queued"), _O.ring_at.is_(None), or_(_O.rung_at.is_(None), _O.rung_at < now - older_than))
    # The rest when these have been taken: a million at once would hold everybody up for a minute.
    some = select(_O.id).where(lost).order_by(_O.rung_at).limit(MOST_LOST).with_for_update(skip_locked=True).cte("some")
    wanted = update(write_orders).where(_O.id.in_(select(some.c.id))).values(ring_at=now)
    return (await connection.execute(wanted)).rowcount


async def want_ringing(connection: AsyncConnection, now: datetime) -> int:
    """Every queued order wants a doorbell now; returns how many there are (after a hold)."""
    queued = update(write_orders).where(in_state("queued"))
    return (await connection.execute(queued.values(ring_at=now))).rowcount
