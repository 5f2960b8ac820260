"""One statement for many rows of values: arrays on PostgreSQL, the driver's executemany on SQLite.

The driver's executemany sends a statement per row to PostgreSQL, which costs both sides more than the work itself. An
array per column leaves the statement's text the same for any number of rows, so that it is compiled and planned once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, String, Text, bindparam, column, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import Executable


class RowSet:
    """Columns by name, each of the type of a table's column, to be used in one UPDATE or INSERT ... SELECT.

    An UPDATE must meet each of its rows with one row of values at most: with several, PostgreSQL takes any of them.
    """

    def __init__(self, connection: AsyncConnection, **like: Column[Any]) -> None:
        self._connection = connection
        self._as_arrays = connection.dialect.name == "postgresql"
        self._columns: dict[str, ColumnElement[Any]]
        if self._as_arrays:
            # An array has no collation of its own.
            types = {name: Text() if isinstance(one.type, String) else one.type for name, one in like.items()}
            arrays = [bindparam(f"_{name}", type_=ARRAY(type_)) for name, type_ in types.items()]
            named = [column(name, type_) for name, type_ in types.items()]
            given = func.unnest(*arrays).table_valued(*named).render_derived(name="given")
            self._columns = {name: given.c[name] for name in types}
        else:
            self._columns = {name: bindparam(f"_{name}", type_=one.type) for name, one in like.items()}

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        return self._columns[name]

    async def execute(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Executes the statement with these rows, of which each has every column; nothing if there are none."""
        if rows and self._as_arrays:
            arrays = {f"_{name}": [row[name] for row in rows] for name in rows[0]}
            await self._connection.execute(statement, arrays)
        elif rows:
            await self._connection.execute(statement, [{f"_{name}": row[name] for name in row} for row in rows])
