"""How many rows a large table has, without counting them."""

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def estimated_count(connection: AsyncConnection, table: Table) -> int | None:
    """How many rows PostgreSQL believes a table to have, where it has looked; else None."""
    if connection.dialect.name != "postgresql":
        return None
    statement = text("SELECT reltuples::bigint FROM pg_class WHERE oid = CAST(:name AS regclass)")
    count = int((await connection.execute(statement, {"name": table.name})).scalar_one())
    return count if count >= 0 else None
