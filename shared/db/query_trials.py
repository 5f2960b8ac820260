"""A query tried out while it is being written: how many, the first people, and whom a name means (D22).

Nothing here ranks or sorts all matches: the work is bounded by what is shown.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.queries import QueryDay, StoredQuery
from shared.db.recipients import ListScope, recipients
from shared.db.tables import application_statuses, applications

_A = applications.c
#: People shown, matches counted, persons offered for a name.
SHOWN, COUNTED, OFFERED = 20, 10_000, 8


@dataclass(frozen=True, slots=True)
class Trial:
    """The answer of a query: applications that match, people who would get a letter, the first of them."""

    applications: int
    people: int
    #: There are more than were counted.
    more: bool
    first: list[dict[str, Any]]


async def try_query(connection: AsyncConnection, query: StoredQuery, on: QueryDay) -> Trial:
    """Count and first twenty people of a query that need not be stored."""
    matching = recipients(query, on, ListScope())
    # Fetched once and counted here: a second statement would search everything again.
    some = (await connection.execute(_plain(matching).limit(COUNTED + 1))).all()
    persons = list(dict.fromkeys(row.person_id for row in some))
    first = await _first(connection, matching, persons[:SHOWN])
    return Trial(min(len(some), COUNTED), min(len(persons), COUNTED), len(some) > COUNTED, first)


def _plain(matching: Select[Any]) -> Select[Any]:
    """The matches without their rank: so that the first ones end the search."""
    return matching.with_only_columns(_A.id, _A.person_id)


async def _first(connection: AsyncConnection, matching: Select[Any], person_ids: list[int]) -> list[dict[str, Any]]:
    if not person_ids:
        return []
    ranked = matching.where(_A.person_id.in_(person_ids)).subquery()
    statement = (
        _people()
        .add_columns(ranked.c.last_contact_at)
        .join(ranked, ranked.c.application_id == _A.id)
        .where(ranked.c.rank == 1)
    )
    rows = (await connection.execute(statement.order_by(_A.last_name, _A.first_name, _A.id))).mappings()
    return [{str(key): value for key, value in row.items()} for row in rows]


def _people() -> Select[Any]:
    columns = (_A.id, _A.external_id, _A.first_name, _A.last_name, _A.usable_email, _A.vacancy, _A.birth_date)
    status = application_statuses.c.name.label("status")
    return select(*columns, status).outerjoin_from(
        applications, application_statuses, application_statuses.c.id == _A.status_id
    )


async def find_people(connection: AsyncConnection, text: str) -> list[dict[str, Any]]:
    """Applications of that external id; else those whose names begin with every word of the text."""
    exact = await _rows(connection, _A.external_id == text)
    words = text.replace(",", " ").split()
    return exact or (await _rows(connection, and_(*(_named(word) for word in words))) if words else [])


def _named(word: str) -> ColumnElement[bool]:
    # SQLite's lower() knows ASCII only: hence the word as it was typed, too, with a capital letter.
    typed = word[:1].upper() + word[1:]
    names = (_A.last_name, _A.first_name)
    ways = [
        (func.lower(name).startswith(word.lower(), autoescape=True), name.startswith(typed, autoescape=True))
        for name in names
    ]
    return or_(*(one for pair in ways for one in pair))


async def _rows(connection: AsyncConnection, which: ColumnElement[bool]) -> list[dict[str, Any]]:
    rows = (await connection.execute(_people().where(which).limit(OFFERED))).mappings()
    return [{str(key): value for key, value in row.items()} for row in rows]


async def names_of(connection: AsyncConnection, external_ids: list[str]) -> dict[str, str]:
    """First and last name by external id; the id where there is no name."""
    if not external_ids:
        return {}
    statement = select(_A.external_id, _A.first_name, _A.last_name).where(_A.external_id.in_(external_ids))
    rows = (await connection.execute(statement)).all()
    return {row.external_id: _name(row) for row in rows}


def _name(row: Any) -> str:
    return " ".join(part for part in (row.first_name, row.last_name) if part) or str(row.external_id)
