"""Deleting queries and letters that nothing needs any more (D3)."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import Change, record_changes
from shared.db.letter_changes import load_content
from shared.db.tables import application_queries, contact_jobs, form_letters, write_orders
from shared.db.transactions import in_transaction
from shared.errors import NotFound, Refused


async def delete_query(database: Database, query_id: int, *, author: str, now: datetime) -> str:
    """Deletes a query that no job asks; returns its name. Raises NotFound, Refused."""

    async def remove(connection: AsyncConnection) -> str:
        row = await _found(connection, application_queries, "query", query_id)
        await _refuse_used(connection, contact_jobs.c.query_id == query_id, "job")
        changes: list[Change] = [("filters", row["filters"], None)]
        return await _remove(connection, application_queries, "query", row, changes, author, now)

    return await in_transaction(database, remove)


async def delete_letter(database: Database, letter_id: int, *, author: str, now: datetime) -> str:
    """Deletes a letter that no job sends and no order has ever needed; returns its name. Raises NotFound, Refused."""

    async def remove(connection: AsyncConnection) -> str:
        row = await _found(connection, form_letters, "letter", letter_id)
        await _refuse_used(connection, contact_jobs.c.letter_id == letter_id, "job")
        await _refuse_used(connection, write_orders.c.letter_id == letter_id, "order")
        content = await load_content(connection, letter_id, row["version"])
        changes: list[Change] = [(key, value, None) for key, value in content.items() if value is not None]
        return await _remove(connection, form_letters, "letter", row, changes, author, now)

    return await in_transaction(database, remove)


async def _found(connection: AsyncConnection, table: Table, noun: str, record_id: int) -> dict[str, Any]:
    statement = select(table).where(table.c.id == record_id).with_for_update()
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound(noun, record_id)
    return {str(key): value for key, value in row.items()}


async def _refuse_used(connection: AsyncConnection, uses: ColumnElement[bool], noun: str) -> None:
    table = {"job": contact_jobs, "order": write_orders}[noun]
    if (await connection.execute(select(table.c.id).where(uses).limit(1))).first() is not None:
        raise Refused(_USED[noun])


async def _remove(
    connection: AsyncConnection,
    table: Table,
    noun: str,
    row: dict[str, Any],
    changes: list[Change],
    author: str,
    now: datetime,
) -> str:
    await connection.execute(delete(table).where(table.c.id == row["id"]))
    await record_changes(connection, noun, row["id"], row["name"], "delete", changes, author=author, now=now)
    return str(row["name"])


_USED = {
    "job": "a job still uses it; give the job another one first",
    "order": "letters were written with it, and they stay as documentation",
}
