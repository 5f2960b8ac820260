"""Statements of the sending path: built and compiled once, and for many rows of values at a time.

Building, caching and processing a statement costs SQLAlchemy more than the driver takes to execute it. What these
statements say is written in SQLAlchemy as everywhere; on PostgreSQL the driver gets their text. Rows go there as one
JSON text: an array per column costs the driver three times as much, a statement per row both sides far more.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from sqlalchemy import Column, ColumnElement, Dialect, String, Text, and_, bindparam, cast, column, func, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import IdList, any_of
from shared.db.pipeline import Pipeline, Sent, Statement

_ROWS, _IDS = "rows_", "ids_"
#: Where a pooled connection keeps its pipeline.
_PIPELINE = "pipeline"
_NUMBERED: Dialect = psycopg_dialect.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
#: The rows of a statement whose block has ended.
Answer = Callable[[], Sequence[Any]]


class Rows:
    """The rows that a statement is given, as its text sees them: columns by name, and the dialect's INSERT."""

    def __init__(self, columns: Mapping[str, ColumnElement[Any]], dialect: Any) -> None:
        self._columns = columns
        #: Knows ON CONFLICT.
        self.insert = dialect.insert
        self._by_list = dialect is postgresql

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        return self._columns[name]

    def meet(self, target: ColumnElement[int]) -> ColumnElement[bool]:
        """The condition of an UPDATE that takes each row's first column as the id of a record."""
        same = target == next(iter(self._columns.values()))
        # Named as a list too: PostgreSQL guesses 100 rows whatever comes, and reads the whole of a table for these.
        return and_(any_of(target, bindparam(_IDS, type_=IdList())), same) if self._by_list else same


class Prepared:
    """A statement with bindparams, each of which is given at every execution.

    Values go to the driver as they are: ids and names as a list, instants with their zone. `build` is called once for a
    dialect.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._statements: dict[str, Any] = {}
        self._compiled: Statement | None = None
        self._fixed: dict[str, Any] = {}
        self._asked: set[str] = set()

    async def execute(self, connection: AsyncConnection, **values: Any) -> None:
        """Executes it with these values; its rows, if it has any, are not wanted."""
        if connection.dialect.name == "postgresql":
            await self._on_driver(connection, values)
        else:
            await connection.execute(self._statement("sqlite"), values)

    async def fetch(self, connection: AsyncConnection, **values: Any) -> Sequence[Any]:
        """The same, and its rows, with columns by name, as the driver makes them: instants in any zone."""
        if connection.dialect.name == "postgresql":
            sent = await self._on_driver(connection, values)
            async with _given_up_if_cancelled(connection):
                return await _pipeline(connection).read(sent)
        return (await connection.execute(self._statement("sqlite"), values)).all()

    async def ask(self, connection: AsyncConnection, **values: Any) -> Answer:
        """The same, for whoever reads the rows after the block of `together` and does not wait within it."""
        if connection.dialect.name == "postgresql":
            return (await self._on_driver(connection, values)).rows
        found = (await connection.execute(self._statement("sqlite"), values)).all()
        return lambda: found

    async def _on_driver(self, connection: AsyncConnection, values: Mapping[str, Any]) -> Sent:
        statement = self._compiled or self._compile()
        if missing := self._asked - values.keys():
            raise TypeError(f"no value for {', '.join(sorted(missing))}")
        given = {name: _array(value) if _are_ids(value) else value for name, value in values.items()}
        pipeline = _pipeline(connection)
        if pipeline.is_open:
            return pipeline.send(statement, {**self._fixed, **given})
        async with _given_up_if_cancelled(connection), pipeline.opened(transaction=False):
            return pipeline.send(statement, {**self._fixed, **given})

    def _statement(self, dialect: str) -> Any:
        if dialect not in self._statements:
            self._statements[dialect] = self._build()
        return self._statements[dialect]

    def _compile(self) -> Statement:
        compiled: Any = self._statement("postgresql").compile(dialect=_NUMBERED)
        self._asked = {name for name, parameter in compiled.binds.items() if parameter.required}
        # With the values of every list that the statement itself has: there is a parameter for each.
        expanded = compiled.construct_expanded_state(dict.fromkeys(self._asked))
        self._fixed = {name: value for name, value in expanded.parameters.items() if name not in self._asked}
        self._compiled = Statement(expanded.statement, expanded.positiontup or ())
        return self._compiled


_PLAN_ONCE = Prepared(
    lambda: select(
        func.set_config("plan_cache_mode", "force_generic_plan", true()),
        func.set_config("enable_seqscan", "off", true()),
        func.set_config("jit", "off", true()),
    )
)


async def plan_once(connection: AsyncConnection) -> None:
    """Until the transaction ends, statements here are planned once and not for each execution.

    For transactions whose statements name their rows by id, a few at a time: planning takes them longer than executing.
    The plan of a day on which a table was empty must do for a full one too, so it is one by indexes. Where there is no
    index, its cost looks enormous, and compiling to machine code would seem to pay (JIT).
    """
    if connection.dialect.name == "postgresql" and not _pipeline(connection).commits_each:
        await _PLAN_ONCE.execute(connection)


@asynccontextmanager
async def together(connection: AsyncConnection) -> AsyncIterator[None]:
    """Statements in this block go to PostgreSQL without waiting for each other's answers; `fetch` waits for all so far.

    Each still sees what the ones before it did, and what others had committed when its turn came. No others than those
    of this module may be executed in it. On a connection from `Database.begin(at_once=True)` the block is the
    transaction: BEGIN and COMMIT go with it.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    async with _given_up_if_cancelled(connection), _pipeline(connection).opened(transaction=True):
        yield


class _given_up_if_cancelled:
    """A cancelled statement costs its connection: the driver closes one that hangs, and SQLAlchemy does not know.

    Its ROLLBACK would fail then, and that failure would take the place of the cancellation.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            await self._connection.invalidate()


def _pipeline(connection: AsyncConnection) -> Pipeline:
    """The driver's own connection, in SQLAlchemy's transaction: its errors are ours to translate (`Database`)."""
    assert connection.sync_connection is not None  # noqa: S101 - it has begun
    pooled = connection.sync_connection.connection
    pipeline: Pipeline | None = pooled.info.get(_PIPELINE)
    if pipeline is None:
        driver: Any = pooled.driver_connection
        pipeline = pooled.info[_PIPELINE] = Pipeline(driver)
    return pipeline


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and not (value and isinstance(value[0], str))


def _array(ids: list[int]) -> str:
    # As text: the driver looks at each element several times.
    return f"{{{','.join(map(str, ids))}}}"


class PreparedForRows:
    """A statement for rows of values: an UPDATE or INSERT ... SELECT that uses their columns.

    `like`: for each column of a row the table's column whose type it has, the id first. An UPDATE must meet each of its
    rows with one row of values at most: with several, PostgreSQL takes any of them.
    """

    def __init__(self, build: Callable[[Rows], Any], **like: Column[Any]) -> None:
        self._like = like
        self._id = next(iter(like))
        self._on_postgresql = Prepared(lambda: build(self._from_json()))
        self._build = build
        self._on_sqlite: Any = None

    async def execute(self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], **values: Any) -> None:
        """Executes it with these rows, of which each has every column; nothing if there are none."""
        if not rows:
            return
        if rows[0].keys() != self._like.keys():
            raise TypeError(f"rows must have {', '.join(self._like)}; the first has {', '.join(rows[0])}")
        if connection.dialect.name == "postgresql":
            values[_ROWS] = orjson.dumps(rows).decode()
            values[_IDS] = [row[self._id] for row in rows]
            await self._on_postgresql.execute(connection, **values)
            return
        if self._on_sqlite is None:
            columns = {name: bindparam(f"_{name}", type_=one.type) for name, one in self._like.items()}
            self._on_sqlite = self._build(Rows(columns, sqlite))
        named = [{**{f"_{name}": value for name, value in row.items()}, **values} for row in rows]
        await connection.execute(self._on_sqlite, named)

    def _from_json(self) -> Rows:
        # A column definition has no collation of its own.
        types = {name: Text() if isinstance(one.type, String) else one.type for name, one in self._like.items()}
        rows = func.json_to_recordset(cast(bindparam(_ROWS, type_=Text()), postgresql.JSON))
        table = rows.table_valued(*(column(name, type_) for name, type_ in types.items()), name="given")
        derived = table.render_derived(name="given", with_types=True)
        return Rows({name: derived.c[name] for name in types}, postgresql)
