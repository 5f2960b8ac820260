"""What a job would do, as a short text: whoever confirms something says with it what they have looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import application_queries, contact_jobs, form_letters
from shared.errors import Outdated

_J, _Q, _L = contact_jobs.c, application_queries.c, form_letters.c
#: What a basis is made of.
BASIS = (
    *(_J.epoch, _J.query_id, _J.letter_id),
    *(_Q.version.label("query_version"), _L.version.label("letter_version")),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a person was shown before they confirmed: the job's basis, and how many letters."""

    basis: str
    count: int


async def basis_of(connection: AsyncConnection, job_id: int) -> str:
    """Another text as soon as the job, its query or its letter is changed."""
    statement = (
        select(*BASIS)
        .select_from(contact_jobs)
        .join(application_queries, _Q.id == _J.query_id)
        .join(form_letters, _L.id == _J.letter_id)
        .where(_J.id == job_id)
    )
    row = (await connection.execute(statement)).mappings().first()
    return basis_in(row) if row is not None else ""


def basis_in(row: Mapping[Any, Any]) -> str:
    """The basis, of a row that has the columns of BASIS."""
    return ".".join(str(row[column.name]) for column in BASIS)


async def refuse_other_basis(connection: AsyncConnection, job_id: int, basis: str) -> None:
    """Raises Outdated if the job would do something else than what was shown. The caller holds the job's lineage."""
    if await basis_of(connection, job_id) != basis:
        raise Outdated("it has changed since it was shown; look at it again")
