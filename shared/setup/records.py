"""One query or letter saved by a person in the console: the same path as a setup file's entry (D3, D21, D43)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.named_records import find_named
from shared.db.system_settings import load_system_settings, seal_of_settings
from shared.db.tables import application_queries, form_letters
from shared.domain.job_fields import read_name
from shared.domain.text import fold
from shared.errors import InvalidInput, NotFound, Outdated
from shared.setup.apply import apply_setup
from shared.setup.difference import Difference
from shared.setup.document import Entry, Setup, check_letter_entry


@dataclass(frozen=True, slots=True)
class Edited:
    """The record that a person had before them: its id and version; None: it is to be a new one."""

    id: int
    version: int


async def save_query(
    database: Database,
    edited: Edited | None,
    name: str,
    filters: list[dict[str, Any]],
    *,
    author: str,
    now: datetime,
    dry_run: bool = False,
) -> Difference:
    """Creates or changes a query. `filters` as in a setup file, read before.

    Raises InvalidInput (place `name`, or the filter), Outdated if somebody else changed it meanwhile.
    """
    entry = await _entry(database, application_queries, "query", edited, name, {"filters": filters})
    return await _apply(database, application_queries, "query", edited, entry, author, now, dry_run)


async def save_letter(
    database: Database,
    edited: Edited | None,
    name: str,
    fields: Mapping[str, Any],
    *,
    author: str,
    now: datetime,
    dry_run: bool = False,
) -> Difference:
    """Creates or changes a letter; raises as `save_query` does."""
    entry = await _entry(database, form_letters, "letter", edited, name, fields)
    check_letter_entry(entry)
    return await _apply(database, form_letters, "letter", edited, entry, author, now, dry_run)


async def save_settings(
    database: Database,
    wanted: Mapping[str, Any],
    seal: str,
    *,
    author: str,
    role: str,
    now: datetime,
    dry_run: bool = False,
) -> Difference:
    """Changes settings, read before; raises Outdated if they are no longer those that the seal is of."""

    async def check(connection: AsyncConnection) -> None:
        if seal_of_settings(await load_system_settings(connection)) != seal:
            raise Outdated("somebody else has changed the settings meanwhile; look again, then make your change")

    setup = Setup(settings=dict(wanted))
    given: dict[str, Any] = {"author": author, "now": now, "role": role, "dry_run": dry_run}
    return await apply_setup(database, setup, **given, check=check)


async def id_of_saved(database: Database, table: Table, name: str) -> int:
    """The id of a record that was just saved."""
    async with database.read() as connection:
        row = await find_named(connection, table, name)
    if row is None:
        raise NotFound("record", name)
    return int(row["id"])


async def _entry(
    database: Database, table: Table, noun: str, edited: Edited | None, name: str, fields: Mapping[str, Any]
) -> Entry:
    name = read_name("name", name)
    old = None
    if edited is not None:
        async with database.read() as connection:
            found = await connection.execute(select(table.c.name).where(table.c.id == edited.id))
            old = found.scalar_one_or_none()
        if old is None:
            raise NotFound(noun, edited.id)
    was = old if old and fold(old) != fold(name) else None
    return Entry(f"{noun} {name!r}", name, was, dict(fields))


async def _apply(
    database: Database,
    table: Table,
    noun: str,
    edited: Edited | None,
    entry: Entry,
    author: str,
    now: datetime,
    dry_run: bool,
) -> Difference:
    async def check(connection: AsyncConnection) -> None:
        other = await find_named(connection, table, entry.name)
        if other is not None and (edited is None or other["id"] != edited.id):
            raise InvalidInput("name", entry.name, f"a {noun} of this name exists already")
        if edited is not None:
            now_there = select(table.c.version).where(table.c.id == edited.id)
            if (await connection.execute(now_there)).scalar_one_or_none() != edited.version:
                raise Outdated("somebody else changed this meanwhile; load it anew, then make your change again")

    setup = Setup(queries=(entry,)) if noun == "query" else Setup(letters=(entry,))
    return await apply_setup(database, setup, author=author, now=now, dry_run=dry_run, check=check)
