"""T1: a mailer claims what is queued, after the last look (D33; reliability, B.4)."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Double, and_, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier, IdList, Instant, PlainText, any_of, lease_clock
from shared.db.job_locks import share_jobs
from shared.db.prepared import Prepared, PreparedForRows, Rows, plan_once, together
from shared.db.queries import QueryDay, load_query_by_id
from shared.db.recipients import ORDER_IDS, JobRules, last_look
from shared.db.send_slots import take_domain_slots
from shared.db.system_settings import SystemSettings
from shared.db.tables import (
    applications,
    attempts,
    contact_jobs,
    write_orders,
)
from shared.db.write_orders.applications import follow_persons
from shared.db.write_orders.claim_rows import as_claimable, order_rows
from shared.db.write_orders.states import SILENT, Change, record_orders, stop_resends
from shared.db.write_orders.upkeep import ring_when_due
from shared.domain.mail_addresses import missing_address
from shared.errors import InvalidInput
from shared.records import record

_O, _A, _J = write_orders.c, applications.c, contact_jobs.c
#: Claims without any outcome after which an order is taken for poison (I15).
MOST_FRUITLESS_CLAIMS = 5
#: How many orders with so many fruitless claims a batch takes at most; with more of them one, with fewer any number.
SUSPECTS_TOGETHER = {2: 20, 3: 5, 4: 1}
_TOKEN_BITS = 62


@record
class ClaimedOrder:
    """An order that this mailer holds: everything that composing and sending needs."""

    id: int
    token: int
    attempt_no: int
    #: Earlier attempts that a server deferred: what the next back-off grows with.
    deferrals: int
    type: str
    job_id: int | None
    job_name: str | None
    on_unclear: str
    sender: str
    sender_fallback: str | None
    letter_id: int
    letter_version: int
    time_zone: str
    mail_date: datetime
    email: str
    expires_at: datetime | None
    message_id: str
    application: Mapping[str, Any]
    #: Not before this instant, where a rate limit is set (I16).
    send_at: datetime | None = None


@dataclass(slots=True)
class Claim:
    """What came of one batch: the orders claimed, and how many ended or went back instead, by reason."""

    orders: list[ClaimedOrder] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims, for how long (seconds by the database's clock), at which instant of the application's clock."""

    mailer: str
    lease_seconds: float
    now: datetime
    settings: SystemSettings
    #: Makes the Message-ID of an order that has none yet.
    message_id: Callable[[int], str]
    #: The mail server that it sends over: evidence of an attempt that its mailer does not live to tell of (D37).
    relay: str | None = None
    #: Letters a second to one recipient domain, over all mailers; None: no limit (I16).
    domain_rate: float | None = None
    #: The tokens of what it claims are this plus the order's id; a new one for each try.
    token_base: int = field(default_factory=lambda: secrets.randbits(_TOKEN_BITS))
    #: Those of earlier tries of the batch whose COMMIT got no answer: what carries them is claimed already (C25).
    earlier_bases: Collection[int] = ()


_NOW, _IDS = bindparam("now", type_=Instant()), bindparam("ids", type_=IdList())


def _take_up(seen: Rows) -> Any:
    # What the letter is written from, as it was read: T2 and T3 compare it with what stands there then, so whatever
    # changed between the reading and this statement is noticed (I10, C52).
    values = {
        "state": "sending",
        "phase": "claimed",
        "attempts": _O.attempts + 1,
        "fruitless_claims": _O.fruitless_claims + 1,
        "lease_token": bindparam("base", type_=Identifier) + _O.id,
        "lease_until": lease_clock(bindparam("lease", type_=Double)),
        "claimed_epoch": seen["epoch"],
        "claimed_status_id": seen["status_id"],
        "email": seen["email"],
        "letter_version": seen["version"],
        "mail_date": func.coalesce(_O.mail_date, _NOW),
        "reason": None,
        **SILENT,
    }
    return update(write_orders).where(seen.meet(_O.id)).values(values)


def _begin_attempts(new: Rows) -> Any:
    given = ("order_id", "attempt_no", "lease_token", "message_id")
    by, over = bindparam("by", type_=PlainText), bindparam("over", type_=PlainText)
    started = select(*(new[name] for name in given), by, over, _NOW)
    return insert(attempts).from_select([*given, "mailer", "relay", "claimed_at"], started)


_JOBS = Prepared(lambda: select(_O.job_id).where(any_of(_O.id, _IDS), _O.job_id.is_not(None)).distinct())
_CANDIDATES = Prepared(lambda: order_rows(and_(any_of(_O.id, _IDS), _O.state == "queued", _O.not_before <= _NOW)))
_TAKE = PreparedForRows(
    _take_up, id=_O.id, status_id=_A.status_id, email=_A.email, epoch=_J.epoch, version=_O.letter_version
)
_BEGIN = PreparedForRows(
    _begin_attempts, **{name: attempts.c[name] for name in ("order_id", "attempt_no", "lease_token", "message_id")}
)


async def claim(connection: AsyncConnection, order_ids: Sequence[int], who: Claimant) -> Claim:
    """T1: queued -> sending/claimed for what is due and still right; the rest ends or goes back with its reason."""
    await plan_once(connection)
    jobs = await locked_jobs(connection, order_ids)
    rows = await _candidates(connection, order_ids, who.now)
    if moved := [row["application_id"] for row in rows if row["person_id"] != row["present_person_id"]]:
        # A merger that met the making of these orders did not see them (D24).
        await follow_persons(connection, moved, who.now, "mailer")
        rows = await _candidates(connection, order_ids, who.now)
    if len(rows) < len(order_ids):
        await ring_when_due(connection, order_ids, who.now)
    verdicts = await _judge(connection, rows, jobs, who)
    rows = await _few_suspects(connection, rows, verdicts, who.now)
    rows, slots = await _at_the_domains_pace(connection, rows, verdicts, who)
    result = Claim()
    by_verdict: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        by_verdict.setdefault(verdicts.get(row["id"], ("claim", "")), []).append(row)
    for (verdict, reason), group in by_verdict.items():
        if verdict == "claim":
            taken = await _take(connection, group, jobs, who)
            result.orders = [replace(order, send_at=slots.get(order.id)) for order in taken] if slots else taken
        else:
            await _end(connection, [row["id"] for row in group], verdict, reason, who.now)
            # The reason may quote what was given as an address: the row may, no log may (I22).
            told = f"{verdict}: {reason}" if reason and verdict != "no_address" else verdict
            result.others[told] = result.others.get(told, 0) + len(group)
    if who.earlier_bases:
        result.orders += await _claimed_before(connection, order_ids, jobs, who)
    return result


async def _few_suspects(
    connection: AsyncConnection,
    rows: list[dict[str, Any]],
    verdicts: Mapping[int, tuple[str, str]],
    now: datetime,
) -> list[dict[str, Any]]:
    """Of orders whose claims keep ending without an outcome only a few at a time, first in their batch (I15).

    A letter that kills its mailer ends as poison; those that merely died with it are not to share its fate. The more
    claims were in vain, the fewer go together: the last claim before the end is everybody's own.
    """
    suspects = [row for row in rows if row["fruitless_claims"] in SUSPECTS_TOGETHER and row["id"] not in verdicts]
    if not suspects:
        return rows
    suspects.sort(key=lambda row: row["fruitless_claims"], reverse=True)
    together = SUSPECTS_TOGETHER[suspects[0]["fruitless_claims"]]
    later = {row["id"] for row in suspects[together:]}
    if later:
        soon = {"ring_at": now + timedelta(seconds=1)}
        await connection.execute(update(write_orders).where(_O.id.in_(later)).values(soon))
    known = {row["id"] for row in suspects}
    return [*suspects[:together], *(row for row in rows if row["id"] not in known)]


async def _at_the_domains_pace(
    connection: AsyncConnection,
    rows: list[dict[str, Any]],
    verdicts: Mapping[int, tuple[str, str]],
    who: Claimant,
) -> tuple[list[dict[str, Any]], dict[int, datetime]]:
    """Who has a slot of its recipient's domain, and when it is; the others wait in the queue, untried (I16)."""
    if who.domain_rate is None:
        return rows, {}
    going = [row for row in rows if row["id"] not in verdicts]
    domains = [str(row["application"]["usable_email"]).rpartition("@")[2].lower() for row in going]
    found = await take_domain_slots(connection, domains, who.domain_rate, who.now) if going else []
    slots, later = {}, []
    for row, domain, (at, free) in zip(going, domains, found, strict=True):
        if free:
            slots[row["id"]] = at
        else:
            later.append({"_id": row["id"], "_at": at, "_reason": f"waits: rate limit of {domain}"})
    if later:
        then = bindparam("_at", type_=_O.not_before.type)
        waits = update(write_orders).where(_O.id == bindparam("_id"))
        await connection.execute(waits.values(not_before=then, ring_at=then, reason=bindparam("_reason")), later)
    put_off = {one["_id"] for one in later}
    return [row for row in rows if row["id"] not in put_off], slots


async def locked_jobs(connection: AsyncConnection, order_ids: Collection[int]) -> dict[int, Mapping[str, Any]]:
    """The jobs of these orders, which stay as they are until the commit."""
    found = [row[0] for row in await _JOBS.fetch(connection, ids=list(order_ids))]
    return {row["id"]: row for row in await share_jobs(connection, list(contact_jobs.c), found)}


async def _candidates(connection: AsyncConnection, order_ids: Sequence[int], now: datetime) -> list[dict[str, Any]]:
    return as_claimable(await _CANDIDATES.fetch(connection, ids=list(order_ids), now=now))


async def _claimed_before(
    connection: AsyncConnection, order_ids: Sequence[int], jobs: Mapping[int, Mapping[str, Any]], who: Claimant
) -> list[ClaimedOrder]:
    """What an earlier try of this batch claimed without hearing of it. T2 looks at everything that changed since."""
    mine = and_(
        *(any_of(_O.id, order_ids), _O.state == "sending", _O.phase == "claimed", _O.lease_until > lease_clock()),
        *((_O.lease_token - _O.id).in_(who.earlier_bases), _A.email == _O.email, _A.usable_email.is_not(None)),
    )
    rows = as_claimable((await connection.execute(order_rows(mine))).all())
    message_ids = await _message_ids(connection, rows, who)
    found = []
    for row in rows:
        job, base = jobs.get(row["job_id"] or 0), row["lease_token"] - row["id"]
        order = _claimed(row, job, base, who.now, message_ids[row["id"]])
        found.append(replace(order, attempt_no=row["attempts"], send_at=who.now))
    return found


async def _judge(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    jobs: Mapping[int, Mapping[str, Any]],
    who: Claimant,
) -> dict[int, tuple[str, str]]:
    """Who is not to be claimed, with the state it goes to and the reason."""
    verdicts: dict[int, tuple[str, str]] = {}
    groups: dict[tuple[int, date], list[int]] = {}
    for row in rows:
        verdict = _without_query(row, jobs.get(row["job_id"] or 0), who.now)
        if verdict:
            verdicts[row["id"]] = verdict
        elif row["type"] == "contact_job":
            groups.setdefault((row["job_id"], row["occasion_day"]), []).append(row["id"])
    for (job_id, day), ids in groups.items():
        verdicts |= await _look(connection, jobs[job_id], day, ids, who.settings)
    for row in rows:
        if row["id"] not in verdicts and row["application"]["usable_email"] is None:
            verdicts[row["id"]] = ("no_address", missing_address(row["application"]["email"]))
    return verdicts


def _without_query(row: Mapping[str, Any], job: Mapping[str, Any] | None, now: datetime) -> tuple[str, str] | None:
    checks: list[tuple[bool, str, str]] = [
        (row["fruitless_claims"] >= MOST_FRUITLESS_CLAIMS, "failed", "poison: five claims without an outcome"),
        (row["type"] == "contact_job" and job is None, "withdrawn", "job deleted"),
        (job is not None and job["status"] == "off", "planned", "job is off"),
        (row["expires_at"] is not None and row["expires_at"] <= now, "withdrawn", "expired"),
        (row["application"]["reduced_at"] is not None, "withdrawn", "reduced to core data"),
        (row["type"] == "contact_job" and row["opted_out_at"] is not None, "withdrawn", "opted out"),
        (
            row["type"] == "scheduled_rejection" and row["application_meta"] in ("hired", "rejected"),
            "withdrawn",
            "already hired or rejected",
        ),
    ]
    return next(((state, reason) for applies, state, reason in checks if applies), None)


async def _look(
    connection: AsyncConnection, job: Mapping[str, Any], day: date, ids: Sequence[int], settings: SystemSettings
) -> dict[int, tuple[str, str]]:
    on = QueryDay(day, ZoneInfo(job["time_zone"]), settings.leap_day_birthday)
    rules = rules_of(job, settings)
    try:
        query = await load_query_by_id(connection, job["query_id"])
    except InvalidInput as exc:
        return dict.fromkeys(ids, ("planned", f"query is invalid: {exc}"))
    rows = await last_look(query, on, rules).fetch(connection, **{ORDER_IDS: list(ids)})
    hold = {row.order_id for row in rows}
    return {order_id: ("withdrawn", "no longer matches at the last look") for order_id in ids if order_id not in hold}


def rules_of(job: Mapping[str, Any], settings: SystemSettings) -> JobRules:
    """The rules that a job adds to its query."""
    return JobRules(
        job["id"], job["lineage_id"], job["repeat_guard_days"], settings.frequency_cap_days, job["priority"]
    )


async def _take(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    jobs: Mapping[int, Mapping[str, Any]],
    who: Claimant,
) -> list[ClaimedOrder]:
    base = who.token_base
    read = [
        {
            "id": row["id"],
            "status_id": row["application"]["status_id"],
            "email": row["application"]["email"],
            "epoch": jobs[row["job_id"]]["epoch"] if row["job_id"] in jobs else 0,
            "version": row["letter_version"],
        }
        for row in rows
    ]
    message_ids = await _message_ids(connection, rows, who)
    tries = [
        {
            "order_id": row["id"],
            "attempt_no": row["attempts"] + 1,
            "lease_token": base + row["id"],
            "message_id": message_ids[row["id"]],
        }
        for row in rows
    ]
    async with together(connection):
        await _TAKE.execute(connection, read, base=base, lease=who.lease_seconds, now=who.now)
        await _BEGIN.execute(connection, tries, by=who.mailer, over=who.relay, now=who.now)
    return [_claimed(row, jobs.get(row["job_id"] or 0), base, who.now, message_ids[row["id"]]) for row in rows]


async def _message_ids(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], who: Claimant) -> dict[int, str]:
    """By order: that of its first attempt, whatever the settings have become since (I12)."""
    again = [row["id"] for row in rows if row["attempts"]]
    a = attempts.c
    earlier = select(a.order_id, a.message_id).where(a.order_id.in_(again), a.attempt_no == 1) if again else None
    found = {row.order_id: row.message_id for row in await connection.execute(earlier)} if earlier is not None else {}
    return {row["id"]: found.get(row["id"]) or who.message_id(row["id"]) for row in rows}


def _claimed(
    row: Mapping[str, Any], job: Mapping[str, Any] | None, base: int, now: datetime, message_id: str
) -> ClaimedOrder:
    return ClaimedOrder(
        id=row["id"],
        token=base + row["id"],
        attempt_no=row["attempts"] + 1,
        deferrals=row["deferrals"],
        type=row["type"],
        job_id=row["job_id"],
        job_name=row["job_name"],
        on_unclear=job["on_unclear"] if job else "ask",
        sender=job["sender"] if job else "recruiter",
        sender_fallback=job["sender_fallback"] if job else None,
        letter_id=row["letter_id"],
        letter_version=row["letter_version"],
        time_zone=row["time_zone"],
        mail_date=row["mail_date"] or now,
        email=row["application"]["usable_email"],
        expires_at=row["expires_at"],
        message_id=message_id,
        application=row["application"],
    )


async def _end(connection: AsyncConnection, ids: Sequence[int], state: str, reason: str, now: datetime) -> None:
    change = Change(now, "mailer", "last_look", state, reason)
    # An order that may have been accepted already never becomes planned or withdrawn (D37).
    await stop_resends(connection, _O.id.in_(ids), change)
    first_time = and_(_O.id.in_(ids), _O.handed_over_at.is_(None))
    which = await record_orders(connection, first_time, change)
    values: dict[str, Any] = {"state": state, "reason": reason, **SILENT}
    if state == "withdrawn":
        values["withdrawn_by"] = "last_look"
    if state == "no_address":
        theirs = select(_A.email).where(_A.id == _O.application_id)
        values["email"] = theirs.scalar_subquery()
    await connection.execute(update(write_orders).where(which).values(values))


async def give_up(connection: AsyncConnection, order_id: int, reason: str, now: datetime) -> None:
    """queued -> failed for an order whose very claim breaks (I15): it is seen, and nobody else waits for it."""
    queued = select(_O.id).where(_O.id == order_id, _O.state == "queued").with_for_update()
    if (await connection.execute(queued)).first() is not None:
        await _end(connection, [order_id], "failed", reason, now)
