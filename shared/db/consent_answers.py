"""What somebody answers to a consent letter: written down at once, carried out later (consent_outcomes.py).

An answer is a contact of the person, as its letter was: queries see it as the last contact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import StatusChange, record_status_changes
from shared.db.last_contacts import recompute_applications, recompute_persons
from shared.db.opt_outs import TO_BE_DELETED, begin_opt_out, end_opt_out, is_opted_out_for_deletion
from shared.db.suppressions import CANDIDATE
from shared.db.tables import (
    applications,
    consent_requests,
    contact_entries,
    contact_jobs,
    events,
    persons,
    write_orders,
)
from shared.db.transactions import in_transaction
from shared.domain.consent import Answer, deletion_from
from shared.errors import NotFound, Refused

_A, _O, _P, _R, _J = applications.c, write_orders.c, persons.c, consent_requests.c, contact_jobs.c
ERASED = "too late: the data were erased already"
NO_QUESTION = "this letter asks nothing any more"
#: Events of orders: the two answers, and what came of them or of silence.
CONSENT_ACTS = ("consent_stay", "consent_delete", "consent_deleted", "consent_lapsed", "consent_void")
_STATE = ("asked_at", "due_at", "answer", "answered_at", "outcome", "prior_status_id", "prior_in_pool")


@dataclass(frozen=True, slots=True)
class Question:
    """How the question of a letter stands, for whoever is asked."""

    answer: Answer | None
    #: False: nothing can be answered any more; the data were erased.
    is_open: bool
    #: The last day for an answer; None: it is answered, or the letter is not known to be sent.
    answer_by: date | None = None
    #: The day on which the deletion that was asked for is carried out.
    deleted_on: date | None = None
    #: True: rejected for want of an answer; "stay" still takes that back.
    is_lapsed: bool = False
    #: Whether answering it just now changed anything.
    changed: bool = field(default=False, compare=False)


async def load_question(connection: AsyncConnection, order_id: int) -> Question:
    """The question that an order's letter asked. Raises NotFound, and Refused where it asks nothing."""
    return _question(await _row(connection, _about(order_id), order_id))


async def answer_question(
    database: Database, order_id: int, answer: Answer, *, now: datetime, author: str = CANDIDATE
) -> Question:
    """Writes the answer down; the later one counts, until it is carried out. The same again changes nothing.

    "Delete" opts the person out at once, so that nobody is written to who waits to be deleted; "stay" takes that back,
    and what silence did, while nothing is erased. Raises NotFound, and Refused where it is too late.
    """

    async def work(connection: AsyncConnection) -> Question:
        row = await _locked(connection, order_id)
        if row["reduced_at"] is not None or row["outcome"] == "deleted":
            raise Refused(ERASED)
        changed = row["answer"] != answer or row["outcome"] is not None or row["is_passed"]
        if changed:
            await _opt_out_or_in(connection, row["person_id"], answer, now, author)
            await _write(connection, row, answer, now)
            if row["outcome"] == "lapsed" and answer is Answer.STAY:
                await _give_back(connection, row, now, author)
            await _note_contact(connection, row, answer, now, author)
            await record_consent(connection, [row], f"consent_{answer}", now, author)
        return replace(_question(await _row(connection, _about(order_id), order_id)), changed=changed)

    return await in_transaction(database, work)


async def record_consent(
    connection: AsyncConnection,
    orders: Sequence[Mapping[str, Any]],
    action: str,
    now: datetime,
    author: str,
) -> None:
    """One event for each of these orders: rows with id, job_name and, where there is one, a reason."""
    common = {"at": now, "author": author, "action": action, "noun": "order"}
    made = [
        common | {"record_id": one["id"], "record_name": one["job_name"], "reason": one.get("why")} for one in orders
    ]
    if made:
        await connection.execute(insert(events), made)


def _about(order_id: int) -> Select[Any]:
    columns = (
        *(_O.id, _O.type, _O.job_id, _O.job_name, _O.time_zone, _O.application_id, _A.external_id, _A.person_id),
        *(_A.status_id, _A.reduced_at, _J.consent_answer_days, _J.consent_status_id),
        *(_R[name] for name in _STATE),
        *(_R.order_id.label("asked"), _R.status_id.label("rejecting_id"), _R.prior_pool_since),
        _is_passed().label("is_passed"),
    )
    source = (
        write_orders.join(applications, _A.id == _O.application_id)
        .outerjoin(contact_jobs, _J.id == _O.job_id)
        .outerjoin(consent_requests, _R.order_id == _O.id)
    )
    return select(*columns).select_from(source).where(_O.id == order_id)


def _is_passed() -> ColumnElement[bool]:
    """Another letter has asked the person since this answer, or was answered otherwise: the same again is a new one."""
    other, theirs, orders = consent_requests.alias(), applications.alias(), write_orders.alias()
    otherwise = and_(other.c.answered_at > _R.answered_at, other.c.answer != _R.answer)
    later = (
        select(other.c.order_id)
        .join(orders, orders.c.id == other.c.order_id)
        .join(theirs, theirs.c.id == orders.c.application_id)
        .where(theirs.c.person_id == _A.person_id, other.c.order_id != _R.order_id)
        .where(or_(other.c.asked_at > _R.answered_at, otherwise))
    )
    return exists(later.correlate(consent_requests, applications))


async def _row(connection: AsyncConnection, statement: Select[Any], order_id: int) -> dict[str, Any]:
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("order", order_id)
    if row["asked"] is None and row["consent_answer_days"] is None:
        raise Refused(NO_QUESTION)
    return {str(key): value for key, value in row.items()}


async def _locked(connection: AsyncConnection, order_id: int) -> dict[str, Any]:
    """The order with its question, once nobody else can change it: locked in the house's order."""
    mine = select(_O.application_id).where(_O.id == order_id)
    owner = select(_A.person_id).where(_A.id.in_(mine))
    await connection.execute(select(_P.id).where(_P.id.in_(owner)).with_for_update())
    await connection.execute(select(_A.id).where(_A.id.in_(mine)).with_for_update())
    await connection.execute(select(_R.order_id).where(_R.order_id == order_id).with_for_update())
    return await _row(connection, _about(order_id), order_id)


async def _opt_out_or_in(
    connection: AsyncConnection, person_id: int, answer: Answer, now: datetime, author: str
) -> None:
    # Before the answer is written: what it is compared with is the one that stands.
    if answer is Answer.DELETE:
        await begin_opt_out(connection, person_id, reason=TO_BE_DELETED, author=author, now=now)
    elif await is_opted_out_for_deletion(connection, person_id):
        await end_opt_out(connection, person_id, author=author, now=now)


async def _write(connection: AsyncConnection, row: Mapping[str, Any], answer: Answer, now: datetime) -> None:
    due = deletion_from(now, ZoneInfo(row["time_zone"])) if answer is Answer.DELETE else None
    values = {"answer": answer.value, "answered_at": now, "due_at": due}
    values |= dict.fromkeys(("outcome", "outcome_at", "reason"))
    # There is none yet where the answer comes before its letter was settled, or the letter is unclear.
    first = {"order_id": row["id"], "job_id": row["job_id"], "status_id": row["consent_status_id"], **values}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(consent_requests).values(first)
    await connection.execute(new.on_conflict_do_update(index_elements=["order_id"], set_=values))


async def _give_back(connection: AsyncConnection, row: Mapping[str, Any], now: datetime, author: str) -> None:
    """What the application had before silence rejected it, unless somebody has given it another status since."""
    if row["status_id"] != row["rejecting_id"]:
        return
    values = {"status_id": row["prior_status_id"], "rejected_by_letter_at": None}
    values |= {"in_pool": bool(row["prior_in_pool"]), "pool_since": row["prior_pool_since"]}
    await connection.execute(update(applications).where(_A.id == row["application_id"]).values(values))
    back = (row["application_id"], row["external_id"], row["status_id"], row["prior_status_id"], now)
    await record_status_changes(connection, [StatusChange(*back)], author)


async def _note_contact(
    connection: AsyncConnection, row: Mapping[str, Any], answer: Answer, now: datetime, author: str
) -> None:
    c = contact_entries.c
    answers = select(func.count()).where(c.application_id == row["application_id"], c.identity.startswith("consent:"))
    number = (await connection.execute(answers)).scalar_one() + 1
    entry = {"identity": f"consent:{row['id']}:{number}", "application_id": row["application_id"], "at": now}
    entry |= {"medium": "portal", "direction": "incoming", "author": None if author == CANDIDATE else author}
    entry |= {"subject": SUBJECTS[answer], "counts_for_person": True}
    await connection.execute(insert(contact_entries).values(entry))
    await recompute_persons(connection, [row["person_id"]])
    await recompute_applications(connection, [row["application_id"]])


#: What the contact entry says; the timeline tells it in the reader's language.
SUBJECTS = {Answer.STAY: "wants to stay in the pool", Answer.DELETE: "asks to be deleted"}


def _question(row: Mapping[str, Any]) -> Question:
    answer = Answer(row["answer"]) if row["answer"] and not row["is_passed"] else None
    due = row["due_at"].astimezone(ZoneInfo(row["time_zone"])).date() if row["due_at"] else None
    erased = row["reduced_at"] is not None or row["outcome"] == "deleted"
    return Question(
        answer=answer,
        is_open=not erased,
        answer_by=due - timedelta(days=1) if due and row["answer"] is None else None,
        deleted_on=due if answer is Answer.DELETE else None,
        is_lapsed=row["outcome"] == "lapsed",
    )
