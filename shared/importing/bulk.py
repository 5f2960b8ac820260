"""Many rows into a temporary table: by COPY on PostgreSQL, by executemany on SQLite. Plain statements do the rest."""

from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import ARRAY, ColumnElement, Table, any_, delete, insert, literal, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable

from shared.db.column_types import PlainText


async def load(connection: AsyncConnection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Fills a temporary table, made or emptied first, with rows in the order of its columns."""
    await connection.execute(CreateTable(table, if_not_exists=True))
    if connection.dialect.name != "postgresql":
        await connection.execute(delete(table))
        names = [column.name for column in table.columns]
        if rows:
            await connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])
        return
    # Not DELETE: nothing vacuums a temporary table, it would grow with every batch.
    await connection.execute(text(f"TRUNCATE {table.name}"))
    await _copy(connection, table, rows)
    await connection.execute(text(f"ANALYZE {table.name}"))


async def _copy(connection: AsyncConnection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    raw: Any = (await connection.get_raw_connection()).driver_connection
    statement = f"COPY {table.name} ({', '.join(column.name for column in table.columns)}) FROM STDIN"
    try:
        async with raw.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                await copy.write_row(row)
    except psycopg.Error as exc:
        # Past SQLAlchemy, so it is told in SQLAlchemy's words, which the engine translates.
        raise DBAPIError(statement, None, exc, connection_invalidated=raw.closed) from exc


def among(connection: AsyncConnection, column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Whether a text column is one of many values: one parameter on PostgreSQL, where thousands are slow to parse."""
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), ARRAY(PlainText)))
    return column.in_(values)


def upsert(connection: AsyncConnection, table: Table) -> Any:
    """An INSERT that may have ON CONFLICT."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)
