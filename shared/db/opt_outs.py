"""Beginning and ending an opt-out (D25), whoever says so: operators, the candidate, or an answer to a consent letter.

"Please delete me" opts out at once, until it is carried out or taken back. Such an opt-out has the moment of its
answer, and so is known from one that the person has otherwise.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.suppressions import note_wish
from shared.db.tables import applications, consent_requests, events, persons, write_orders
from shared.db.write_orders.interventions import withdraw_open_letters_of_person
from shared.domain.consent import Answer

_A, _P, _O, _R, _E = applications.c, persons.c, write_orders.c, consent_requests.c, events.c
#: Why somebody is opted out who answered a consent letter.
TO_BE_DELETED = "asked to be deleted"


async def begin_opt_out(
    connection: AsyncConnection, person_id: int, *, reason: str | None, author: str, now: datetime
) -> tuple[int, int] | None:
    """No more contact care for a locked person: letters before T2 are withdrawn; how many, and how many too late.

    None: it had opted out before. What only an answer to a consent letter had set is the person's own from now on.
    """
    present = select(_P.opted_out_at, _is_for_deletion().label("for_deletion")).where(_P.id == person_id)
    before = (await connection.execute(present)).one()
    if before.opted_out_at is not None and not before.for_deletion:
        return None
    values = {"opted_out_at": now, "opted_out_by": author}
    await connection.execute(update(persons).where(_P.id == person_id).values(values))
    stopped = await withdraw_open_letters_of_person(
        connection, person_id, withdrawn_by="opted_out", reason="opted out", now=now, author=author
    )
    await note_wish(connection, person_id, author)
    await _record(connection, person_id, "opt_out", reason, author, now)
    return stopped


async def end_opt_out(connection: AsyncConnection, person_id: int, *, author: str, now: datetime) -> bool:
    """Contact care again for a locked person; what was withdrawn stays so. False: it had not opted out."""
    opted_out = update(persons).where(_P.id == person_id, _P.opted_out_at.is_not(None))
    if not (await connection.execute(opted_out.values(opted_out_at=None, opted_out_by=None))).rowcount:
        return False
    await note_wish(connection, person_id, author, taken_back="opted_out_at")
    await _record(connection, person_id, "opt_in", None, author, now)
    return True


async def is_opted_out_for_deletion(connection: AsyncConnection, person_id: int) -> bool:
    """Whether nothing but "please delete me", not carried out yet, keeps letters from a locked person."""
    found = select(_P.id).where(_P.id == person_id, _is_for_deletion())
    return (await connection.execute(found)).first() is not None


async def opt_out_deleted(
    connection: AsyncConnection, answered: Collection[tuple[int, datetime]], *, author: str, now: datetime
) -> None:
    """Locked people (id, when) who are deleted as they asked do not come back by an import, unless they opted in since.

    For answers from before they opted out at once, and for persons that were merged meanwhile.
    """
    for person_id, at in sorted(answered):
        back = select(func.count()).where(
            _E.noun == "person", _E.record_id == person_id, _E.action == "opt_in", _E.at >= at
        )
        opted_out = select(_P.opted_out_at).where(_P.id == person_id)
        if (await connection.execute(opted_out)).scalar_one() is None and not (
            await connection.execute(back)
        ).scalar_one():
            await begin_opt_out(connection, person_id, reason=TO_BE_DELETED, author=author, now=now)


def _is_for_deletion() -> ColumnElement[bool]:
    answers = (
        select(_R.order_id)
        .join(write_orders, _O.id == _R.order_id)
        .join(applications, _A.id == _O.application_id)
        .where(_A.person_id == _P.id, _R.answer == Answer.DELETE.value, _R.answered_at == _P.opted_out_at)
        .where(_R.outcome.is_distinct_from("deleted"))
    )
    return exists(answers.correlate(persons))


async def _record(
    connection: AsyncConnection, person_id: int, action: str, reason: str | None, author: str, now: datetime
) -> None:
    event = {"at": now, "author": author, "action": action, "noun": "person", "record_id": person_id}
    await connection.execute(insert(events).values(event | {"reason": reason}))
