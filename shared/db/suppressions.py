"""Wishes that outlive the record of whoever had them (S29): by keyed hashes of addresses and identities.

A wish is noted under every address and under the identity of its person when it is made, and found again when an
application with one of them is imported: after the records were erased, or as somebody else's. So an address that
several people share has the strictest of their wishes for whoever is imported with it later.

Who may read no address leaves it to others (`note_later`), who do it before a person's addresses or identity change.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, exists, func, or_, select, union, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of
from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, blocks, events, persons, suppressions, system_settings, wishes_to_note
from shared.db.transactions import in_transaction
from shared.domain.text import fold

_A, _P, _B, _S, _N = applications.c, persons.c, blocks.c, suppressions.c, wishes_to_note.c
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
#: People whose wishes are noted in one transaction.
_PEOPLE_AT_ONCE = 200


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
    wishes = await _wishes_of(connection, person_ids)
    if not wishes:
        return
    rows: dict[str, dict[str, Any]] = {}
    key = await _secret(connection)
    for one in await _known(connection, _A.person_id.in_(wishes)):
        for key_hash in _hashes(key, one):
            rows[key_hash] = _stricter(rows.get(key_hash, {}), wishes[one.person_id])
    found = await _noted(connection, rows)
    for key_hash, noted in found.items():
        rows[key_hash] = _stricter(rows[key_hash], noted)
    changed = [{"key_hash": one, **values} for one, values in rows.items() if found.get(one) != values]
    if changed:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        new = dialect.insert(suppressions)
        taken = {name: new.excluded[name] for name in _NAMES}
        await connection.execute(new.on_conflict_do_update(index_elements=["key_hash"], set_=taken), changed)


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


async def note_later(connection: AsyncConnection, person_id: int, taken_back: str | None = None) -> None:
    """As `note_wishes`, or `forget_wish` with its name, for who may read no address: others do it within seconds."""
    await connection.execute(insert(wishes_to_note).values(person_id=person_id, taken_back=taken_back))


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
            some = select(_N.person_id).distinct().order_by(_N.person_id).limit(_PEOPLE_AT_ONCE)
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


async def keep_wishes(connection: AsyncConnection, which: ColumnElement[bool], now: datetime, author: str) -> None:
    """Which applications are new, or have another address or person: what was wished before holds for their people."""
    if not await _are_any(connection):
        return []
    key = await _secret(connection)
    said = [("identity", f"person {one}") for one in identities]
    said += [(one, f"address {one}") for one in sorted({fold(one) for one in addresses})]
    by_hash = {_hash(key, text): under for under, text in said}
    found = await _noted(connection, by_hash)
    return [{"noted_under": under, **found[one]} for one, under in by_hash.items() if one in found]


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
