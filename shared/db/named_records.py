"""Records that people call by name: statuses, users, queries, letters, jobs. Names ignore case."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.text import fold
from shared.errors import InvalidInput


async def find_named(connection: AsyncConnection, table: Table, name: str) -> Mapping[str, Any] | None:
    """The record of that name, or None."""
    statement = select(table).where(table.c.name_folded == fold(name))
    row = (await connection.execute(statement)).mappings().first()
    return {str(key): value for key, value in row.items()} if row is not None else None


async def id_of(connection: AsyncConnection, table: Table, noun: str, name: str, place: str) -> int:
    """The id of a record that an input refers to; raises InvalidInput with the nearest name."""
    found = await find_named(connection, table, name)
    if found is not None:
        return int(found["id"])
    names = (await connection.execute(select(table.c.name))).scalars().all()
    near = get_close_matches(name, names, 1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InvalidInput(place, name, f"there is no such {noun}{hint}")
