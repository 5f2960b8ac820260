"""Four eyes (S23): a second user looks before a job is An, or an unclear letter is sent again. Off by default.

A job without the approval it needs is Aus: whatever guards a job that is Aus guards this too (D4). An approval is bound
to a seal of job, query and letter; with another seal it has lapsed, and who made the change has asked for a new one.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.audit_tables import approvals
from shared.db.history import record_changes
from shared.db.system_settings import load_system_settings
from shared.db.tables import application_queries, contact_jobs, events, form_letter_versions, form_letters
from shared.domain.seals import seal_of
from shared.domain.text import fold
from shared.errors import Refused

_P, _J, _E = approvals.c, contact_jobs.c, events.c
#: What of a job may change without another look: what it is called, and what the scheduler keeps there.
_UNSEALED = {"name", "name_folded", "note", "status", "on_since", "off_since", "epoch", "next_occasion_day"}
_UNSEALED |= {"id", "lineage_id", "copied_from"}
SEALED = frozenset(column.name for column in _J) - _UNSEALED
#: What An says, and a change of a sealed field.
ASKED = "a second user has to approve: asked for"
LAPSED = "with this change the job is Aus until a second user approves it: asked for"
_CONFIGURES = ("create", "change", "copy")


async def four_eyes(connection: AsyncConnection) -> bool:
    """Whether the setting is on."""
    return (await load_system_settings(connection)).four_eyes


async def seal_of_job(connection: AsyncConnection, job_id: int) -> str:
    """Another text as soon as the job, its query or its letter would do something else."""
    v = form_letter_versions.c
    version = and_(v.letter_id == form_letters.c.id, v.version == form_letters.c.version)
    statement = (
        select(*(_J[name] for name in sorted(SEALED)), application_queries.c.filters, *v)
        .join(application_queries, application_queries.c.id == _J.query_id)
        .join(form_letters, form_letters.c.id == _J.letter_id)
        .join(form_letter_versions, version)
        .where(_J.id == job_id)
    )
    return seal_of(*(await connection.execute(statement)).one())


async def living_approval(connection: AsyncConnection, job_id: int) -> RowMapping | None:
    """The job's approval that waits for a second user, or that one has given."""
    statement = select(approvals).where(_P.job_id == job_id, _P.state.in_(("waiting", "approved")))
    return (await connection.execute(statement)).mappings().first()


async def waiting_approval(connection: AsyncConnection, job_id: int) -> RowMapping | None:
    """The approval that somebody has asked for and nobody has decided on."""
    found = await living_approval(connection, job_id)
    return found if found is not None and found["state"] == "waiting" else None


async def waiting_approvals(connection: AsyncConnection) -> dict[int, dict[str, Any]]:
    """What is asked about jobs, by job."""
    statement = select(approvals).where(_P.state == "waiting", _P.job_id.is_not(None))
    rows = (await connection.execute(statement)).mappings()
    return {row["job_id"]: {str(key): value for key, value in row.items()} for row in rows}


async def is_approved(connection: AsyncConnection, job_id: int) -> bool:
    """Whether a second user has approved the job as it is now."""
    found = await living_approval(connection, job_id)
    return found is not None and found["state"] == "approved" and found["seal"] == await seal_of_job(connection, job_id)


async def ask_for_job(connection: AsyncConnection, job_id: int, *, author: str, now: datetime) -> None:
    """Asks for an approval of the locked job as it is now, in place of an older one; twice is once."""
    seal, living = await seal_of_job(connection, job_id), await living_approval(connection, job_id)
    if living is not None and living["state"] == "waiting" and living["seal"] == seal:
        return
    await end_approvals(connection, _P.job_id == job_id, now)
    values = {"job_id": job_id, "seal": seal, "asked_by": author, "asked_at": now, "state": "waiting"}
    values["configured_by"] = await _configured_by(connection, job_id)
    await connection.execute(insert(approvals).values(values))
    name = (await connection.execute(select(_J.name).where(_J.id == job_id))).scalar_one()
    await record_changes(connection, "job", job_id, name, "ask_approval", [], author=author, now=now)


async def _configured_by(connection: AsyncConnection, job_id: int) -> str | None:
    """Who changed the job, its query or its letter last."""
    job = (await connection.execute(select(_J.query_id, _J.letter_id).where(_J.id == job_id))).one()
    changed = and_(_E.noun == "job", _E.record_id == job_id, or_(_E.field.is_(None), _E.field != "status"))
    of_query = and_(_E.noun == "query", _E.record_id == job.query_id)
    of_letter = and_(_E.noun == "letter", _E.record_id == job.letter_id)
    last = select(_E.author).where(or_(changed, of_query, of_letter), _E.action.in_(_CONFIGURES))
    found: str | None = (await connection.execute(last.order_by(_E.id.desc()).limit(1))).scalar_one_or_none()
    return found


async def end_approvals(connection: AsyncConnection, whose: Any, now: datetime) -> None:
    """What waits or holds of these has lapsed."""
    living = _P.state.in_(("waiting", "approved"))
    await connection.execute(update(approvals).where(whose, living).values(state="lapsed", ended_at=now))


async def decide(
    connection: AsyncConnection, asked: Mapping[Any, Any], state: str, *, author: str, now: datetime
) -> None:
    """Writes what a second user has decided: 'approved' or 'refused'. Refused for whoever asked or configured last.

    The job's or order's row is locked.
    """
    if state == "approved":
        _refuse_first_user(asked, author)
    values = {"state": state, "decided_by": author, "decided_at": now, "ended_at": None if state == "approved" else now}
    await connection.execute(update(approvals).where(_P.id == asked["id"]).values(values))


def _refuse_first_user(asked: Mapping[Any, Any], author: str) -> None:
    if author.startswith("os:"):
        raise Refused("an approval needs a user of its own: give --as or KP_USER")
    if fold(author) == fold(asked["asked_by"]):
        raise Refused("whoever asked cannot approve; another user has to look")
    if fold(author) == fold(asked["configured_by"] or ""):
        raise Refused("whoever made the last change cannot approve; another user has to look")


async def outdated_jobs(connection: AsyncConnection, job_ids: Collection[int]) -> list[RowMapping]:
    """Of these jobs those that are An, or ask for it, without an approval of what they are now: id, name, status."""
    if not job_ids or not await four_eyes(connection):
        return []
    living = and_(_P.job_id == _J.id, _P.state.in_(("waiting", "approved")))
    statement = select(_J.id, _J.name, _J.status, _P.seal).outerjoin(approvals, living).where(_J.id.in_(job_ids))
    rows = (await connection.execute(statement.order_by(_J.id))).mappings().all()
    concerned = [row for row in rows if row["status"] == "on" or row["seal"] is not None]
    return [row for row in concerned if row["seal"] != await seal_of_job(connection, row["id"])]


def seal_of_order(order: Mapping[Any, Any]) -> str:
    """Another text once the letter was handed over again."""
    return seal_of(order["id"], order["attempts"], order["handed_over_at"])


async def approval_of_order(connection: AsyncConnection, order_id: int) -> RowMapping | None:
    """What is asked of a second user about an unclear order."""
    statement = select(approvals).where(_P.order_id == order_id, _P.state == "waiting")
    return (await connection.execute(statement)).mappings().first()


async def ask_for_order(connection: AsyncConnection, order: Mapping[Any, Any], *, author: str, now: datetime) -> None:
    """Asks whether a locked unclear order is to be sent again, in place of an older question; twice is once."""
    seal, waiting = seal_of_order(order), await approval_of_order(connection, order["id"])
    if waiting is not None and waiting["seal"] == seal:
        return
    await end_approvals(connection, _P.order_id == order["id"], now)
    values = {"order_id": order["id"], "seal": seal, "asked_by": author, "asked_at": now, "state": "waiting"}
    await connection.execute(insert(approvals).values(values))
    name = order["job_name"]
    await record_changes(connection, "order", order["id"], name, "ask_approval", [], author=author, now=now)
