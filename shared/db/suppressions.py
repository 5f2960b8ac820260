"""Wishes that outlive the record of whoever had them (S29): by keyed hashes of addresses and identities.

A wish is noted under every address and under the identity of its person when it is made, and found again when an
application with one of them is imported: after the records were erased, or as somebody else's. So an address that
several people share has the strictest of their wishes for whoever is imported with it later.
"""

import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, blocks, events, persons, suppressions, system_settings
from shared.domain.text import fold

_A, _P, _B, _S = applications.c, persons.c, blocks.c, suppressions.c
#: The author of what candidates decide themselves.
CANDIDATE = "candidate"
#: Why a pause is a block, and why somebody new has a wish.
PAUSED, KEPT = "the candidate wants a pause", "as the person wished before"
#: Wishes that are columns of a person, with the event that tells of each.
SINCE = {"opted_out_at": "opt_out", "no_birthday_since": "no_birthday", "yearly_since": "yearly"}
_NAMES = (*SINCE, "paused_until")
_KEY = "suppression_key"
#: Hashes asked for at a time: SQLite takes so many parameters.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Known:
    """A person by what it can be recognised by, and one of its addresses."""

    person_id: int
    identity: str
    address: str | None


async def note_wishes(connection: AsyncConnection, person_ids: Collection[int]) -> None:
    """Notes what these people, who are locked, do not want; adds only: the stricter wins."""
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
    """The person, who is locked, takes a wish back: it holds for none of the person's addresses any more."""
    if not await _are_any(connection):
        return
    key = await _secret(connection)
    hashes = {one for known in await _known(connection, _A.person_id == person_id) for one in _hashes(key, known)}
    await connection.execute(update(suppressions).where(_S.key_hash.in_(hashes)).values({name: None}))
    empty = and_(*(_S[one].is_(None) for one in _NAMES))
    await connection.execute(delete(suppressions).where(_S.key_hash.in_(hashes), empty))


async def keep_wishes(connection: AsyncConnection, which: ColumnElement[bool], now: datetime, author: str) -> None:
    """Which applications are new, or have another address or person: what was wished before holds for their people."""
    if not await _are_any(connection):
        return
    key = await _secret(connection)
    known = await _known(connection, which)
    people: dict[str, set[int]] = {}
    for one in known:
        for key_hash in _hashes(key, one):
            people.setdefault(key_hash, set()).add(one.person_id)
    kept: dict[int, dict[str, Any]] = {}
    for key_hash, noted in (await _noted(connection, people)).items():
        for person_id in people[key_hash]:
            kept[person_id] = _stricter(kept.get(person_id, {}), noted)
    for person_id, wishes in sorted(kept.items()):
        await _keep(connection, person_id, wishes, now, author)
    # And under what they have become known by now.
    await note_wishes(connection, {one.person_id for one in known})


async def note_earlier_wishes(connection: AsyncConnection) -> None:
    """Notes the wishes of everybody who has one: those from before there were notes have none yet."""
    people = (await connection.execute(select(_P.id).where(_has_wish()).order_by(_P.id).with_for_update())).scalars()
    await note_wishes(connection, list(people))


async def _keep(
    connection: AsyncConnection, person_id: int, wishes: Mapping[str, Any], now: datetime, author: str
) -> None:
    """Gives a person wishes that it does not have yet."""
    present = (await connection.execute(select(persons).where(_P.id == person_id).with_for_update())).mappings().one()
    for name, action in SINCE.items():
        if wishes[name] is None or present[name] is not None:
            continue
        values = {name: wishes[name]} | ({"opted_out_by": author} if name == "opted_out_at" else {})
        await connection.execute(update(persons).where(_P.id == person_id).values(values))
        event = {"at": now, "author": author, "action": action, "noun": "person", "record_id": person_id}
        await connection.execute(insert(events).values(event | {"reason": KEPT}))
    until, today = wishes["paused_until"], now.astimezone((await load_system_settings(connection)).zone).date()
    if until is None or until < today or await paused_until(connection, person_id, today) is not None:
        return
    block = {"person_id": person_id, "scope": "all", "until": until, "reason": PAUSED, "author": CANDIDATE}
    await connection.execute(insert(blocks).values(block | {"created_at": now}))


async def noted_wishes(
    connection: AsyncConnection, identities: Iterable[str], addresses: Iterable[str]
) -> list[dict[str, Any]]:
    """What is noted under these identities and addresses, each with what it was found by (`noted_under`)."""
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


def _own_pause() -> tuple[Any, ...]:
    return (_B.author == CANDIDATE, _B.scope == "all", _B.until.is_not(None), _B.lifted_at.is_(None))


def _has_wish() -> Any:
    pausing = exists().where(_B.person_id == _P.id, *_own_pause())
    return or_(*(_P[name].is_not(None) for name in SINCE), pausing)


async def _wishes_of(connection: AsyncConnection, person_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """By person who has any."""
    if not person_ids:
        return {}
    until = select(func.max(_B.until)).where(_B.person_id == _P.id, *_own_pause()).scalar_subquery()
    statement = select(_P.id, *(_P[name] for name in SINCE), until.label("paused_until"))
    rows = await connection.execute(statement.where(any_of(_P.id, person_ids), _has_wish()))
    return {row["id"]: {name: row[name] for name in _NAMES} for row in rows.mappings()}


async def _known(connection: AsyncConnection, which: Any) -> list[_Known]:
    statement = select(_P.id, _P.identity, _A.usable_email).join_from(applications, persons, _P.id == _A.person_id)
    return [_Known(*row) for row in await connection.execute(statement.where(which))]


async def _noted(connection: AsyncConnection, hashes: Iterable[str]) -> dict[str, dict[str, Any]]:
    wanted = list(hashes)
    found: list[Row[Any]] = []
    for start in range(0, len(wanted), _AT_ONCE):
        some = select(suppressions).where(_S.key_hash.in_(wanted[start : start + _AT_ONCE]))
        found += (await connection.execute(some)).all()
    return {row.key_hash: _values(row) for row in found}


def _values(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES}


def _stricter(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The earlier wish of each kind, and the longer pause."""
    given = {name: [each[name] for each in (one, other) if each.get(name) is not None] for name in _NAMES}
    return {
        name: (max if name == "paused_until" else min)(values) if values else None for name, values in given.items()
    }


def _hashes(key: bytes, one: _Known) -> list[str]:
    said = [f"person {one.identity}", *([f"address {fold(one.address)}"] if one.address else [])]
    return [_hash(key, text) for text in said]


def _hash(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), sha256).hex()


async def _are_any(connection: AsyncConnection) -> bool:
    return (await connection.execute(select(_S.key_hash).limit(1))).first() is not None


async def _secret(connection: AsyncConnection) -> bytes:
    """The database's own secret, made when it is first needed: whoever imports needs it, and nothing else to set."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    stored = select(system_settings.c.value).where(system_settings.c.name == _KEY)
    if (found := (await connection.execute(stored)).scalars().first()) is None:
        new = dialect.insert(system_settings).values(name=_KEY, value=secrets.token_hex(32))
        await connection.execute(new.on_conflict_do_nothing(index_elements=["name"]))
        found = (await connection.execute(stored)).scalar_one()
    return bytes.fromhex(str(found))
