"""T2: the intent, directly before the final dot (reliability, B.4); renewing and giving back a claim before it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Double, and_, bindparam, exists, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import IdList, Instant, any_of, lease_clock
from shared.db.job_locks import hold_jobs
from shared.db.prepared import Answer, Prepared, PreparedForRows, Rows, together
from shared.db.tables import applications, attempts, contact_jobs, persons, write_orders
from shared.db.write_orders.states import UNCLAIMED
from shared.records import record

_O, _A, _T = write_orders.c, applications.c, attempts.c


@record
class Intent:
    """A held order whose letter stands before its final dot. Size and hash are noted as evidence (D37)."""

    order_id: int
    token: int
    job_id: int | None
    bytes: int
    body_hash: str


def _intend() -> Any:
    job = contact_jobs.c
    # Only of a job that is locked: READ COMMITTED would miss a switch-off that commits after this statement's snapshot.
    unchanged = exists().where(
        *(job.id == _O.job_id, any_of(job.id, bindparam("jobs", type_=IdList()))),
        *(job.status == "on", job.epoch == _O.claimed_epoch),
    )
    reachable = exists().where(
        _A.id == _O.application_id,
        _A.email == _O.email,
        _A.usable_email.is_not(None),
        _A.reduced_at.is_(None),
        persons.c.id == _A.person_id,
        or_(persons.c.opted_out_at.is_(None), _O.type != "contact_job"),
    )
    statement = update(write_orders).where(
        any_of(_O.id, bindparam("ids", type_=IdList())),
        any_of(_O.lease_token, bindparam("tokens", type_=IdList())),
        _O.state == "sending",
        _O.phase == "claimed",
        _O.lease_until > lease_clock(),
        or_(and_(_O.type != "contact_job", _O.claimed_epoch == 0), unchanged),
        reachable,
    )
    until = lease_clock(bindparam("reply_lease", type_=Double))
    values = {"phase": "handed_over", "handed_over_at": bindparam("now", type_=Instant()), "lease_until": until}
    return statement.values(values).returning(_O.id)


def _note(new: Rows) -> Any:
    values = {"handed_over_at": bindparam("now", type_=Instant()), "bytes": new["bytes"], "body_hash": new["body_hash"]}
    # Of whom the statement before it granted, without waiting for its answer.
    granted = exists().where(_O.id == _T.order_id, _O.lease_token == _T.lease_token, _O.phase == "handed_over")
    return update(attempts).where(new.meet(_T.lease_token), _T.handed_over_at.is_(None), granted).values(values)


_INTEND = Prepared(_intend)
_NOTE = PreparedForRows(_note, token=_T.lease_token, bytes=_T.bytes, body_hash=_T.body_hash)


async def intend(
    connection: AsyncConnection, intents: Sequence[Intent], reply_lease_seconds: float, now: datetime
) -> set[int]:
    """T2 for a group, one intent an order: records "about to send"; returns the orders that may be sent (I8, I9).

    The job row is locked FOR SHARE first: a switch-off waits for this commit, or this statement sees it.
    """
    async with together(connection):
        found = await _ask(connection, intents, reply_lease_seconds, now)
    return {row.id for row in found()}


async def _ask(
    connection: AsyncConnection, intents: Sequence[Intent], reply_lease_seconds: float, now: datetime
) -> Answer:
    jobs = {one.job_id for one in intents if one.job_id is not None}
    await hold_jobs(connection, jobs)
    found = await _INTEND.ask(
        connection,
        ids=[one.order_id for one in intents],
        tokens=[one.token for one in intents],
        jobs=list(jobs),
        reply_lease=reply_lease_seconds,
        now=now,
    )
    noted = [{"token": one.token, "bytes": one.bytes, "body_hash": one.body_hash} for one in intents]
    await _NOTE.execute(connection, noted, now=now)
    return found


async def renew(connection: AsyncConnection, held: Mapping[int, int], lease_seconds: float) -> set[int]:
    """Extends the leases of claimed orders; returns those still held."""
    mine = and_(any_of(_O.id, held), any_of(_O.lease_token, held.values()), _O.phase == "claimed")
    statement = update(write_orders).where(mine, _O.lease_until > lease_clock())
    result = await connection.execute(statement.values(lease_until=lease_clock(lease_seconds)).returning(_O.id))
    return set(result.scalars())


async def give_back(connection: AsyncConnection, held: Mapping[int, int], now: datetime, reason: str) -> int:
    """sending/claimed -> queued, at once due again: T2 refused, or the mailer drains (I19). The look decides anew."""
    mine = and_(
        any_of(_O.id, held), any_of(_O.lease_token, held.values()), _O.state == "sending", _O.phase == "claimed"
    )
    values = {
        "state": "queued",
        "not_before": now,
        "ring_at": now,
        "fruitless_claims": _O.fruitless_claims - 1,
        **UNCLAIMED,
    }
    given = (await connection.execute(update(write_orders).where(mine).values(values))).rowcount
    ended = update(attempts).where(any_of(attempts.c.lease_token, held.values()), attempts.c.settled_at.is_(None))
    await connection.execute(ended.values(outcome=f"given back: {reason}", settled_at=now))
    return given
