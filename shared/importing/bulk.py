"""Many rows into a temporary table: by COPY on PostgreSQL, by executemany on SQLite. Plain statements do the rest."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, delete, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def load(connection: AsyncConnection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Fills a temporary table, made or emptied first, with rows in the order of its columns."""
    await connection.run_sync(lambda sync: table.create(sync, checkfirst=False) if not _exists(sync, table) else None)
    await connection.execute(delete(table))
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        await _copy(connection, table, rows)
    else:
        names = [column.name for column in table.columns]
        await connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])


async def _copy(connection: AsyncConnection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    raw: Any = (await connection.get_raw_connection()).driver_connection
    names = ", ".join(column.name for column in table.columns)
    async with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for row in rows:
            await copy.write_row(row)
    await connection.execute(text(f"ANALYZE {table.name}"))


def _exists(connection: Any, table: Table) -> bool:
    catalogue = "pg_temp" if connection.dialect.name == "postgresql" else "temp"
    query = (
        f"SELECT to_regclass('{catalogue}.{table.name}') IS NOT NULL"
        if connection.dialect.name == "postgresql"
        else f"SELECT count(*) FROM sqlite_temp_master WHERE name = '{table.name}'"
    )
    return bool(connection.exec_driver_sql(query).scalar())
