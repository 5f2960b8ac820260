"""Applications as lists: found by name, address or external id."""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import application_statuses, applications

_A = applications.c
#: Names and addresses have no index: they are looked for among so many of the newest applications.
SEARCHED = 100_000


async def application_rows(connection: AsyncConnection, asked: str) -> tuple[Select[Any], bool]:
    """The statement of the applications that a text finds; True: older ones were not searched."""
    statement = select(
        *(_A.id, _A.external_id, _A.kind, _A.salutation, _A.first_name, _A.last_name, _A.email, _A.vacancy),
        *(_A.received_on, _A.in_pool, _A.reduced_at, application_statuses.c.name.label("status")),
    ).outerjoin_from(applications, application_statuses, application_statuses.c.id == _A.status_id)
    found, older = await found_by(connection, asked)
    return statement.where(found), older


async def found_by(connection: AsyncConnection, asked: str) -> tuple[ColumnElement[bool], bool]:
    """What a text demands of an application, everything without one; True: older ones are not searched."""
    if not asked:
        return true(), False
    newest = (await connection.execute(select(func.max(_A.id)))).scalar_one() or 0
    since = newest - SEARCHED
    words = [word for word in asked.split() if word][:4]
    within = [
        or_(*(column.icontains(word, autoescape=True) for column in (_A.first_name, _A.last_name, _A.email)))
        for word in words
    ]
    return or_(_A.external_id == asked, (_A.id > since) & and_(*within)), since > 0


async def estimated_count(connection: AsyncConnection) -> int | None:
    """How many applications PostgreSQL believes to have, where it has looked; else None."""
    if connection.dialect.name != "postgresql":
        return None
    statement = text("SELECT reltuples::bigint FROM pg_class WHERE oid = 'applications'::regclass")
    count = int((await connection.execute(statement)).scalar_one())
    return count if count >= 0 else None
