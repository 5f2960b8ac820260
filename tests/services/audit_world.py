"""A history to tamper with: written and sealed the usual way, changed by somebody who may do everything."""

from typing import Any

from sqlalchemy import insert

from shared.db.engine import Database
from shared.db.history_check import HistoryCheck, check_history
from shared.db.history_seals import seal_history
from shared.db.tables import events
from tests.services.history_guards import delete_everything, unguarded
from tests.services.world import MORNING

EVENT = {"at": MORNING, "author": "anna", "action": "change", "noun": "job", "record_name": "Gruß", "field": "note"}


async def write(database: Database, *rows: dict[str, Any]) -> None:
    """Rows of the history, one after the other."""
    async with database.begin() as connection:
        for row in rows:
            await connection.execute(insert(events).values(EVENT | row))


async def seal(database: Database) -> int:
    """Seals what waits; how many rows."""
    done = 0
    async for so_far in seal_history(database, MORNING):
        done = so_far
    return done


async def fault(database: Database, **given: Any) -> str:
    """What the check finds, '' for nothing."""
    return (await checked(database, **given)).fault or ""


async def checked(database: Database, **given: Any) -> HistoryCheck:
    return await check_history(database, **given)


async def tamper(database: Database, *statements: str) -> None:
    """As the owner of the tables."""
    async with database.begin() as connection, unguarded(connection):
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def empty(database: Database) -> None:
    """Everything away, for the next example."""
    async with database.begin() as connection:
        await delete_everything(connection)
