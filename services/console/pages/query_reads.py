"""What the pages of queries show."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.console.paging import Paged, all_of, page_of
from shared.db.history import load_history
from shared.db.impact import Impact
from shared.db.query_trials import names_of
from shared.db.tables import application_queries, application_statuses, contact_jobs
from shared.errors import NotFound

_Q, _J = application_queries.c, contact_jobs.c
#: Rows of a list that is printed whole.
PRINTED = 2000


def _list() -> Any:
    jobs = select(func.count()).where(_J.query_id == _Q.id).scalar_subquery().label("jobs")
    return select(_Q.id, _Q.name, _Q.name_folded, _Q.filters, jobs)


async def query_page(connection: AsyncConnection, after: str, whole: bool) -> Paged:
    """The queries by name; `whole`: as many as are printed."""
    if whole:
        return await all_of(connection, _list().order_by(_Q.name_folded), PRINTED)
    return await page_of(connection, _list(), [_Q.name_folded], after)


async def load_for_page(connection: AsyncConnection, query_id: int) -> dict[str, Any]:
    """One query with its jobs and history; raises NotFound."""
    row = (await connection.execute(select(application_queries).where(_Q.id == query_id))).mappings().first()
    if row is None:
        raise NotFound("query", query_id)
    jobs = await connection.execute(
        select(_J.id, _J.name, _J.status).where(_J.query_id == query_id).order_by(_J.name_folded)
    )
    found = {str(key): value for key, value in row.items()}
    return found | {"jobs": list(jobs.mappings()), "history": await load_history(connection, "query", query_id)}


async def status_names(connection: AsyncConnection) -> list[str]:
    """Every status by name."""
    s = application_statuses.c
    return list((await connection.execute(select(s.name).order_by(s.name_folded))).scalars())


async def named_impact(connection: AsyncConnection, impacts: list[Impact]) -> list[dict[str, Any]]:
    """What a change means, with the names of the examples."""
    ids = [one for impact in impacts for one in (*impact.added_samples, *impact.removed_samples)]
    names = await names_of(connection, ids)
    return [
        {
            "job": impact.job,
            "on": impact.on,
            "before": impact.before,
            "after": impact.after,
            "added": impact.added,
            "removed": impact.removed,
            "added_names": [names.get(one, one) for one in impact.added_samples],
            "removed_names": [names.get(one, one) for one in impact.removed_samples],
            "letters_changed": impact.letters_changed,
        }
        for impact in impacts
    ]
