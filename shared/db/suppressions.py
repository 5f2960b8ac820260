"""Wishes that outlive the record of whoever had them (S29): by keyed hashes of addresses and identities.

A wish is noted under every address and under the identity of its person when it is made, and found again when an
application with one of them is imported (kept_wishes.py): after the records were erased, or as somebody else's. So an
address that several people share has the strictest of their wishes for whoever is imported with it later. Each person
has notes of its own: who takes a wish back does not take back what another one said.

Who may read no address leaves it to others (`note_wish`), who do it before a person's addresses or identity change.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, exists, func, insert, or_, select, union, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of
from shared.db.engine import Database
from shared.db.suppression_keys import KEPT_ADDRESS, Keys, load_keys
from shared.db.tables import applications, blocks, persons, suppressions, wishes_to_note, write_orders
from shared.db.transactions import in_transaction
from shared.retry import retry_conflicts

_A, _P, _B, _O, _S, _N = applications.c, persons.c, blocks.c, write_orders.c, suppressions.c, wishes_to_note.c
#: The author of what candidates decide themselves.
CANDIDATE = "candidate"
#: Why a pause is a block.
PAUSED = "the candidate wants a pause"
#: How long a candidate's pause is.
PAUSE_MONTHS = 6
#: Wishes that are columns of a person, with the event that tells of each.
SINCE = {"opted_out_at": "opt_out", "no_birthday_since": "no_birthday", "yearly_since": "yearly"}
_NAMES = (*SINCE, "paused_until")
#: What makes a block a pause.
_PAUSE = (_B.author == CANDIDATE, _B.scope == "all", _B.until.is_not(None))
#: What a wish was noted under of which a hash is left.
ERASED = "an address that was erased"
#: Hashes asked for at a time: SQLite takes so many parameters.
_AT_ONCE = 500
#: People looked at in one transaction of the nightly chore, and people whose wishes wait to be noted.
BATCH = 500


@dataclass(frozen=True, slots=True)
class _Person:
    """A person by the hash of its identity, and all hashes that it is known by."""

    id: int
    holder: str
    keys: frozenset[str]


async def note_wishes(connection: AsyncConnection, person_ids: Collection[int]) -> None:
    """Notes what these people, who are locked, do not want; adds only: the stricter wins.

    What they have taken back is forgotten first, where that was left to others.
    """
    await _forget_what_waits(connection, person_ids)
    if missing := await _missing(connection, person_ids):
        new = _insert(connection)
        taken = {name: new.excluded[name] for name in (*_NAMES, "person_id")}
        await connection.execute(new.on_conflict_do_update(index_elements=["key_hash"], set_=taken), missing)


async def forget_wish(connection: AsyncConnection, person_id: int, name: str) -> None:
    """The person, who is locked, takes a wish back: it holds for none of the addresses it was noted under any more.

    What others have noted under one of them stays while they are there and wish it still. Notes of whoever is gone go:
    they had come with the address to this person, who decides now.
    """
    if not await are_any(connection):
        return
    (whose,) = await _people(connection, await load_keys(connection), [person_id])
    own = select(_S.known_by).where(_S.holder_hash == whose.holder)
    under = _under(sorted(whose.keys | set((await connection.execute(own)).scalars())))
    still = exists().where(_P.id == _S.person_id, _P.id == _A.person_id, _wishes(name))
    mine = or_(_S.holder_hash == whose.holder, ~still)
    await connection.execute(update(suppressions).where(under, mine).values({name: None}))
    empty = and_(*(_S[one].is_(None) for one in _NAMES))
    await connection.execute(delete(suppressions).where(under, empty))


async def note_wish(connection: AsyncConnection, person_id: int, author: str, *, taken_back: str | None = None) -> None:
    """Notes what a locked person does not want, or that it has taken back the wish of that name.

    The candidates' page may read no address: what candidates say waits, and is noted by others within seconds.
    """
    if author == CANDIDATE:
        await connection.execute(insert(wishes_to_note).values(person_id=person_id, taken_back=taken_back))
    elif taken_back is not None:
        await forget_wish(connection, person_id, taken_back)
    else:
        await note_wishes(connection, [person_id])


async def settle_wishes(connection: AsyncConnection, person_ids: Collection[int]) -> None:
    """Does what waits about these people, who are locked: before they are known by something else."""
    waiting = select(_N.person_id).where(any_of(_N.person_id, person_ids)).distinct()
    if people := list((await connection.execute(waiting)).scalars()):
        await note_wishes(connection, people)


async def settle_waiting_wishes(database: Database) -> None:
    """Does what waits about anybody. Who does it, and whether it is killed meanwhile, makes no difference."""

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(select(_P.id).where(any_of(_P.id, people)).order_by(_P.id).with_for_update())
        await settle_wishes(connection, people)

    while True:
        async with database.read() as connection:
            some = select(_N.person_id).distinct().order_by(_N.person_id).limit(BATCH)
            people = list((await connection.execute(some)).scalars())
        if not people:
            return
        await in_transaction(database, work)


async def _forget_what_waits(connection: AsyncConnection, person_ids: Collection[int]) -> None:
    if not person_ids:
        return
    taken = delete(wishes_to_note).where(any_of(_N.person_id, person_ids)).returning(_N.person_id, _N.taken_back)
    rows = (await connection.execute(taken)).all()
    for person_id, name in sorted({(row.person_id, row.taken_back) for row in rows if row.taken_back is not None}):
        await forget_wish(connection, person_id, name)


async def take_over_notes(connection: AsyncConnection, moves: Collection[tuple[int, int]]) -> None:
    """Notes of people of whom nothing is left are also those of whoever has their applications (old id, new id)."""
    left = select(_A.person_id).where(_A.person_id.in_([old for old, _ in moves]))
    there = set((await connection.execute(left)).scalars())
    if not (gone := sorted(move for move in moves if move[0] not in there)) or not await are_any(connection):
        return
    keys = await load_keys(connection)
    named = select(_P.id, _P.identity).where(_P.id.in_({one for move in gone for one in move}))
    holders = {row.id: keys.of_identity(row.identity) for row in await connection.execute(named)}
    for old, new in gone:
        theirs = (await connection.execute(select(suppressions).where(_S.holder_hash == holders[old]))).all()
        if rows := [_row(keys, row.known_by, holders[new], new, _values(row)) for row in theirs]:
            await connection.execute(_insert(connection).on_conflict_do_nothing(index_elements=["key_hash"]), rows)


async def note_earlier_wishes(connection: AsyncConnection) -> int:
    """Notes the wishes of everybody who lacks a note; returns of how many people. For those from before there were any.

    In one transaction; the nightly chore does the same in many.
    """
    last = noted = 0
    while people := await _with_wishes(connection, last):
        noted += await _note_where_missing(connection, people)
        last = people[-1]
    return noted


async def note_missing_wishes(database: Database, *, now: datetime, author: str) -> AsyncIterator[int]:
    """Notes what slipped through, a batch of people in each transaction; yields of how many so far.

    Whoever has all notes costs a look and no lock. (`now`, `author`: as every chore is called; it leaves no trace.)
    """
    last = noted = 0
    while True:
        people, some = await retry_conflicts(lambda: _note_batch(database, last))  # noqa: B023 - called here
        if not people:
            return
        last, noted = people[-1], noted + some
        yield noted


async def noted_wishes(
    connection: AsyncConnection, identities: Iterable[str], addresses: Iterable[str]
) -> list[dict[str, Any]]:
    """What is noted under these, with what it was found by (`noted_under`); of an address its kept hash will do."""
    if not await are_any(connection):
        return []
    keys = await load_keys(connection)
    under = {keys.of_identity(one): "identity" for one in identities}
    for one in sorted(addresses):
        if key := keys.of_letter(one):
            under.setdefault(key, ERASED if one.startswith(KEPT_ADDRESS) else one)
    found = await noted_under(connection, under)
    return [{"noted_under": said, **found[key]} for key, said in under.items() if key in found]


async def paused_until(connection: AsyncConnection, person_id: int, today: date) -> date | None:
    """Until when, the day included, the candidate wants no letters; None: there is no pause."""
    last = select(func.max(_B.until)).where(_B.person_id == person_id, *_own_pause(), _B.until >= today)
    found: date | None = (await connection.execute(last)).scalar_one()
    return found


async def is_pause(connection: AsyncConnection, block_id: int) -> bool:
    """Whether a block is a candidate's pause."""
    return (await connection.execute(select(_B.id).where(_B.id == block_id, *_PAUSE))).first() is not None


async def pause_ended_at(connection: AsyncConnection, person_id: int) -> datetime | None:
    """When a pause of the person's was last taken back, by whomever."""
    last = select(func.max(_B.lifted_at)).where(_B.person_id == person_id, *_PAUSE)
    found: datetime | None = (await connection.execute(last)).scalar_one()
    return found


async def are_any(connection: AsyncConnection) -> bool:
    """Whether anybody's wish is noted."""
    return (await connection.execute(select(_S.key_hash).limit(1))).first() is not None


async def noted_under(connection: AsyncConnection, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By hash, the strictest of what is noted under it."""
    found: dict[str, dict[str, Any]] = {}
    for some in _chunks(sorted(set(keys))):
        for row in await connection.execute(select(suppressions).where(_under(some))):
            key = row.known_by or row.key_hash
            found[key] = stricter(found.get(key, {}), _values(row))
    return found


def stricter(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The earlier wish of each kind, and the longer pause."""
    given = {name: [each[name] for each in (one, other) if each.get(name) is not None] for name in _NAMES}
    return {
        name: (max if name == "paused_until" else min)(values) if values else None for name, values in given.items()
    }


async def _missing(connection: AsyncConnection, person_ids: Collection[int]) -> list[dict[str, Any]]:
    """The rows that these people's wishes lack, ordered by key as every transaction locks them."""
    wishes = await _wishes_of(connection, person_ids)
    if not wishes:
        return []
    keys = await load_keys(connection)
    people = await _people(connection, keys, wishes)
    noted: dict[str, dict[str, dict[str, Any]]] = {one.holder: {} for one in people}
    for some in _chunks(sorted(noted)):
        for row in await connection.execute(select(suppressions).where(_S.holder_hash.in_(some))):
            noted[row.holder_hash][row.known_by] = _values(row)
    rows = []
    for one in people:
        # Also under what they were known by once: an address that was changed may come again.
        for key in one.keys | noted[one.holder].keys():
            present = noted[one.holder].get(key)
            values = stricter(present or {}, wishes[one.id])
            if values != present:
                rows.append(_row(keys, key, one.holder, one.id, values))
    return sorted(rows, key=lambda row: str(row["key_hash"]))


async def _people(connection: AsyncConnection, keys: Keys, person_ids: Collection[int]) -> list[_Person]:
    """By all that is known of them: identity, addresses that work or worked, and where letters to them went."""
    identities = await connection.execute(select(_P.id, _P.identity).where(any_of(_P.id, person_ids)))
    holders = {row.id: keys.of_identity(row.identity) for row in identities}
    found = {person_id: {holder} for person_id, holder in holders.items()}
    theirs = any_of(_A.person_id, person_ids)
    addresses = select(_A.person_id, _A.usable_email, _A.returned_email).where(theirs)
    for row in await connection.execute(addresses):
        found[row.person_id] |= {keys.of_address(one) for one in (row.usable_email, row.returned_email) if one}
    # Whoever has a letter's link read it there; of who was reduced since, its hash is all that is left.
    letters = select(_A.person_id, _O.email).join(write_orders, _O.application_id == _A.id)
    for person_id, email in await connection.execute(letters.where(theirs, _O.email.is_not(None)).distinct()):
        if key := keys.of_letter(email):
            found[person_id].add(key)
    return [_Person(one, holders[one], frozenset(found[one])) for one in sorted(holders)]


async def _note_batch(database: Database, last: int) -> tuple[Sequence[int], int]:
    async with database.begin() as connection:
        people = await _with_wishes(connection, last)
        return people, await _note_where_missing(connection, people)


async def _note_where_missing(connection: AsyncConnection, people: Sequence[int]) -> int:
    lacking = sorted({row["person_id"] for row in await _missing(connection, people)})
    if lacking:
        await connection.execute(select(_P.id).where(any_of(_P.id, lacking)).order_by(_P.id).with_for_update())
        await note_wishes(connection, lacking)
    return len(lacking)


async def _with_wishes(connection: AsyncConnection, last: int) -> Sequence[int]:
    """The next people who have a wish, each kind found by its index."""
    each = [select(_P.id).where(_P[name].is_not(None), _P.id > last) for name in SINCE]
    pausing = select(_B.person_id.label("id")).where(_B.person_id > last, *_own_pause())
    people = union(*each, pausing).subquery()
    return list((await connection.execute(select(people.c.id).order_by(people.c.id).limit(BATCH))).scalars())


async def _wishes_of(connection: AsyncConnection, person_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """By person who has any."""
    if not person_ids:
        return {}
    until = select(func.max(_B.until)).where(_B.person_id == _P.id, *_own_pause()).scalar_subquery()
    statement = select(_P.id, *(_P[name] for name in SINCE), until.label("paused_until"))
    rows = await connection.execute(statement.where(any_of(_P.id, person_ids), or_(*map(_wishes, _NAMES))))
    return {row["id"]: {name: row[name] for name in _NAMES} for row in rows.mappings()}


def _row(keys: Keys, key: str, holder: str, person_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    of = {"key_hash": keys.of_note(key, holder), "known_by": key, "holder_hash": holder, "person_id": person_id}
    return of | dict(values)


def _under(keys: Sequence[str]) -> ColumnElement[bool]:
    """Noted under one of these hashes, by this release or an earlier one."""
    return or_(_S.known_by.in_(keys), and_(_S.known_by.is_(None), _S.key_hash.in_(keys)))


def _insert(connection: AsyncConnection) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(suppressions)


def _wishes(name: str) -> Any:
    """Whether a person has this wish now."""
    if name != "paused_until":
        return _P[name].is_not(None)
    return exists().where(_B.person_id == _P.id, *_own_pause()).correlate(persons)


def _own_pause() -> tuple[Any, ...]:
    return (*_PAUSE, _B.lifted_at.is_(None))


def _values(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES}


def _chunks(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE)]
