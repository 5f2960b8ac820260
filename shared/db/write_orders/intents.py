"""T2: the intent, directly before the final dot (reliability, B.4); renewing and giving back a claim before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, exists, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of, lease_clock
from shared.db.row_sets import RowSet
from shared.db.tables import applications, attempts, contact_jobs, persons, write_orders
from shared.db.write_orders.claims import locked_jobs
from shared.db.write_orders.states import UNCLAIMED

_O, _A = write_orders.c, applications.c


@dataclass(frozen=True, slots=True)
class Written:
    """What stands before the final dot: the letter's size and hash, noted with the intent as evidence (D37)."""

    bytes: int
    body_hash: str


async def intend(
    connection: AsyncConnection,
    held: Mapping[int, int],
    reply_lease_seconds: float,
    now: datetime,
    written: Mapping[int, Written] | None = None,
) -> set[int]:
    """T2 for a group of orders (id -> lease token): records "about to send"; returns those that may be sent (I8, I9).

    The job row is locked FOR SHARE first: in READ COMMITTED a plain join would miss a switch-off that commits
    between the statement's snapshot and its update.
    """
    await locked_jobs(connection, held)
    mine = and_(any_of(_O.id, held), any_of(_O.lease_token, held.values()))
    job = contact_jobs.c
    unchanged = exists().where(job.id == _O.job_id, job.status == "on", job.epoch == _O.claimed_epoch)
    reachable = exists().where(
        _A.id == _O.application_id,
        _A.email == _O.email,
        _A.usable_email.is_not(None),
        _A.reduced_at.is_(None),
        persons.c.id == _A.person_id,
        or_(persons.c.opted_out_at.is_(None), _O.type != "contact_job"),
    )
    statement = update(write_orders).where(
        mine,
        _O.state == "sending",
        _O.phase == "claimed",
        _O.lease_until > lease_clock(),
        or_(and_(_O.type != "contact_job", _O.claimed_epoch == 0), unchanged),
        reachable,
    )
    values = {"phase": "handed_over", "handed_over_at": now, "lease_until": lease_clock(reply_lease_seconds)}
    granted = set((await connection.execute(statement.values(values).returning(_O.id))).scalars())
    if granted:
        await _note_intents(connection, {held[order_id]: (written or {}).get(order_id) for order_id in granted}, now)
    return granted


async def _note_intents(connection: AsyncConnection, intents: Mapping[int, Written | None], now: datetime) -> None:
    a = attempts.c
    noted = RowSet(connection, token=a.lease_token, bytes=a.bytes, body_hash=a.body_hash)
    values = {"handed_over_at": now, "bytes": noted["bytes"], "body_hash": noted["body_hash"]}
    rows = [
        {"token": token, "bytes": one.bytes if one else None, "body_hash": one.body_hash if one else None}
        for token, one in intents.items()
    ]
    await noted.execute(update(attempts).where(a.lease_token == noted["token"]).values(values), rows)


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
