"""What candidates ask the recruiters to do: correct their data, delete them. Tasks that stay open until done.

The system does neither by itself: whoever has a letter has its link, and what is erased does not come back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.opt_outs import begin_opt_out
from shared.db.person_commands import OfOrder, Whose, owner_of
from shared.db.suppressions import CANDIDATE
from shared.db.system_state import Count
from shared.db.tables import applications, candidate_requests, events, persons, write_orders
from shared.db.transactions import in_transaction
from shared.errors import InvalidInput, NotFound, Refused

_A, _P, _R = applications.c, persons.c, candidate_requests.c
#: Characters of a candidate's words, and requests of one kind that may wait for one person.
LONGEST_WORDS, MOST_OPEN = 2000, 5
#: Requests that a list shows.
LISTED = 500
#: How long the words of a request are kept once it is done.
WORDS_KEPT = timedelta(days=90)


class Kind(StrEnum):
    """What a candidate asks for."""

    CORRECTION = "correction"
    DELETION = "deletion"


@dataclass(frozen=True, slots=True)
class OpenRequests:
    """How many of a person's requests wait, by kind."""

    corrections: int = 0
    deletions: int = 0


async def ask(database: Database, whose: Whose, kind: Kind, words: str | None, *, now: datetime) -> bool:
    """Leaves a request for the recruiters; False: nothing changed, the same waits already.

    Raises InvalidInput, NotFound and Refused.
    A reduced application takes no words (D42): nothing would erase them. That it asks for deletion needs none. Who is
    to be deleted is opted out with it: nothing is written to them meanwhile.
    """
    words = (words or "").strip() or None
    if words is not None and (len(words) > LONGEST_WORDS or "\0" in words):
        raise InvalidInput("words", None, f"write at most {LONGEST_WORDS} characters")
    if words is None and kind is Kind.CORRECTION:
        raise InvalidInput("words", None, "write what is to be corrected")

    async def work(connection: AsyncConnection) -> bool:
        person_id = await _locked(connection, whose)
        opted_out = None
        if kind is Kind.DELETION:
            opted_out = await begin_opt_out(connection, person_id, reason=None, author=CANDIDATE, now=now)
        if words is not None and await _is_reduced(connection, whose):
            raise Refused("your data were erased, but for what has to be kept; please write to us about that")
        waiting = select(_R.words).where(*_waiting(person_id, kind))
        there = list((await connection.execute(waiting)).scalars())
        if words in there:
            return opted_out is not None
        if len(there) >= MOST_OPEN:
            raise Refused("your earlier requests wait to be dealt with; please give us some days")
        values = {"application_id": _application_of(whose), "kind": kind.value, "words": words}
        await connection.execute(insert(candidate_requests).values(values | {"made_at": now}))
        await _record(connection, person_id, f"ask_{kind.value}", CANDIDATE, now)
        return True

    return await in_transaction(database, work)


async def take_back(database: Database, whose: Whose, kind: Kind, *, now: datetime) -> bool:
    """The candidate takes back what waits of this kind; False: nothing did."""

    async def work(connection: AsyncConnection) -> bool:
        person_id = await _locked(connection, whose)
        done = update(candidate_requests).where(*_waiting(person_id, kind)).values(done_at=now, done_by=CANDIDATE)
        if not (await connection.execute(done)).rowcount:
            return False
        await _record(connection, person_id, f"take_back_{kind.value}", CANDIDATE, now)
        return True

    return await in_transaction(database, work)


async def finish(database: Database, request_id: int, *, author: str, now: datetime) -> None:
    """A recruiter has done it. Raises NotFound, and Refused where it was done before."""

    async def work(connection: AsyncConnection) -> None:
        owner = select(_A.person_id).join(candidate_requests, _R.application_id == _A.id).where(_R.id == request_id)
        locked = select(_P.id).where(_P.id == owner.scalar_subquery()).with_for_update()
        person_id = (await connection.execute(locked)).scalars().first()
        if person_id is None:
            raise NotFound("request", request_id)
        done = update(candidate_requests).where(_R.id == request_id, _R.done_at.is_(None))
        found = await connection.execute(done.values(done_at=now, done_by=author).returning(_R.kind))
        kind = found.scalars().first()
        if kind is None:
            raise Refused(f"request {request_id} is done already")
        await _record(connection, person_id, f"done_{kind}", author, now)

    await in_transaction(database, work)


async def open_requests(connection: AsyncConnection, person_id: int | None = None) -> list[dict[str, Any]]:
    """What waits, the oldest first: of one person, or of all, up to LISTED."""
    whose = [] if person_id is None else [_A.person_id == person_id]
    columns = (_R.id, _R.kind, _R.words, _R.made_at, _A.id.label("application_id"), _A.external_id.label("application"))
    names = (_A.first_name, _A.last_name, _A.recruiter)
    statement = select(*columns, *names).join(applications, _A.id == _R.application_id)
    rows = await connection.execute(
        statement.where(_R.done_at.is_(None), *whose).order_by(_R.made_at, _R.id).limit(LISTED)
    )
    return [{str(key): value for key, value in row.items()} for row in rows.mappings()]


async def count_open(connection: AsyncConnection, person_id: int) -> OpenRequests:
    """What of a person waits."""
    which = (_theirs(person_id), _R.done_at.is_(None))
    statement = select(_R.kind, func.count()).where(*which)
    found = {row[0]: int(row[1]) for row in await connection.execute(statement.group_by(_R.kind))}
    return OpenRequests(found.get("correction", 0), found.get("deletion", 0))


async def count_requests(connection: AsyncConnection) -> Count:
    """How many wait, of all people."""
    some = select(_R.id).where(_R.done_at.is_(None)).limit(LISTED + 1).subquery()
    number = int((await connection.execute(select(func.count()).select_from(some))).scalar_one())
    return Count(min(number, LISTED), number > LISTED)


def _theirs(person_id: int) -> ColumnElement[bool]:
    # By the application: it may have become another person's since (D24).
    return _R.application_id.in_(select(_A.id).where(_A.person_id == person_id))


def _waiting(person_id: int, kind: Kind) -> tuple[ColumnElement[bool], ...]:
    return _theirs(person_id), _R.kind == kind.value, _R.done_at.is_(None)


async def _locked(connection: AsyncConnection, whose: Whose) -> int:
    found = await connection.execute(select(_P.id).where(_P.id == owner_of(whose)).with_for_update())
    person_id = found.scalars().first()
    if person_id is None:
        raise NotFound("order", whose.id) if isinstance(whose, OfOrder) else NotFound("application", whose)
    return int(person_id)


async def _is_reduced(connection: AsyncConnection, whose: Whose) -> bool:
    """Read while the person is locked, as it is by whoever reduces."""
    mine = select(_A.reduced_at).where(_A.id == _application_of(whose))
    return (await connection.execute(mine)).scalar() is not None


async def erase_words_of_done(connection: AsyncConnection, now: datetime) -> int:
    """Erases the words of requests done so long ago; returns how many."""
    old = (_R.done_at < now - WORDS_KEPT, _R.words.is_not(None))
    return (await connection.execute(update(candidate_requests).where(*old).values(words=None))).rowcount


def _application_of(whose: Whose) -> ScalarSelect[int]:
    if isinstance(whose, OfOrder):
        return select(write_orders.c.application_id).where(write_orders.c.id == whose.id).scalar_subquery()
    return select(_A.id).where(_A.external_id == whose.strip()).scalar_subquery()


async def _record(connection: AsyncConnection, person_id: int, action: str, author: str, now: datetime) -> None:
    event = {"at": now, "author": author, "action": action, "noun": "person", "record_id": person_id}
    await connection.execute(insert(events).values(event))
