"""T3: what became of a handed-over letter, and everything that sending does (D40-D42), in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import FromClause, Row, Select, Table, and_, bindparam, case, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import IdList, any_of
from shared.db.consent_questions import Question, note_questions
from shared.db.core_data import erase_traces
from shared.db.history import StatusChange
from shared.db.letter_statuses import set_statuses
from shared.db.prepared import Prepared, PreparedForRows, Rows, plan_once, together
from shared.db.tables import (
    application_statuses,
    applications,
    attempts,
    contact_entries,
    contact_jobs,
    events,
    form_letter_versions,
    persons,
    write_orders,
)
from shared.db.write_orders.states import SILENT, Change, record_orders
from shared.errors import Refused
from shared.records import record

_O, _A, _P, _T, _J = write_orders.c, applications.c, persons.c, attempts.c, contact_jobs.c
#: Outcomes of attempts that the mail server did not accept, for certain.
_DEFINITE = ("deferred", "put off", "refused")


@record
class Settlement:
    """The outcome of one attempt, as the mailer judged it. `state` is where the order goes."""

    order_id: int
    token: int
    state: Literal["sent", "queued", "failed", "unclear"]
    at: datetime
    reason: str | None = None
    code: int | None = None
    text: str | None = None
    relay: str | None = None
    subject: str | None = None
    message_id: str | None = None
    body_hash: str | None = None
    bytes: int | None = None
    not_before: datetime | None = None
    #: False for a deferral that says nothing about the order: its back-off does not grow with it.
    counts: bool = True
    #: When it was found out, where that is not `at`: a person's decision comes later than the hand-over.
    settled_at: datetime | None = None

    @property
    def outcome(self) -> str:
        """What came of the attempt, as its row tells it."""
        return {"queued": "deferred" if self.counts else "put off", "failed": "refused"}.get(self.state, self.state)


async def settle(connection: AsyncConnection, settlements: Sequence[Settlement], author: str = "mailer") -> set[int]:
    """Writes the outcomes of orders still held by their tokens; returns their ids.

    An order that another claim took over meanwhile is left alone: its outcome stays on the attempt row (late). Only a
    letter known to be accepted ends its order whoever holds it now: nobody shall get it again (I20).
    """
    rows = await _locked(connection, [one.order_id for one in settlements])
    held = [
        one
        for one in settlements
        if (row := rows.get(one.order_id)) is not None
        and row.lease_token == one.token
        and row.state in ("sending", "unclear")
    ]
    after_all = await _accepted_after_all(connection, settlements, rows, held, author)
    held = [*after_all, *(one for one in held if one.order_id not in {late.order_id for late in after_all})]
    sent = [(rows[one.order_id], one) for one in held if one.state == "sent"]
    async with together(connection):
        await _write_attempts(connection, settlements, {one.token for one in held})
        await _write_sent(connection, [one for _, one in sent])
        await _write_unsent(connection, [one for one in held if one.state not in ("sent", "failed")])
        await _log_contacts(connection, sent)
        await _touch_last_contacts(connection, sent)
    await _write_failed(connection, [one for one in held if one.state == "failed"], author)
    await note_questions(connection, [_question(row, one) for row, one in sent if row.consent_answer_days])
    await _set_statuses(connection, sent, author)
    # Reduced while the letter was being handed over: what T3 has just written down is no core data either (D42).
    reduced = {rows[one.order_id].application_id for one in settlements if _is_reduced(rows.get(one.order_id))}
    if reduced:
        await erase_traces(connection, sorted(reduced), max(one.at for one in settlements), author)
    return {one.order_id for one in held}


async def _accepted_after_all(
    connection: AsyncConnection,
    settlements: Sequence[Settlement],
    rows: Mapping[int, Row[Any]],
    held: Sequence[Settlement],
    author: str,
) -> list[Settlement]:
    """Of orders that may be sent again, or are held under a newer claim: those of which an attempt was accepted.

    A newer claim meets `sent` at its T2 and is refused; past it, its outcome is late.
    """
    known = {one.order_id for one in held if one.state == "sent"}
    found = {
        one.order_id: one
        for one in settlements
        if one.state == "sent" and one.order_id not in known and _may_be_sent_again(rows.get(one.order_id))
    }
    if not found:
        return []
    a = attempts.c
    theirs = select(a.lease_token).where(
        a.order_id.in_(found), a.lease_token.in_([one.token for one in found.values()])
    )
    tokens = set((await connection.execute(theirs)).scalars())
    late = [one for one in found.values() if one.token in tokens]
    which = _O.id.in_([one.order_id for one in late])
    reason = "accepted by the mail server after all: its answer came late"
    now = max(one.at for one in found.values())
    await record_orders(connection, which, Change(now, author, "settle", "sent", reason))
    return late


def _may_be_sent_again(row: Row[Any] | None) -> bool:
    # `failed` too: it can be tried again.
    return row is not None and row.state in ("queued", "sending", "unclear", "failed")


def _is_reduced(row: Row[Any] | None) -> bool:
    return row is not None and row.reduced_at is not None


_WITH_APPLICATIONS = write_orders.join(applications, _A.id == _O.application_id)


def _orders() -> Select[Any]:
    version = form_letter_versions.c
    columns = (
        *(_O.id, _O.state, _O.type, _O.job_name, _O.lease_token, _O.claimed_status_id, _O.application_id),
        *(_A.person_id, _A.external_id, _A.status_id, _A.reduced_at, version.sets_status_id),
        *(_O.job_id, _O.time_zone, _J.consent_answer_days, _J.consent_status_id),
        application_statuses.c.meta.label("sets_meta"),
    )
    as_claimed = and_(version.letter_id == _O.letter_id, version.version == _O.letter_version)
    source = (
        _WITH_APPLICATIONS.outerjoin(form_letter_versions, as_claimed)
        .outerjoin(application_statuses, application_statuses.c.id == version.sets_status_id)
        .outerjoin(contact_jobs, _J.id == _O.job_id)
    )
    ours = select(*columns).select_from(source).where(any_of(_O.id, _IDS)).order_by(_O.id)
    return ours.with_for_update(of=write_orders)


_IDS = bindparam("ids", type_=IdList())


def _lock(table: Table, source: FromClause) -> Select[Any]:
    # By joins, not by IN, which would first look for those who have two letters here: they may be met twice.
    theirs = select(table.c.id).select_from(source).where(any_of(_O.id, _IDS))
    return theirs.order_by(table.c.id).with_for_update(of=table)


_LOCK_PERSONS = Prepared(lambda: _lock(persons, _WITH_APPLICATIONS.join(persons, _P.id == _A.person_id)))
_LOCK_APPLICATIONS = Prepared(lambda: _lock(applications, _WITH_APPLICATIONS))
_LOCK_ORDERS = Prepared(_orders)


async def _locked(connection: AsyncConnection, order_ids: Sequence[int]) -> dict[int, Row[Any]]:
    """The orders with their application and person, locked in the house's order."""
    ids = list(order_ids)
    async with together(connection):
        await plan_once(connection)
        # On SQLite one writes at a time: there is nothing to lock.
        if connection.dialect.name == "postgresql":
            await _LOCK_PERSONS.execute(connection, ids=ids)
            await _LOCK_APPLICATIONS.execute(connection, ids=ids)
        rows = await _LOCK_ORDERS.fetch(connection, ids=ids)
    return {row.id: row for row in rows}


def _say(said: Rows) -> Any:
    written = {name: said[name] for name in ("outcome", "settled_at", "reply_code", "reply_text")}
    # A person and a journal know nothing of these: what stands there is evidence (D37).
    kept = {name: func.coalesce(said[name], _T[name]) for name in ("relay", "body_hash", "bytes")}
    # A commit whose answer was lost is done again: what it wrote then is not late.
    anew = and_(said.meet(_T.lease_token), func.coalesce(_T.outcome, "") != said["plain"])
    return update(attempts).where(anew).values({**written, **kept})


_SAID = ("lease_token", "outcome", "settled_at", "reply_code", "reply_text", "relay", "body_hash", "bytes")
_SAY = PreparedForRows(_say, **{name: _T[name] for name in _SAID}, plain=_T.outcome)


async def _write_attempts(connection: AsyncConnection, settlements: Sequence[Settlement], held: set[int]) -> None:
    # One row each: of several outcomes of one attempt the last is the one that counts.
    rows = {
        one.token: {
            "plain": one.outcome,
            "lease_token": one.token,
            "outcome": one.outcome if one.token in held else f"late: {one.outcome}",
            "settled_at": one.settled_at or one.at,
            "reply_code": one.code,
            "reply_text": one.text or one.reason,
            "relay": one.relay,
            "body_hash": one.body_hash,
            "bytes": one.bytes,
        }
        for one in settlements
    }
    await _SAY.execute(connection, list(rows.values()))


def _mark_sent(now: Rows) -> Any:
    values = {name: now[name] for name in ("sent_at", "subject", "message_id")}
    ended = {"state": "sent", "reason": None, "phase": None, "lease_until": None, "fruitless_claims": 0, **SILENT}
    return update(write_orders).where(now.meet(_O.id)).values({**values, **ended})


_MARK_SENT = PreparedForRows(_mark_sent, id=_O.id, sent_at=_O.sent_at, subject=_O.subject, message_id=_O.message_id)


async def _write_sent(connection: AsyncConnection, sent: Sequence[Settlement]) -> None:
    rows = [
        {"id": one.order_id, "sent_at": one.at, "subject": one.subject, "message_id": one.message_id} for one in sent
    ]
    await _MARK_SENT.execute(connection, rows)


def _unanswered_hand_over() -> Any:
    """The last T2 of the order, of any attempt, that a definite refusal or deferral did not answer (D37)."""
    # Not IN: its list of parameters cannot be part of a statement that runs for many rows.
    unanswered = and_(*(_T.outcome != late + name for late in ("", "late: ") for name in _DEFINITE))
    last = select(func.max(_T.handed_over_at)).where(_T.order_id == _O.id, or_(_T.outcome.is_(None), unanswered))
    return last.scalar_subquery()


# `unclear` keeps its token: a late answer of the same attempt still settles it.
_UNSENT = ("state", "reason", "not_before", "ring_at", "phase", "lease_token")


def _mark_unsent(now: Rows) -> Any:
    values = {name: now[name] for name in _UNSENT}
    ended = {"lease_until": None, "fruitless_claims": 0, "handed_over_at": _unanswered_hand_over()}
    return update(write_orders).where(now.meet(_O.id)).values({**values, **ended})


_MARK_UNSENT = PreparedForRows(_mark_unsent, id=_O.id, **{name: _O[name] for name in _UNSENT})


async def _write_unsent(connection: AsyncConnection, rest: Sequence[Settlement]) -> None:
    rows = [
        {
            "id": one.order_id,
            "state": one.state,
            "reason": one.reason,
            "not_before": one.not_before,
            "ring_at": one.not_before if one.state == "queued" else None,
            "phase": None,
            "lease_token": (one.token or None) if one.state == "unclear" else None,
        }
        for one in rest
    ]
    await _MARK_UNSENT.execute(connection, rows)


async def _write_failed(connection: AsyncConnection, failed: Sequence[Settlement], author: str) -> None:
    """Refused for good. After an attempt without an answer that says nothing about the letter: unclear again (D37)."""
    if not failed:
        return
    which = and_(_O.id.in_([one.order_id for one in failed]), _unanswered_hand_over().is_not(None))
    unknown = set((await connection.execute(select(_O.id).where(which))).scalars())
    rest = []
    for one in failed:
        if one.order_id in unknown:
            reason = f"resend stopped: {one.reason}"
            change = Change(one.at, author, "refused", "unclear", reason)
            await record_orders(connection, _O.id == one.order_id, change)
            # Without a token: what this attempt's answer was is known.
            rest.append(replace(one, state="unclear", reason=reason, token=0))
        else:
            rest.append(one)
    await _write_unsent(connection, rest)


def _question(row: Row[Any], one: Settlement) -> Question:
    return Question(row.id, row.job_id, row.consent_status_id, one.at, row.consent_answer_days, row.time_zone)


async def _set_statuses(connection: AsyncConnection, sent: Sequence[tuple[Row[Any], Settlement]], author: str) -> None:
    """D41, D42 for accepted letters: statuses, pool, core data."""
    by_status: dict[tuple[int, str], list[tuple[Row[Any], Settlement]]] = {}
    for row, one in sent:
        if row.sets_status_id is None:
            continue
        if row.status_id == row.claimed_status_id:
            by_status.setdefault((row.sets_status_id, row.sets_meta), []).append((row, one))
        else:
            await connection.execute(insert(events).values(_not_set(row, one, author)))
    for (status_id, meta), group in by_status.items():
        given = [
            (
                StatusChange(row.application_id, row.external_id, row.status_id, status_id, one.settled_at or one.at),
                one.at,
            )
            for row, one in group
        ]
        await set_statuses(connection, status_id, meta, given, author)


def _not_set(row: Row[Any], one: Settlement, author: str) -> dict[str, Any]:
    return {
        "at": one.settled_at or one.at,
        "author": author,
        "action": "status_not_set",
        "noun": "order",
        "record_id": row.id,
        "record_name": row.job_name,
        "reason": "status not set: changed since",
    }


_ENTRY = ("identity", "application_id", "at", "subject", "counts_for_person")


def _log(new: Rows) -> Any:
    made = select(*(new[name] for name in _ENTRY), literal("form_letter_mail"), literal("outgoing"))
    return new.insert(contact_entries).from_select([*_ENTRY, "medium", "direction"], made).on_conflict_do_nothing()


_LOG = PreparedForRows(_log, **{name: contact_entries.c[name] for name in _ENTRY})


async def _log_contacts(connection: AsyncConnection, sent: Sequence[tuple[Row[Any], Settlement]]) -> None:
    entries = [
        {
            "identity": f"order:{row.id}",
            "application_id": row.application_id,
            "at": one.at,
            "subject": one.subject,
            # A letter of a contact job is a contact for all applications of the person (D20).
            "counts_for_person": row.type == "contact_job",
        }
        for row, one in sent
    ]
    await _LOG.execute(connection, entries)


def _touching(table: Table, *names: str) -> PreparedForRows:
    """Moves these columns of records, by id, on to a moment; never back."""

    def touch(new: Rows) -> Any:
        later = {
            name: case((or_(c.is_(None), c < new["at"]), new["at"]), else_=c) for name in names for c in [table.c[name]]
        }
        return update(table).where(new.meet(table.c.id)).values(later)

    return PreparedForRows(touch, id=table.c.id, at=table.c.last_contact_at)


_TOUCH_APPLICATIONS = _touching(applications, "last_contact_at", "last_outgoing_at")
_TOUCH_PERSONS = _touching(persons, "last_contact_at")


async def _touch_last_contacts(connection: AsyncConnection, sent: Sequence[tuple[Row[Any], Settlement]]) -> None:
    theirs = [(row.application_id, one.at) for row, one in sent]
    await _TOUCH_APPLICATIONS.execute(connection, _latest(theirs))
    of_jobs = [(row.person_id, one.at) for row, one in sent if row.type == "contact_job"]
    await _TOUCH_PERSONS.execute(connection, _latest(of_jobs))


def _latest(moments: Sequence[tuple[int, datetime]]) -> list[dict[str, Any]]:
    """One row a record, as an UPDATE needs it: of several moments the last."""
    latest: dict[int, datetime] = {}
    for whose, at in moments:
        latest[whose] = max(at, latest.get(whose, at))
    return [{"id": whose, "at": at} for whose, at in latest.items()]


async def settle_as_sent(
    connection: AsyncConnection, order_id: int, evidence: Mapping[str, Any], *, now: datetime, author: str
) -> None:
    """A person found that a locked unclear letter was accepted (D37): D40 applies, dated at the hand-over.

    `evidence`: `at` and what else of a Settlement is known. Refused when the order is not unclear.
    """
    which = and_(_O.id == order_id, _O.state == "unclear")
    reason = f"settled as sent by {author}"
    await record_orders(connection, which, Change(now, author, "settle", "sent", reason))
    # What stopped a resend took the token.
    await connection.execute(update(write_orders).where(which, _O.lease_token.is_(None)).values(lease_token=0))
    token = (await connection.execute(select(_O.lease_token).where(which))).scalar_one_or_none()
    one = Settlement(order_id, token or 0, "sent", settled_at=now, reason=reason, **evidence)
    if token is None or not await settle(connection, [one], author):
        raise Refused(f"order {order_id} is not unclear any more")
