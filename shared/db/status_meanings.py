"""What a job does because of the meta statuses: whom its query finds, what its letter and its consent set (D41, S23).

Another meta status of a status changes that, though no word of job, query and letter has changed.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import (
    application_queries,
    application_statuses,
    contact_jobs,
    form_letter_versions,
    form_letters,
)

_J, _S, _L, _V = contact_jobs.c, application_statuses.c, form_letters.c, form_letter_versions.c


async def statuses_that_decide(connection: AsyncConnection, job_id: int) -> list[tuple[int, str]]:
    """Id and meta status of each status whose meta status counts for the job, by id."""
    job = (await connection.execute(_jobs().where(_J.id == job_id))).mappings().one()
    which = or_(_S.id.in_(_set_by(job)), _S.meta.in_(_metas_of(job)))
    rows = await connection.execute(select(_S.id, _S.meta).where(which).order_by(_S.id))
    return [(row.id, row.meta) for row in rows]


async def jobs_decided_by(connection: AsyncConnection, status_id: int, metas: Collection[str]) -> list[int]:
    """The jobs that do something else once this status has the one of the two meta statuses instead of the other."""
    jobs = (await connection.execute(_jobs().order_by(_J.id))).mappings()
    return [job["id"] for job in jobs if status_id in _set_by(job) or _metas_of(job) & set(metas)]


def _jobs() -> Select[Any]:
    return (
        select(_J.id, _J.consent_answer_days, _J.consent_status_id, application_queries.c.filters, _V.sets_status_id)
        .join(application_queries, application_queries.c.id == _J.query_id)
        .join(form_letters, _L.id == _J.letter_id)
        .join(form_letter_versions, and_(_V.letter_id == _L.id, _V.version == _L.version))
    )


def _set_by(job: Mapping[Any, Any]) -> set[int]:
    return {one for one in (job["sets_status_id"], job["consent_status_id"]) if one is not None}


def _metas_of(job: Mapping[Any, Any]) -> set[str]:
    """The meta statuses that the query names; nobody who was hired is rejected for want of an answer."""
    named = [one.get("in") or one.get("not_in") or () for one in job["filters"] if one["field"] == "meta_status"]
    return {meta for metas in named for meta in metas} | ({"hired"} if job["consent_answer_days"] else set())
