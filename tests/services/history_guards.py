"""The triggers that keep the history as it is, taken away by who may: the owner of the tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import metadata


@asynccontextmanager
async def unguarded(connection: AsyncConnection) -> AsyncIterator[None]:
    """Within the block the history can be changed; afterwards the triggers stand again."""
    away, back = await _switches(connection)
    for statement in away:
        await connection.exec_driver_sql(statement)
    yield
    for statement in back:
        await connection.exec_driver_sql(statement)


async def delete_everything(connection: AsyncConnection) -> None:
    """Every row of every table, for the next example."""
    async with unguarded(connection):
        for table in reversed(metadata.sorted_tables):
            await connection.execute(table.delete())


async def _switches(connection: AsyncConnection) -> tuple[list[str], list[str]]:
    """What takes the triggers away, and what brings them back."""
    if connection.dialect.name == "postgresql":
        names, switch = ("events", "event_seals"), "ALTER TABLE {} {} TRIGGER USER"
        return [switch.format(n, "DISABLE") for n in names], [switch.format(n, "ENABLE") for n in names]
    found = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('events', 'event_seals')"
    made = (await connection.exec_driver_sql(found)).all()
    return [f"DROP TRIGGER {row.name}" for row in made], [row.sql for row in made]
