"""Column types that mean the same on PostgreSQL and SQLite, and the database's own clock for leases."""

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Dialect,
    Double,
    Integer,
    Text,
    TypeDecorator,
    literal,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """A point in time, aware, UTC: timestamptz on PostgreSQL, microseconds since 1970 on SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(DateTime(timezone=True) if dialect.name == "postgresql" else BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return value.astimezone(UTC)  # type: ignore[no-any-return]
        return _EPOCH + timedelta(microseconds=value)


#: Text ordered and compared by code point on both databases (D23's last tie-break is "greatest as text").
PlainText = Text().with_variant(Text(collation="C"), "postgresql")
Identifier = BigInteger().with_variant(Integer, "sqlite")
Json = JSON().with_variant(JSONB, "postgresql")


class IdList(TypeDecorator[Collection[int]]):
    """Ids as one parameter: an array on PostgreSQL, JSON text on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(ARRAY(BigInteger) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Collection[int] | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return list(value) if dialect.name == "postgresql" else json.dumps(list(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Collection[int] | None:
        if value is None:
            return None
        return list(value) if dialect.name == "postgresql" else list(json.loads(value))


class NameList(IdList):
    """Names as one parameter, likewise."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == "postgresql" else Text())


class _AnyOf(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> Self:
        """A condition as it stands: with `= 1` behind it SQLite would look at every row, whatever the index."""
        return self


def any_of(column: ColumnElement[Any], ids: Collection[int] | ColumnElement[Any]) -> ColumnElement[bool]:
    """`column IN ids` whose text does not change with the number of ids: statements stay prepared and compiled.

    `ids`: given now, or a bindparam of type IdList or NameList.
    """
    return _AnyOf(column, ids if isinstance(ids, ColumnElement) else literal(ids, IdList()))


@compiles(_AnyOf, "postgresql")
def _any_on_postgresql(element: _AnyOf, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = element.clauses
    return f"{compiler.process(column, **options)} = ANY ({compiler.process(ids, **options)})"


@compiles(_AnyOf, "sqlite")
def _any_on_sqlite(element: _AnyOf, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = element.clauses
    return f"{compiler.process(column, **options)} IN (SELECT value FROM json_each({compiler.process(ids, **options)}))"


class unindexed(FunctionElement[int]):
    """A column of ids by whose index SQLite is not to search: it has no statistics, and takes each index for a handful.

    PostgreSQL knows how many rows have the same value, and gets the column as it is.
    """

    type = BigInteger()
    inherit_cache = True


@compiles(unindexed, "postgresql")
def _bare_on_postgresql(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(unindexed, "sqlite")
def _signed_on_sqlite(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


class lease_clock(FunctionElement[datetime]):
    """The database's own clock plus `seconds`: leases must not depend on a mailer's clock (I21)."""

    type = Instant()
    inherit_cache = True

    def __init__(self, seconds: float | ColumnElement[Any] = 0.0) -> None:
        super().__init__(seconds if isinstance(seconds, ColumnElement) else literal(float(seconds), Double))


@compiles(lease_clock, "postgresql")
def _on_postgresql(element: lease_clock, compiler: SQLCompiler, **options: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)}))"


@compiles(lease_clock, "sqlite")
def _on_sqlite(element: lease_clock, compiler: SQLCompiler, **options: Any) -> str:
    seconds = f"CAST({compiler.process(element.clauses, **options)} * 1000000.0 AS INTEGER)"
    return f"(CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) + {seconds})"
