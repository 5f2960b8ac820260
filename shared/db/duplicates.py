"""The nightly pass over persons (D24): every application is assigned anew by the keys in force.

Imports assign what they bring at once; the pass brings changed keys into effect. It reads in batches by ascending id
and moves in short transactions of its own, so nothing waits long and doing it twice is harmless.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.person_moves import follow_moves
from shared.db.suppressions import settle_wishes
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, persons
from shared.domain.duplicates import identity_of
from shared.retry import retry_conflicts

_A, _P = applications.c, persons.c
#: Applications read at a time, and moved in one transaction.
READ_ROWS = 2000
MOVE_ROWS = 500
#: Applications that a report names.
NAMED = 1000


@dataclass(slots=True)
class PassReport:
    """What a pass found, or would change."""

    checked: int = 0
    moved: int = 0
    #: External ids of the first that moved.
    applications: list[str] = field(default_factory=list)

    def note(self, rows: Sequence[str]) -> None:
        """Counts applications that move."""
        self.moved += len(rows)
        self.applications += rows[: NAMED - len(self.applications)]


async def assign_persons(
    database: Database, *, now: datetime, author: str, dry_run: bool = False
) -> AsyncIterator[PassReport]:
    """Assigns every application that is not reduced to its person; yields the report after each batch.

    Reduced applications keep theirs: what they were compared by is erased (D42).
    """
    report, last = PassReport(), 0
    while True:
        async with database.read() as connection:
            keys = (await load_system_settings(connection)).duplicate_keys
            rows = list((await connection.execute(_batch(keys).where(_A.id > last).limit(READ_ROWS))).mappings())
        if not rows:
            yield report
            return
        last, report.checked = rows[-1]["id"], report.checked + len(rows)
        moving = [row for row in rows if _identity(row, keys) != row["identity"]]
        if dry_run:
            report.note([row["external_id"] for row in moving])
        else:
            for start in range(0, len(moving), MOVE_ROWS):
                ids = [row["id"] for row in moving[start : start + MOVE_ROWS]]
                report.note(await _move(database, ids, now, author))
        yield report


def _batch(keys: Sequence[str]) -> Select[Any]:
    columns = {name: _A[name] for name in ("id", "external_id", "person_id", *keys)}
    statement = select(*columns.values(), _P.identity, _P.duplicate_set).join(persons, _P.id == _A.person_id)
    return statement.where(_A.reduced_at.is_(None)).order_by(_A.id)


def _identity(row: Mapping[Any, Any], keys: Sequence[str]) -> str:
    return identity_of(row["external_id"], row["duplicate_set"], row, keys)


async def _move(database: Database, application_ids: Sequence[int], now: datetime, author: str) -> list[str]:
    """One transaction; returns the external ids of those that moved."""

    async def once() -> list[str]:
        async with database.begin() as connection:
            rows = await _locked(connection, application_ids)
            people = await _people(connection, {row["target"] for row in rows})
            if rows:
                to = update(applications).where(_A.id == bindparam("_id")).values(person_id=bindparam("_person"))
                await connection.execute(to, [{"_id": row["id"], "_person": people[row["target"]]} for row in rows])
            await follow_moves(connection, {row["id"]: row["person_id"] for row in rows}, now=now, author=author)
            return [row["external_id"] for row in rows]

    return await retry_conflicts(once)


async def _locked(connection: AsyncConnection, application_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Those that still are to move, with their new identity; persons locked first, old and new, by ascending id."""
    keys = (await load_system_settings(connection)).duplicate_keys
    statement = _batch(keys).where(_A.id.in_(application_ids))
    seen = (await connection.execute(statement)).mappings().all()
    people = await _people(connection, {_identity(row, keys) for row in seen})
    both = sorted({*people.values(), *(row["person_id"] for row in seen)})
    await connection.execute(select(_P.id).where(_P.id.in_(both)).order_by(_P.id).with_for_update(key_share=True))
    locked = (await connection.execute(statement.with_for_update(key_share=True, of=applications))).mappings()
    await settle_wishes(connection, both)
    return [_moving(row, keys) for row in locked if _identity(row, keys) != row["identity"]]


def _moving(row: RowMapping, keys: Sequence[str]) -> dict[str, Any]:
    return {**row, "target": _identity(row, keys)}


async def _people(connection: AsyncConnection, identities: set[str]) -> dict[str, int]:
    """Persons by identity; who is missing is made. None of them has a set: sets are the import's."""
    if not identities:
        return {}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    named = select(_P.identity, _P.id).where(_P.identity.in_(identities))
    found = {row.identity: row.id for row in await connection.execute(named)}
    if missing := sorted(identities - found.keys()):
        new = dialect.insert(persons).on_conflict_do_nothing(index_elements=["identity"])
        await connection.execute(new, [{"identity": identity} for identity in missing])
        found = {row.identity: row.id for row in await connection.execute(named)}
    return found
