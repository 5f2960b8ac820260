"""Column types that mean the same on PostgreSQL and SQLite, and the database's own clock for leases."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, ColumnElement, DateTime, Dialect, Integer, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

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


class lease_clock(ColumnElement[datetime]):
    """The database's own clock plus `seconds`: leases must not depend on a mailer's clock (I21)."""

    type = Instant()
    inherit_cache = False

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = float(seconds)


@compiles(lease_clock, "postgresql")
def _on_postgresql(element: lease_clock, compiler: SQLCompiler, **_: Any) -> str:
    return f"(clock_timestamp() + interval '{element.seconds} seconds')"


@compiles(lease_clock, "sqlite")
def _on_sqlite(element: lease_clock, compiler: SQLCompiler, **_: Any) -> str:
    micros = f"CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) + {int(element.seconds * 1_000_000)}"
    return f"({micros})"
