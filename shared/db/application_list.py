"""Applications as lists: found by name, address or external id."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, true, union
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of
from shared.db.table_parts import BEGINNING, beginning_of
from shared.db.tables import application_statuses, applications

_A = applications.c
_NAMED = (_A.last_name, _A.first_name, _A.email)
#: Beginnings have an index; any part of a name or address is looked for among so many of the newest applications.
SEARCHED = 20_000
#: So many that a text finds are named by their ids; where there are more, they are met soon wherever one looks.
FEW = 20_000
#: Words of a search; more are not looked at.
_WORDS = 4
#: Follows every text that begins in the same way.
_LAST = "\U0010ffff"
_SHOWN = (
    *(_A.id, _A.external_id, _A.kind, _A.salutation, _A.first_name, _A.last_name, _A.email, _A.vacancy),
    *(_A.received_on, _A.in_pool, _A.reduced_at, application_statuses.c.name.label("status")),
)


@dataclass(frozen=True, slots=True)
class Found:
    """The applications that a text finds."""

    #: Of the table of applications alone.
    condition: ColumnElement[bool]
    #: Highest first. None: more than a few; the condition says which.
    ids: list[int] | None
    #: Older applications were not searched for parts.
    older: bool


#: Applications whose letters come back.
RETURNED = _A.returned_at.is_not(None)


def application_rows(
    found: Found | None = None, before: int | None = None, most: int = FEW, *, returned: bool = False
) -> Select[Any]:
    """The statement of what was found, or of all, to be ordered by id; at least the `most` highest below `before`.

    `returned`: of these only those whose letters come back.
    """
    status = application_statuses.c.id == _A.status_id
    statement = select(*_SHOWN).outerjoin_from(applications, application_statuses, status)
    if returned:
        statement, most = statement.where(RETURNED), FEW
    if found is None:
        return statement
    if found.ids is None:
        return statement.where(found.condition)
    below = found.ids if before is None else [one for one in found.ids if one < before]
    return statement.where(any_of(_A.id, below[:most]))


async def search_applications(connection: AsyncConnection, asked: str) -> Found:
    """Those with that external id, those whose names or address begin with every word, and parts among the newest."""
    words = asked.split()[:_WORDS]
    newest = (await connection.execute(select(func.max(_A.id)))).scalar_one() or 0
    since = newest - SEARCHED
    by_index = ("~>=~", "~<~") if connection.dialect.name == "postgresql" else (">=", "<")
    ways = (
        _A.external_id == asked,
        and_(true(), *(_begins(word, *by_index) for word in words)),
        and_(_A.id > since, *(_has(word) for word in words)),
    )
    # Way by way, for each has an index of its own; without an order, for which a planner would walk through everybody.
    some = union(*(select(select(_A.id).where(way).limit(FEW + 1).subquery().c.id) for way in ways))
    ids = sorted((await connection.execute(some)).scalars(), reverse=True)
    if len(ids) > FEW:
        return Found(or_(*ways), None, since > 0)
    return Found(any_of(_A.id, ids), ids, since > 0)


def _begins(word: str, from_: str, below: str) -> ColumnElement[bool]:
    """A name or the address begins with the word, as a range of an index."""
    texts = [func.lower(beginning_of(one)) for one in _NAMED]
    return or_(
        *(
            and_(text.op(from_, is_comparison=True)(start), text.op(below, is_comparison=True)(start + _LAST))
            for text in texts
            for start in _spellings(word[:BEGINNING])
        )
    )


def _has(word: str) -> ColumnElement[bool]:
    """Names and address have the word in them: one text to look through is half the work of three."""
    first, *others = (func.coalesce(one, "") for one in _NAMED)
    whole: ColumnElement[str] = first
    for one in others:
        whole = whole + " " + one
    return or_(*(func.lower(whole).contains(spelling, autoescape=True) for spelling in _spellings(word)))


def _spellings(word: str) -> list[str]:
    """What lower() makes of a name: one that knows ASCII only leaves an umlaut at its beginning as it is."""
    named = word[:1].upper() + word[1:].lower()
    return list(dict.fromkeys((word.lower(), "".join(one.lower() if one.isascii() else one for one in named))))
