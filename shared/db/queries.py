"""A stored query as SQL conditions: every filter of D21 with its exact meaning on a day (interfaces, section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, false, func, not_, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from shared.db.column_types import Identifier
from shared.db.prepared import Prepared
from shared.db.tables import application_queries, application_statuses, applications, custom_fields, persons
from shared.domain.filters import Filter, parse_filters
from shared.domain.schedule import birthday_ranges, birthdays_on, latest_start_of_full_months, start_of_day
from shared.domain.text import fold
from shared.errors import InvalidInput, NotFound

_A, _P, _Q, _S = applications.c, persons.c, application_queries.c, application_statuses.c
_BY_ID = Prepared(lambda: select(application_queries).where(_Q.id == bindparam("id", type_=Identifier)))
_STATUSES = Prepared(lambda: select(_S.id, _S.name_folded, _S.meta))


@dataclass(frozen=True, slots=True)
class QueryDay:
    """As of when a query is asked: the occasion day in a time zone, and how leap-day birthdays are read (D17)."""

    day: date
    zone: ZoneInfo
    leap_day_birthday: str = "march_1"


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query with its statuses resolved to ids, ready to become SQL."""

    id: int
    name: str
    version: int
    filters: tuple[Filter, ...]
    status_ids: Mapping[str, int] = field(hash=False)
    meta_ids: Mapping[str, Sequence[int]] = field(hash=False)

    @property
    def is_about_birthdays(self) -> bool:
        """Whether its letters are birthday letters: it finds people because their birthday is near."""
        return any(one.field == "birthday_in_days" and not one.negate for one in self.filters)


async def load_query(connection: AsyncConnection, name: str) -> StoredQuery:
    """The query of that name; raises NotFound with the nearest name, InvalidInput if it has become invalid."""
    table = application_queries
    row = (await connection.execute(select(table).where(table.c.name_folded == fold(name)))).first()
    if row is None:
        names = (await connection.execute(select(table.c.name))).scalars().all()
        raise NotFound("query", name, next(iter(get_close_matches(name, names, 1, cutoff=0.5)), None))
    return await _resolved(connection, row)


async def load_query_by_id(connection: AsyncConnection, query_id: int) -> StoredQuery:
    """The query of a job; raises InvalidInput if it has become invalid (D21)."""
    (row,) = await _BY_ID.fetch(connection, id=query_id)
    return await _resolved(connection, row)


async def resolve_filters(connection: AsyncConnection, name: str, filters: tuple[Filter, ...]) -> StoredQuery:
    """A query that is not stored (yet), to try it out."""
    ids, metas = await _statuses(connection)
    query = StoredQuery(0, name, 0, filters, ids, metas)
    _check_statuses(query)
    return query


async def _resolved(connection: AsyncConnection, row: Any) -> StoredQuery:
    filters = parse_filters(f"query {row.name!r}", row.filters)
    ids, metas = await _statuses(connection)
    query = StoredQuery(row.id, row.name, row.version, filters, ids, metas)
    _check_statuses(query)
    return query


async def _statuses(connection: AsyncConnection) -> tuple[dict[str, int], dict[str, list[int]]]:
    rows = await _STATUSES.fetch(connection)
    metas: dict[str, list[int]] = {}
    for row in rows:
        metas.setdefault(row.meta, []).append(row.id)
    return {row.name_folded: row.id for row in rows}, metas


def _check_statuses(query: StoredQuery) -> None:
    for number, one in enumerate(query.filters, 1):
        for name in one.arguments[0] if one.field == "status" else ():
            if fold(name) not in query.status_ids:
                near = next(iter(get_close_matches(fold(name), query.status_ids, 1, cutoff=0.5)), None)
                hint = f"; did you mean {near!r}?" if near else ""
                raise InvalidInput(f"query {query.name!r}, filter {number} (status)", name, f"no such status{hint}")


def conditions(query: StoredQuery, on: QueryDay) -> list[ColumnElement[bool]]:
    """One SQL condition per filter over `applications` joined to `persons`; NULL means false."""
    return [
        _inverted(_condition(query, one, on)) if one.negate else _condition(query, one, on) for one in query.filters
    ]


def _inverted(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    # An unknown value makes a filter false, and `negate` inverts that: so NULL must become false first.
    return not_(func.coalesce(condition, false()))


def _condition(query: StoredQuery, one: Filter, on: QueryDay) -> ColumnElement[bool]:
    if one.field.startswith("custom."):
        return _custom(one)
    build = _BY_FIELD.get(one.field)
    return build(one, on) if build else _listed(query, one)


def _listed(query: StoredQuery, one: Filter) -> ColumnElement[bool]:
    column: ColumnElement[Any]
    values: Sequence[Any]
    if one.field == "status":
        column, values = _A.status_id, [query.status_ids[fold(name)] for name in one.arguments[0]]
    elif one.field == "meta_status":
        column, values = _A.status_id, [i for meta in one.arguments[0] for i in query.meta_ids.get(meta, ())]
    elif one.field == "kind":
        column, values = _A.kind, one.arguments[0]
    else:
        column, values = _A[f"{one.field}_folded"], [fold(value) for value in one.arguments[0]]
    return column.in_(values) if one.operator == "in" else or_(column.is_(None), column.not_in(values))


def _has_email(one: Filter, _: QueryDay) -> ColumnElement[bool]:
    return _A.usable_email.is_not(None) if one.arguments[0] else _A.usable_email.is_(None)


def _in_pool(one: Filter, _: QueryDay) -> ColumnElement[bool]:
    return _A.in_pool == (true() if one.arguments[0] else false())


def _birthday(one: Filter, on: QueryDay) -> ColumnElement[bool]:
    first, last = one.arguments
    # Every birthday returns within eight years even if it is a 29 February around the year 1900 or 2100.
    span = range(first, min(last, first + 8 * 366) + 1)
    days = set[int]().union(*(birthdays_on(on.day + timedelta(days=n), on.leap_day_birthday) for n in span))
    born = _A.birth_month_day
    # Not the days one by one: half a year of them is a statement that takes longer to read than to answer.
    return or_(
        false(),
        *(born == first if first == last else born.between(first, last) for first, last in birthday_ranges(days)),
    )


def _last_contact(one: Filter, on: QueryDay) -> ColumnElement[bool]:
    own, shared = _A.last_contact_at, _P.last_contact_at
    never = and_(own.is_(None), shared.is_(None))
    if one.operator == "never":
        return never
    day = on.day - timedelta(days=one.arguments[0])
    bound = start_of_day(day, on.zone)
    if one.operator == "at_most":
        return or_(own >= bound, shared >= bound, and_(never, _A.received_on >= day))
    long_ago = and_(or_(own.is_(None), own < bound), or_(shared.is_(None), shared < bound))
    return and_(long_ago, or_(not_(never), _A.received_on < day))


def _dwell(one: Filter, on: QueryDay) -> ColumnElement[bool]:
    in_pool_since = and_(_A.in_pool == true(), _A.pool_since.is_not(None))
    start = case((in_pool_since, _A.pool_since), else_=_A.received_on)
    # More than n full months means at least n + 1 of them.
    bound = latest_start_of_full_months(on.day, one.arguments[0] + 1)
    return start <= bound if one.operator == "more_than" else start > bound


def _received(one: Filter, _: QueryDay) -> ColumnElement[bool]:
    bounds = dict(zip(one.operator.split("+"), one.arguments, strict=True))
    parts = [_A.received_on >= bounds["from"]] if "from" in bounds else []
    return and_(*parts, *([_A.received_on <= bounds["to"]] if "to" in bounds else []))


def _custom(one: Filter) -> ColumnElement[bool]:
    own, value = custom_fields.c, fold(one.arguments[0])
    test = own.value_folded == value if one.operator == "equals" else contains_text(own.value_folded, value) > 0
    name = fold(one.field.removeprefix("custom."))
    return exists().where(own.application_id == _A.id, own.name_folded == name, test)


_BY_FIELD = {
    "has_email": _has_email,
    "in_pool": _in_pool,
    "birthday_in_days": _birthday,
    "days_since_last_contact": _last_contact,
    "dwell_months": _dwell,
    "received_on": _received,
}


def last_contact_at() -> ColumnElement[Any]:
    """The later one of the application's own and the person's last contact (D20)."""
    own, shared = _A.last_contact_at, _P.last_contact_at
    return case((own.is_(None), shared), (or_(shared.is_(None), own >= shared), own), else_=shared)


class contains_text(FunctionElement[int]):
    """Position of a text in another, 0 if absent, by code points (LIKE folds ASCII on SQLite)."""

    inherit_cache = True


@compiles(contains_text, "postgresql")
def _strpos(element: contains_text, compiler: Any, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)})"


@compiles(contains_text, "sqlite")
def _instr(element: contains_text, compiler: Any, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)})"
