"""Whether the history is as it was sealed: nothing changed, missing, added or out of order (S28, decision 42)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, case, exists, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.audit_tables import event_seals, unsealed_events
from shared.db.engine import Database
from shared.db.history_seals import ERASED, Head, load_head
from shared.db.tables import applications, events, write_orders
from shared.domain.audit_chain import BEGINNING, ERASED_NOUNS, digest_of_words, link_of, words_of
from shared.errors import InvalidInput

_E, _S, _U, _A, _O = events.c, event_seals.c, unsealed_events.c, applications.c, write_orders.c
#: Rows looked at in one statement.
BATCH = 2000
_COLUMNS = ("id", "at", "author", "action", "noun", "record_id", "record_name", "field", "old", "new", "reason")


@dataclass(slots=True)
class HistoryCheck:
    """What was found. `fault`: the first row that is not as it was sealed, in words; None: there is none."""

    head: Head
    sealed: int = 0
    #: Rows whose words reduction has erased.
    erased: int = 0
    #: Rows that wait for their seal.
    unsealed: int = 0
    fault: str | None = None


def read_head(text: str) -> Head:
    """A head that was noted before, as `audit verify` prints it; raises InvalidInput."""
    number, _, link = text.strip().partition(":")
    try:
        head = Head(int(number), bytes.fromhex(link).hex())
    except ValueError:
        head = Head(0, "")
    if head.number < 1 or len(head.link) != len(BEGINNING):
        raise InvalidInput("--head", text, "give a head as audit verify has printed it")
    return head


async def check_history(
    database: Database, noted: Head | None = None, progress: Callable[[int, int], None] | None = None
) -> HistoryCheck:
    """Computes every seal again, in order, and stops at the first that does not fit. Changes nothing.

    `noted`: a head kept elsewhere, which must still be in the chain. `progress`: seals looked at, and how many.
    """
    async with database.read() as connection:
        # Before the head: a row that is sealed meanwhile counts as waiting, not as one that nobody knows.
        unsealed = (await connection.execute(select(func.count()).select_from(unsealed_events))).scalar_one()
        found = HistoryCheck(await load_head(connection), unsealed=unsealed)
        link = BEGINNING
        while found.fault is None and found.sealed < found.head.number:
            rows = (await connection.execute(_seals_after(found.sealed, found.head.number))).mappings().all()
            if not rows:
                found.fault = f"seal {found.sealed + 1} is missing, and all after it"
            for row in rows:
                link = _check(found, link, row)
                if found.fault is not None:
                    break
                if noted is not None and noted.number == found.sealed and noted.link != link:
                    found.fault = f"seal {found.sealed} is not the one that was noted: the history was made anew"
                    break
            if progress is not None:
                progress(found.sealed, found.head.number)
        if found.fault is None:
            found.fault = _end_of(found, noted) or await _strays(connection)
    return found


def _seals_after(number: int, last: int) -> Select[Any]:
    """The next seals with their rows, and what is to be known where words are missing (D42).

    `stands`: the record is there and not reduced. `told`: a later event of the record says that words were erased.
    """
    unreduced = _A.reduced_at.is_(None)
    application = exists().where(_A.id == _E.record_id, unreduced)
    order = exists().where(_O.id == _E.record_id, _A.id == _O.application_id, unreduced)
    stands = or_(and_(_E.noun == "application", application), and_(_E.noun == "order", order))
    x = events.alias("erasure").c
    of_it = and_(x.noun == _E.noun, x.record_id == _E.record_id, x.action == ERASED, x.id > _E.id)
    # Asked for few rows only.
    told = case((_S.salt.is_(None), exists().where(of_it)), else_=true())
    seal = (_S.number, _S.event_id, _S.salt, _S.words, _S.link)
    rows = select(*seal, *(_E[name] for name in _COLUMNS), stands.label("stands"), told.label("told"))
    rows = rows.select_from(event_seals.outerjoin(events, _E.id == _S.event_id))
    return rows.where(_S.number > number, _S.number <= last).order_by(_S.number).limit(BATCH)


def _check(found: HistoryCheck, before: str, row: Mapping[Any, Any]) -> str:
    number = found.sealed + 1
    found.fault = next(_faults(number, before, row), None)
    if found.fault is None:
        found.sealed = number
        found.erased += row["salt"] is None
    return str(row["link"])


def _faults(number: int, before: str, row: Mapping[Any, Any]) -> Iterator[str]:
    if row["number"] != number:
        yield f"seal {number} is missing"
        return
    place = f"row {row['event_id']} (seal {number})"
    if row["id"] is None:
        yield f"{place} is missing"
        return
    place += f", {row['noun']} {row['record_name'] or ''}".rstrip()
    if row["salt"] is not None:
        if not _is_of(row):
            yield f"{place}: what it says was changed"
    elif any(word is not None for word in words_of(row).values()):
        yield f"{place}: words stand where they had been erased"
    elif row["noun"] not in ERASED_NOUNS or row["stands"]:
        yield f"{place}: its words were erased, and not by a reduction"
    elif not row["told"]:
        yield f"{place}: its words were erased, and no later row says so"
    if link_of(before, number, row, row["words"]) != row["link"]:
        yield f"{place} was changed, or is out of order"


def _is_of(row: Mapping[Any, Any]) -> bool:
    """Whether the words are those that were sealed."""
    try:
        return digest_of_words(row["salt"], row) == str(row["words"])
    except ValueError:
        return False  # somebody has written a salt that is none


def _end_of(found: HistoryCheck, noted: Head | None) -> str | None:
    if noted is None or noted.number <= found.head.number:
        return None
    return f"seal {noted.number}, which was noted, is missing: the newest is {found.head.number}"


async def _strays(connection: AsyncConnection) -> str | None:
    """Rows that came by without the trigger, and rows that went before they were sealed."""
    sealed, waits = exists().where(_S.event_id == _E.id), exists().where(_U.event_id == _E.id)
    # Asked the other way round for those that somebody is sealing: they leave the one and come to the other at once.
    added = select(func.min(_E.id)).where(~waits, ~sealed)
    if (row := (await connection.execute(added)).scalar_one()) is not None:
        return f"row {row} was added past the seals"
    gone = select(func.min(_U.event_id)).where(~exists().where(_E.id == _U.event_id))
    row = (await connection.execute(gone)).scalar_one()
    return f"row {row} went before it was sealed" if row is not None else None
