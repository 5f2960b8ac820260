"""A private copy of what queries and rules look at: temporary tables that hide the live ones of the same names.

On both databases a temporary table comes first in the search for an unqualified name. So the evaluator's own statements
meet the copy, on the one connection that has it, and take no lock on a live row. It ends with the connection.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.tables import (
    FOLDED,
    applications,
    blocks,
    contact_jobs,
    custom_fields,
    persons,
    write_orders,
)

#: Table -> the columns that queries, rules and effects of letters read or write (no names, no contents), and indexes.
_COPIED: Sequence[tuple[Table, tuple[str, ...], tuple[str, ...]]] = (
    (
        persons,
        ("id", "last_contact_at", "opted_out_at", "no_birthday_since", "yearly_since"),
        ("id",),
    ),
    (
        applications,
        (
            *("id", "external_id", "person_id", "kind", "birth_month_day", "email", "usable_email", "status_id"),
            *("received_on", "in_pool", "pool_since", "last_contact_at", "last_outgoing_at", "reduced_at"),
            *("rejected_by_letter_at", *(f"{name}_folded" for name in FOLDED)),
        ),
        ("id", "person_id", "birth_month_day"),
    ),
    (custom_fields, ("application_id", "name_folded", "value_folded"), ("application_id",)),
    (blocks, ("id", "person_id", "lineage_id", "scope", "until", "reason", "author", "lifted_at"), ("person_id",)),
    (contact_jobs, tuple(contact_jobs.c.keys()), ("id",)),
    (
        write_orders,
        (
            *("id", "type", "run_id", "job_id", "job_name", "lineage_id", "person_id", "application_id", "letter_id"),
            *("occasion_day", "state", "withdrawn_by", "attempts", "block_id", "time_zone", "planned_for"),
            *("created_at", "email"),
        ),
        ("application_id", "run_id", "lineage_id, person_id"),
    ),
)


@asynccontextmanager
async def private_copy(database: Database) -> AsyncIterator[AsyncConnection]:
    """A connection of its own on which the tables above are a copy, all of one moment. Raises Unavailable."""
    own = Database(database.url.render_as_string(hide_password=False), pool_size=1)
    try:
        async with own.read() as connection:
            if own.dialect == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            for table, columns, _ in _COPIED:
                copy = f"CREATE TEMPORARY TABLE {table.name} AS SELECT {', '.join(columns)} FROM {table.name}"
                await connection.execute(text(copy))
            # Ends the transaction that holds the snapshot: a long one would keep the live tables from being cleaned.
            await connection.commit()
            await _index(connection)
            await connection.commit()
            yield connection
    finally:
        await own.close()


async def _index(connection: AsyncConnection) -> None:
    on_sqlite = connection.dialect.name == "sqlite"
    for table, _, indexes in _COPIED:
        for number, columns in enumerate(indexes):
            name = f"{'temp.' if on_sqlite else ''}copied_{table.name}_{number}"
            await connection.execute(text(f"CREATE INDEX {name} ON {table.name} ({columns})"))
        await connection.execute(text(f"ANALYZE {table.name}" if not on_sqlite else f"ANALYZE temp.{table.name}"))
