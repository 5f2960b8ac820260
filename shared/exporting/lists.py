"""What can be exported: every list that people see, row by row with typed values."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.application_list import RETURNED, search_applications
from shared.db.job_list import list_job_rows
from shared.db.letter_data import load_custom_fields
from shared.db.letter_list import list_letters
from shared.db.order_list import OrderFilter, as_document, order_rows
from shared.db.tables import (
    application_queries,
    application_statuses,
    applications,
    contact_entries,
    custom_fields,
    dispatch_runs,
    events,
    persons,
    write_orders,
)
from shared.db.user_commands import list_users
from shared.domain.text import fold

Row = Mapping[str, Any]
#: Rows fetched at once, and made ready without a pause.
_ROWS = 500


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list: its columns, and its rows as they are read."""

    columns: Sequence[str]
    rows: AsyncIterator[Row]


Source = Callable[[AsyncConnection, datetime, ZoneInfo], Awaitable[ListSource]]
_APPLICATION = (
    *("external_id", "duplicate_set", "kind", "salutation", "title", "first_name", "last_name", "birth_date", "email"),
    *("phone", "street", "postal_code", "city", "country", "language", "vacancy", "department", "location", "source"),
    *("recruiter", "status", "received_on", "in_pool", "pool_since"),
)
_CONTACT = ("external_id", "application", "person", "at", "medium", "direction", "subject", "body", "user")
_RUN = (*("id", "job", "occasion_day", "state", "send_at", "released_at", "recipients", "released_orders", "reason"),)
_EVENT = ("at", "author", "action", "noun", "record_id", "record_name", "field", "old", "new", "reason")
_ORDER = (
    *("id", "type", "task", "job", "application", "person", "occasion_day", "state", "planned_for", "sent_at"),
    *("time_zone", "subject", "email", "reason", "attempts"),
)


def applications_of(asked: str, *, returned: bool = False) -> Source:
    """The applications that a text finds, as the list on the screen does; all of them without one.

    `returned`: of these only those whose letters come back.
    """

    async def source(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
        which = (await search_applications(connection, asked)).condition if asked else true()
        return await _applications(connection, and_(which, RETURNED) if returned else which)

    return source


async def _applications(connection: AsyncConnection, which: ColumnElement[bool]) -> ListSource:
    a = applications.c
    own = {"duplicate_set": persons.c.duplicate_set, "status": application_statuses.c.name.label("status")}
    source = applications.join(persons, persons.c.id == a.person_id).outerjoin(
        application_statuses, application_statuses.c.id == a.status_id
    )
    columns = [own[name] if name in own else a[name] for name in _APPLICATION]
    statement = select(a.id, *columns).select_from(source).where(which).order_by(a.external_id)
    # Names that differ in case only are one field; the first spelling stands for it.
    spelled = select(custom_fields.c.name_folded, custom_fields.c.name).distinct().order_by(custom_fields.c.name.desc())
    custom = {row.name_folded: f"custom.{row.name}" for row in await connection.execute(spelled)}

    async def rows() -> AsyncIterator[Row]:
        async for some in _parts(connection, statement):
            fields = await load_custom_fields(connection, [row["id"] for row in some]) if custom else {}
            for row in some:
                named = {custom[fold(name)]: v for name, v in fields.get(row["id"], {}).items()}
                yield {key: value for key, value in row.items() if key != "id"} | named

    return ListSource([*_APPLICATION, *sorted(custom.values())], rows())


async def _contacts(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
    c = contact_entries.c
    columns = (c.identity, applications.c.external_id.label("application"), persons.c.duplicate_set.label("person"))
    source = contact_entries.outerjoin(applications, applications.c.id == c.application_id).outerjoin(
        persons, persons.c.id == c.person_id
    )
    statement = select(*columns, c.at, c.medium, c.direction, c.subject, c.body, c.author.label("user"))
    statement = statement.select_from(source).order_by(c.id)

    async def rows() -> AsyncIterator[Row]:
        async for some in _parts(connection, statement):
            for row in some:
                own = row["identity"].removeprefix("id:") if row["identity"].startswith("id:") else None
                yield {"external_id": own} | {key: value for key, value in row.items() if key != "identity"}

    return ListSource(_CONTACT, rows())


def orders_of(which: OrderFilter, ids: Select[Any] | None = None, *, named: bool = False) -> Source:
    """The orders that a filter finds, and of these only those of `ids`; `named`: with the person's name."""

    async def source(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
        statement = await order_rows(connection, which)
        if ids is not None:
            statement = statement.where(write_orders.c.id.in_(ids))
        if named:
            statement = statement.add_columns(applications.c.first_name, applications.c.last_name)
        return _orders(connection, statement, named)

    return source


def _orders(connection: AsyncConnection, statement: Select[Any], named: bool) -> ListSource:
    async def rows() -> AsyncIterator[Row]:
        async for some in _parts(connection, statement):
            for row in some:
                found = as_document(row)
                zone = ZoneInfo(row["time_zone"])
                found["occasion_day"] = date.fromisoformat(found["occasion_day"])
                for name in ("planned_for", "sent_at"):
                    found[name] = datetime.fromisoformat(found[name]).astimezone(zone) if found[name] else None
                if named:
                    found["name"] = " ".join(filter(None, (row["first_name"], row["last_name"]))) or None
                yield found | {"time_zone": row["time_zone"]}

    return ListSource((_ORDER[0], "name", *_ORDER[1:]) if named else _ORDER, rows())


async def _runs(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
    r = dispatch_runs.c
    named = {"job": r.job_name.label("job")}
    columns = [named[name] if name in named else r[name] for name in _RUN]
    return ListSource(_RUN, _each(connection, select(*columns).order_by(r.occasion_day, r.id)))


async def _history(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
    e = events.c
    return ListSource(_EVENT, _each(connection, select(*(e[name] for name in _EVENT)).order_by(e.id)))


def history_of(noun: str, record_id: int | None = None) -> Source:
    """The changes of one kind of record, or of one record, newest last."""

    async def source(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
        e = events.c
        statement = select(*(e[name] for name in _EVENT)).where(e.noun == noun)
        if record_id is not None:
            statement = statement.where(e.record_id == record_id)
        return ListSource(_EVENT, _each(connection, statement.order_by(e.id)))

    return source


async def _queries(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
    q = application_queries.c
    statement = select(q.name, q.filters, q.version).order_by(q.name_folded)
    return ListSource(("name", "filters", "version"), _each(connection, statement))


async def _jobs(connection: AsyncConnection, now: datetime, _: ZoneInfo) -> ListSource:
    found = await list_job_rows(connection, now)
    for job in found:
        for name in ("next_dispatch", "last_run"):
            job[name] = datetime.fromisoformat(job[name]) if job[name] else None
    return _small(found, "name")


async def _letters(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
    return _small(await list_letters(connection), "name")


async def _users(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
    return _small(await list_users(connection), "name")


async def _statuses(connection: AsyncConnection, _: datetime, __: ZoneInfo) -> ListSource:
    s = application_statuses.c
    return ListSource(("name", "meta"), _each(connection, select(s.name, s.meta).order_by(s.name_folded)))


def _small(found: Sequence[Row], least: str) -> ListSource:
    return ListSource(tuple(found[0]) if found else (least,), _as_they_come(found))


async def _as_they_come(found: Iterable[Row]) -> AsyncIterator[Row]:
    for row in found:
        yield row


async def _each(connection: AsyncConnection, statement: Select[Any]) -> AsyncIterator[Row]:
    async for some in _parts(connection, statement):
        for row in some:
            yield row


async def _parts(connection: AsyncConnection, statement: Select[Any]) -> AsyncIterator[list[dict[str, Any]]]:
    """The rows in parts, through a cursor of the database: the list is never held whole."""
    async with connection.stream(statement, execution_options={"yield_per": _ROWS}) as result:
        async for part in result.mappings().partitions(_ROWS):
            yield [{str(key): value for key, value in row.items()} for row in part]


LISTS: dict[str, Source] = {
    "applications": applications_of(""),
    "contacts": _contacts,
    "jobs": _jobs,
    "orders": orders_of(OrderFilter()),
    "runs": _runs,
    "queries": _queries,
    "letters": _letters,
    "users": _users,
    "statuses": _statuses,
    "history": _history,
}
