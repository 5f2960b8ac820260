"""Carrying out what consent letters led to: "delete me" after a day of grace, and silence after its last day.

Both set the job's rejected status and so lead to core data as a letter of rejection does (D41, D42). Silence is only
what somebody says who got the letter and did nothing since: whatever else was heard of them closes the question
without a consequence, for a person to look at.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.consent_answers import record_consent
from shared.db.core_data import reduce_to_core_data
from shared.db.engine import Database
from shared.db.history import StatusChange
from shared.db.holds import load_hold
from shared.db.job_locks import share_jobs
from shared.db.letter_statuses import set_statuses
from shared.db.opt_outs import opt_out_deleted
from shared.db.suppressions import CANDIDATE
from shared.db.system_settings import load_system_settings
from shared.db.tables import (
    application_statuses,
    applications,
    blocks,
    consent_requests,
    contact_entries,
    contact_jobs,
    form_letter_versions,
    persons,
    returned_mails,
    write_orders,
)
from shared.domain.consent import Answer
from shared.retry import retry_conflicts

_A, _O, _P, _R, _J = applications.c, write_orders.c, persons.c, consent_requests.c, contact_jobs.c
#: Questions closed in one transaction.
BATCH = 200
#: Final: nobody is rejected who works here.
_HIRED = select(application_statuses.c.id).where(application_statuses.c.meta == "hired")
_REJECTING = select(application_statuses.c.id).where(application_statuses.c.meta == "rejected")
_DELETES = _R.answer == Answer.DELETE.value


async def carry_out_due(database: Database, *, now: datetime, author: str) -> AsyncIterator[int]:
    """Closes what is due, batch by batch, each in a transaction; yields how many so far. Nothing while there is a hold.

    A restored database does not know the answers since its backup: who said "stay" would look silent.
    """
    done = 0
    while True:
        found, closed = await retry_conflicts(lambda: _carry_out_batch(database, now, author))
        if not found:
            return
        done += closed
        yield done


def _is_due(now: datetime) -> ColumnElement[bool]:
    # Silence waits while its job is Aus (D4), and for ever once the job is deleted or asks for no consent any more.
    asks = and_(_J.status == "on", _J.consent_answer_days.is_not(None))
    silent = and_(_R.answer.is_(None), _R.asked_at.is_not(None), asks)
    return and_(_R.due_at <= now, or_(_DELETES, silent))


async def _carry_out_batch(database: Database, now: datetime, author: str) -> tuple[int, int]:
    """How many were due, and how many of them still when they were locked."""
    async with database.begin() as connection:
        if await load_hold(connection):
            return 0, 0
        ids = await _locked(connection, now)
        rows = [dict(row) for row in (await connection.execute(_judged(ids, now))).mappings()]
        void = [row for row in rows if row["why"] is not None]
        deleted = [row for row in rows if row["why"] is None and row["answer"] == Answer.DELETE.value]
        lapsed = [row for row in rows if row["why"] is None and row["answer"] is None]
        await _close(connection, void, "void", now)
        await record_consent(connection, void, "consent_void", now, author)
        await _let_lapse(connection, lapsed, now, author)
        await _delete(connection, deleted, now)
    return len(ids), len(rows)


async def _locked(connection: AsyncConnection, now: datetime) -> list[int]:
    """The next due questions, with jobs, persons, applications locked in the house's order."""
    due = select(_R.order_id, _R.job_id).outerjoin(contact_jobs, _J.id == _R.job_id).where(_is_due(now))
    found = (await connection.execute(due.order_by(_R.due_at, _R.order_id).limit(BATCH))).all()
    ids = [row.order_id for row in found]
    # From here on a switch to Aus waits: whatever comes after it finds Aus.
    await share_jobs(connection, [_J.id], {row.job_id for row in found if row.job_id is not None})
    theirs = select(_A.person_id).join(write_orders, _O.application_id == _A.id).where(_O.id.in_(ids))
    await connection.execute(select(_P.id).where(_P.id.in_(theirs)).order_by(_P.id).with_for_update())
    owned = select(_A.id).where(_A.person_id.in_(theirs)).order_by(_A.id).with_for_update()
    await connection.execute(owned)
    questions = select(_R.order_id).where(_R.order_id.in_(ids)).order_by(_R.order_id)
    return list((await connection.execute(questions.with_for_update())).scalars())


def _judged(ids: Sequence[int], now: datetime) -> Any:
    """Those that are due still, each with why nothing comes of it, if anything speaks against it."""
    version = form_letter_versions.c
    columns = (
        *(_O.id, _O.job_name, _O.application_id, _A.external_id, _A.person_id, _A.status_id, _A.in_pool),
        # A status that means something else by now is not set: who asked to be deleted is reduced all the same.
        case((_R.status_id.in_(_REJECTING), _R.status_id)).label("rejecting_id"),
        *(_A.pool_since, _R.answer, _R.answered_at, _why_not().label("why")),
    )
    source = (
        consent_requests.join(write_orders, _O.id == _R.order_id)
        .join(applications, _A.id == _O.application_id)
        .join(persons, _P.id == _A.person_id)
        .outerjoin(contact_jobs, _J.id == _R.job_id)
        .outerjoin(form_letter_versions, and_(version.letter_id == _O.letter_id, version.version == _O.letter_version))
    )
    still = (_R.order_id.in_(ids), _is_due(now))
    return select(*columns).select_from(source).where(*still).order_by(_O.id)


def _why_not() -> ColumnElement[str | None]:
    version = form_letter_versions.c
    # The letter itself may have set a status; otherwise it is that of the claim, as for every letter's status (D40).
    expected = case((version.sets_status_id.is_not(None), version.sets_status_id), else_=_O.claimed_status_id)
    silent = _R.answer.is_(None)
    return case(
        (_A.reduced_at.is_not(None), "reduced to core data"),
        (_A.status_id.in_(_HIRED), "hired"),
        (_answered_later(), "answered another letter since"),
        (and_(silent, _A.status_id.is_distinct_from(expected)), "status changed since"),
        (and_(silent, _heard_from()), "heard from since"),
        (and_(silent, _R.status_id.not_in(_REJECTING)), "its status rejects no more"),
        (and_(silent, _P.opted_out_at.is_not(None)), "opted out"),
        (and_(silent, _blocked_since()), "blocked since"),
        (and_(silent, _came_back()), "the letter came back"),
        # To another address nobody has written.
        (and_(silent, _A.usable_email.is_(None)), "no usable address any more"),
        (and_(silent, _A.email.is_distinct_from(_O.email)), "address changed since"),
        else_=None,
    )


def _answered_later() -> ColumnElement[bool]:
    """Another letter to the same person, also one that was somebody else's before a merger, has the later answer."""
    other, theirs, orders = consent_requests.alias(), applications.alias(), write_orders.alias()
    said = case((_R.answered_at.is_not(None), _R.answered_at), else_=_R.asked_at)
    # Twice "delete me" is no change of mind.
    another = or_(_R.answer.is_(None), other.c.answer == Answer.STAY.value)
    return exists(
        select(other.c.order_id)
        .join(orders, orders.c.id == other.c.order_id)
        .join(theirs, theirs.c.id == orders.c.application_id)
        .where(theirs.c.person_id == _A.person_id, other.c.order_id != _R.order_id)
        .where(other.c.answered_at > said, another)
        .correlate(consent_requests, applications)
    )


def _came_back() -> ColumnElement[bool]:
    """For whatever reason it was returned, for a while or for good: who did not get the letter is not silent."""
    returned = returned_mails.c
    back = select(returned.id).where(returned.order_id == _R.order_id, returned.kind.in_(("hard", "soft", "refused")))
    return exists(back.correlate(consent_requests))


def _heard_from() -> ColumnElement[bool]:
    c, theirs = contact_entries.c, applications.alias()
    applied = select(theirs.c.id).where(theirs.c.person_id == _A.person_id).correlate(applications)
    of_person = or_(c.application_id.in_(applied), c.person_id == _A.person_id)
    heard = select(c.id).where(of_person, c.direction == "incoming", c.at > _R.asked_at)
    return exists(heard.correlate(consent_requests, applications))


def _blocked_since() -> ColumnElement[bool]:
    b = blocks.c
    here = or_(b.lineage_id.is_(None), b.lineage_id == _O.lineage_id)
    standing = select(b.id).where(b.person_id == _A.person_id, b.lifted_at.is_(None), here, b.created_at > _R.asked_at)
    return exists(standing.correlate(consent_requests, applications, write_orders))


async def _let_lapse(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], now: datetime, author: str
) -> None:
    """Silence: the application that the letter was for is rejected, and reduced as the setting says (D42)."""
    await _close(connection, rows, "lapsed", now)
    await record_consent(connection, rows, "consent_lapsed", now, author)
    await _reject(connection, [(row, row["rejecting_id"]) for row in rows], now, author)


async def _delete(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """ "Delete me": this application and what else the person has in the pool, whatever the setting says."""
    await _close(connection, rows, "deleted", now)
    await record_consent(connection, rows, "consent_deleted", now, CANDIDATE)
    answered = [(row["person_id"], row["answered_at"]) for row in rows]
    await opt_out_deleted(connection, answered, author=CANDIDATE, now=now)
    status_of = {row["person_id"]: row["rejecting_id"] for row in rows}
    own = {row["application_id"] for row in rows}
    which = or_(_A.id.in_(own), and_(_A.person_id.in_(status_of), _A.in_pool))
    columns = (_A.id.label("application_id"), _A.external_id, _A.status_id, _A.person_id)
    not_hired = or_(_A.status_id.is_(None), _A.status_id.not_in(_HIRED))
    found = select(*columns).where(which, not_hired, _A.reduced_at.is_(None)).order_by(_A.id)
    theirs = [dict(row) for row in (await connection.execute(found)).mappings()]
    await _reject(connection, [(row, status_of[row["person_id"]]) for row in theirs], now, CANDIDATE)
    left = select(_A.id).where(_A.id.in_([row["application_id"] for row in theirs]), _A.reduced_at.is_(None))
    ids = list((await connection.execute(left.order_by(_A.id))).scalars())
    await reduce_to_core_data(connection, ids, await load_system_settings(connection), now, CANDIDATE)


async def _reject(
    connection: AsyncConnection, given: Sequence[tuple[Mapping[str, Any], int | None]], now: datetime, author: str
) -> None:
    by_status: dict[int, list[tuple[StatusChange, datetime]]] = {}
    for row, status_id in given:
        if status_id is not None:
            change = StatusChange(row["application_id"], row["external_id"], row["status_id"], status_id, now)
            by_status.setdefault(status_id, []).append((change, now))
    for status_id, changes in sorted(by_status.items()):
        await set_statuses(connection, status_id, "rejected", changes, author)


async def _close(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], outcome: str, now: datetime) -> None:
    if not rows:
        return
    values: dict[str, Any] = {"outcome": outcome, "outcome_at": now, "due_at": None}
    values |= {name: bindparam(f"_{name}") for name in ("reason", "prior_status_id", "prior_in_pool")}
    values |= {"prior_pool_since": bindparam("_prior_pool_since", type_=_R.prior_pool_since.type)}
    found = [
        {
            "_id": row["id"],
            "_reason": row["why"],
            "_prior_status_id": row["status_id"],
            "_prior_in_pool": row["in_pool"],
            "_prior_pool_since": row["pool_since"],
        }
        for row in rows
    ]
    await connection.execute(update(consent_requests).where(_R.order_id == bindparam("_id")).values(values), found)
