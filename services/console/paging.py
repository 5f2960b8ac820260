"""Lists page by key, not by offset: the millionth row is as near as the first."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Select, Table, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.row_counts import estimated_count
from shared.errors import InvalidInput

#: Rows of a page.
PAGE = 50
#: Beyond so many rows a count says "more than".
COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Paged:
    """One page of rows; `next_key` asks for the page after it, empty on the last one."""

    rows: list[Any]
    next_key: str


async def page_of(
    connection: AsyncConnection, statement: Select[Any], keys: Sequence[Any], after: str, descending: bool = False
) -> Paged:
    """The rows after a key, in the order of `keys` (columns that no row leaves NULL; together unique).

    The statement must select the keys' columns under their own names. Raises InvalidInput for a key that is none.
    """
    if after:
        values = tuple_(*(_typed(key, value) for key, value in zip(keys, read_key(after, len(keys)), strict=True)))
        here = tuple_(*keys)
        statement = statement.where(here < values if descending else here > values)
    order = [key.desc() if descending else key.asc() for key in keys]
    rows = list((await connection.execute(statement.order_by(*order).limit(PAGE + 1))).mappings())
    more = len(rows) > PAGE
    rows = rows[:PAGE]
    return Paged(rows, write_key([rows[-1][key.name] for key in keys]) if more else "")


async def all_of(connection: AsyncConnection, ordered: Select[Any], most: int) -> Paged:
    """The whole list for paper, up to a bound; `next_key` is there when more would follow, and asks for nothing."""
    rows = list((await connection.execute(ordered.limit(most + 1))).mappings())
    return Paged(rows[:most], "more" if len(rows) > most else "")


def _typed(key: Any, value: Any) -> Any:
    python_type = key.type.python_type
    try:
        read = python_type.fromisoformat(value) if hasattr(python_type, "fromisoformat") else python_type(value)
    except (TypeError, ValueError):
        raise InvalidInput("page", value, "go back to the first page") from None
    return literal(read, key.type)


def write_key(values: Sequence[Any]) -> str:
    """The key of a row as a piece of an address."""
    plain = [value.isoformat() if hasattr(value, "isoformat") else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def read_key(text: str, length: int) -> list[Any]:
    """The values of a key; raises InvalidInput where it is none."""
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, UnicodeError):
        values = None
    if not isinstance(values, list) or len(values) != length or not all(isinstance(v, str | int) for v in values):
        raise InvalidInput("page", text, "go back to the first page")
    return values


def read_day(value: str | int) -> date:
    """The day in a key; raises InvalidInput where it is none."""
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise InvalidInput("page", value, "go back to the first page") from None


def read_id(text: str) -> int | None:
    """The id in a key of a list by id, None for its first page; raises InvalidInput where it is none."""
    if not text:
        return None
    (number,) = read_key(text, 1)
    if not isinstance(number, int):
        raise InvalidInput("page", text, "go back to the first page")
    return number


@dataclass(frozen=True, slots=True)
class Total:
    """How many rows a list has; `more`: more than these, `estimated`: about as many."""

    number: int
    more: bool = False
    estimated: bool = False

    @property
    def exact(self) -> bool:
        """Whether they were all counted."""
        return not (self.more or self.estimated)


async def total_of(
    connection: AsyncConnection, statement: Select[Any], whole: Table | None = None, most: int = COUNTED
) -> Total:
    """Rows counted up to `most`; of a `whole` table that is larger, what the database believes it to have."""
    # An estimate of a small or new table is none.
    if whole is not None and (estimate := await estimated_count(connection, whole) or 0) > most:
        return Total(estimate, estimated=True)
    return Total(*await bounded_count(connection, statement, most))


async def bounded_count(connection: AsyncConnection, statement: Select[Any], most: int = COUNTED) -> tuple[int, bool]:
    """How many rows, counted up to `most`; True: there are more."""
    some = statement.order_by(None).limit(most + 1).subquery()
    count = int((await connection.execute(select(func.count()).select_from(some))).scalar_one())
    return min(count, most), count > most
