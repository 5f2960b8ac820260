"""Sealing the history after the fact: in batches, one sealer at a time, nobody else waits (S28, decision 42)."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.audit_tables import event_seals, unsealed_events
from shared.db.column_types import any_of
from shared.db.engine import Database
from shared.db.tables import events
from shared.domain.audit_chain import BEGINNING, SALT_BYTES, digest_of_words, link_of

_E, _S, _U = events.c, event_seals.c, unsealed_events.c
#: Rows sealed in one transaction: so many that SQLite's one writer is held for a few hundredths of a second.
BATCH = 250
#: The action of an event that tells of erased words of its record, in the events before it.
ERASED = "erase"
#: Events with words that may be erased, as `words_of` has them.
_STATE = and_(_E.noun == "order", _E.field == "state", _E.field.is_not(None))
_SAYS = or_(_E.reason.is_not(None), and_(or_(_E.old.is_not(None), _E.new.is_not(None)), ~_STATE))
#: The advisory lock of who seals.
_LOCK = 0x6B70_61_7564


@dataclass(frozen=True, slots=True)
class Head:
    """The last seal: it stands for the whole history before it. Written `NUMBER:HEX`."""

    number: int
    link: str

    def __str__(self) -> str:
        return f"{self.number}:{self.link}"


async def load_head(connection: AsyncConnection) -> Head:
    """The end of the chain; number 0 if nothing is sealed."""
    last = select(_S.number, _S.link).order_by(_S.number.desc()).limit(1)
    row = (await connection.execute(last)).first()
    return Head(row.number, row.link) if row else Head(0, BEGINNING)


async def seal_history(database: Database, now: datetime) -> AsyncIterator[int]:
    """Seals what is committed, batch by batch; yields how many so far. Several at once: one of them does it."""
    done = 0
    while await _anything(database):
        async with database.begin() as connection:
            sealed = await seal_batch(connection, now)
        if not sealed:
            return
        done += sealed
        yield done


async def seal_batch(connection: AsyncConnection, now: datetime, most: int = BATCH) -> int:
    """Seals up to so many rows; 0 if there are none, or somebody else is at it. All or nothing."""
    if not await _alone(connection):
        return 0
    head = await load_head(connection)
    # Asked for by themselves: with the events joined, each batch would walk past all that are sealed.
    waiting = (await connection.execute(select(_U.event_id).order_by(_U.event_id).limit(most))).scalars().all()
    # Rows whose words are just being erased are passed over: sealed with what is to go, they would look tampered with.
    free = select(events).where(any_of(_E.id, waiting)).order_by(_E.id).with_for_update(skip_locked=True)
    rows = (await connection.execute(free)).mappings().all()
    if not rows:
        return 0
    await connection.execute(insert(event_seals), _seals(head, rows, now))
    await connection.execute(delete(unsealed_events).where(any_of(_U.event_id, [row["id"] for row in rows])))
    return len(rows)


async def _alone(connection: AsyncConnection) -> bool:
    """Whether nobody else seals until this transaction has committed: the next one finds its seals."""
    if connection.dialect.name == "sqlite":
        return True
    return bool((await connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK)))).scalar_one())


def _seals(head: Head, rows: Sequence[RowMapping], now: datetime) -> list[dict[str, Any]]:
    link, found = head.link, []
    for number, row in enumerate(rows, head.number + 1):
        salt = secrets.token_hex(SALT_BYTES)
        words = digest_of_words(salt, row)
        link = link_of(link, number, row, words)
        found.append({"number": number, "event_id": row["id"], "salt": salt, "words": words, "link": link})
    return [one | {"sealed_at": now} for one in found]


async def erase_words(
    connection: AsyncConnection, whose: ColumnElement[bool], *, now: datetime, author: str, **kept: Any
) -> None:
    """Erases old and new value and reason of these events (D42); `kept` says what stays of them instead.

    With them go the salts of their seals, so that no digest tells what they were. Each record that words were erased
    of gets an event that says so: without one they were not erased lawfully (decision 47).
    """
    values = {"old": None, "new": None, "reason": None} | kept
    said = update(events).where(whose, _SAYS).values(values).returning(_E.id, _E.noun, _E.record_id, _E.record_name)
    rows = (await connection.execute(said)).all()
    if not rows:
        return
    # After the events: who was sealing them meanwhile has committed by now.
    theirs = any_of(_S.event_id, [row.id for row in rows])
    await connection.execute(update(event_seals).where(theirs).values(salt=None))
    named = {(row.noun, row.record_id): row.record_name for row in rows}
    told = [
        {"at": now, "author": author, "action": ERASED, "noun": noun, "record_id": record_id, "record_name": name}
        for (noun, record_id), name in sorted(named.items(), key=lambda one: one[0])
    ]
    await connection.execute(insert(events), told)


async def tell_head(database: Database, **_: Any) -> AsyncIterator[str]:
    """The head, for the log: whoever keeps that elsewhere can tell a history that was made anew."""
    async with database.read() as connection:
        yield str(await load_head(connection))


async def _anything(database: Database) -> bool:
    """Asked without the right to write: SQLite has one writer, and mostly nothing waits."""
    async with database.read() as connection:
        return (await connection.execute(select(_U.event_id).limit(1))).first() is not None
