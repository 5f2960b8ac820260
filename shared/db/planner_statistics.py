"""What PostgreSQL's planner knows of a table, renewed where much was added: autovacuum takes a minute or more."""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import text

from shared.db.engine import Database
from shared.db.tables import write_orders
from shared.errors import Conflict, Unavailable

#: Orders of one release from which on it is worth it: with fewer a wrong plan costs less than to look at the table.
MANY_ORDERS = 5000
#: Autovacuum ends its own work on a table a second after somebody waits for it; for a person's VACUUM nobody waits.
_PATIENCE = text("SET LOCAL lock_timeout = '5s'")


async def renew_statistics(database: Database, tables: Sequence[str]) -> None:
    """Looks at these tables, on PostgreSQL; not if they are locked for longer than some seconds, or by rights."""
    if database.dialect == "postgresql":
        with suppress(Conflict, Unavailable):  # what was committed is there all the same
            async with database.begin() as connection:
                await connection.execute(_PATIENCE)
                await connection.execute(text(f"ANALYZE {', '.join(tables)}"))


async def renew_after_release(database: Database, released: int) -> None:
    """Once a release of so many orders is committed: the first of a job, which the planner takes for a handful.

    The last look would read all orders of the job for each letter, seconds for each batch, and hold the job meanwhile:
    a switch to Aus would wait for it (D4).
    """
    if released >= MANY_ORDERS:
        await renew_statistics(database, [write_orders.name])
