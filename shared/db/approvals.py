"""Four eyes (S23): a second user looks before a job is An, or an unclear letter is sent again. Off by default.

A job without the approval it needs is Aus: whatever guards a job that is Aus guards this too (D4). An approval is bound
to a seal of job, query and letter; with another seal it has lapsed, and who made the change has asked for a new one.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.actors import load_actor
from shared.db.audit_tables import approvals
from shared.db.history import record_changes
from shared.db.named_records import find_named
from shared.db.status_meanings import statuses_that_decide
from shared.db.system_settings import load_system_settings
from shared.db.tables import (
    application_queries,
    contact_jobs,
    events,
    form_letter_versions,
    form_letters,
    users,
    write_orders,
)
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
#: Approvals that a list shows.
LISTED = 100
# An order that was settled otherwise meanwhile needs nobody.
_WAITING = and_(_P.state == "waiting", or_(_P.job_id.is_not(None), write_orders.c.state == "unclear"))
_CONFIGURES = ("create", "change", "copy")
#: Fields of jobs, queries, letters, layouts and statuses that may change without another look.
_UNLOOKED = ("name", "note", "status")


async def four_eyes(connection: AsyncConnection) -> bool:
    """Whether the setting is on."""
    return (await load_system_settings(connection)).four_eyes


async def seal_of_job(connection: AsyncConnection, job_id: int) -> str:
    """Another text as soon as the job, its query or its letter would do something else."""
    sealed = [_J[name] for name in sorted(SEALED)]
    statement = _with_letter(select(*sealed, application_queries.c.filters, *form_letter_versions.c))
    row = (await connection.execute(statement.where(_J.id == job_id))).one()
    return seal_of(*row, await statuses_that_decide(connection, job_id))


def _with_letter(statement: Select[Any]) -> Select[Any]:
    """Of jobs, with their query and the present version of their letter."""
    v = form_letter_versions.c
    version = and_(v.letter_id == form_letters.c.id, v.version == form_letters.c.version)
    return (
        statement.join(application_queries, application_queries.c.id == _J.query_id)
        .join(form_letters, form_letters.c.id == _J.letter_id)
        .join(form_letter_versions, version)
    )


async def jobs_in_force(connection: AsyncConnection) -> list[int]:
    """The jobs with a living approval of what they are now."""
    living = select(_P.job_id, _P.seal).where(_P.job_id.is_not(None), _P.state.in_(("waiting", "approved")))
    rows = (await connection.execute(living.order_by(_P.job_id))).all()
    return [row.job_id for row in rows if row.seal == await seal_of_job(connection, row.job_id)]


async def seal_anew(connection: AsyncConnection, job_ids: Collection[int]) -> None:
    """Carries approvals that were in force over a change that means nothing for these jobs yet: a new status."""
    for job_id in job_ids:
        living = update(approvals).where(_P.job_id == job_id, _P.state.in_(("waiting", "approved")))
        await connection.execute(living.values(seal=await seal_of_job(connection, job_id)))


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


async def list_waiting(connection: AsyncConnection) -> list[dict[str, Any]]:
    """What waits for a second user, the oldest first: a job (`job_id`, `job`), or an unclear order (`order_id`).

    `asked_by` and `asked_at` say since when; at most LISTED.
    """
    columns = (_P.job_id, _J.name.label("job"), _P.order_id, _P.asked_by, _P.asked_at)
    statement = select(*columns).outerjoin(contact_jobs, _J.id == _P.job_id).where(_WAITING)
    statement = statement.outerjoin(write_orders, write_orders.c.id == _P.order_id)
    rows = (await connection.execute(statement.order_by(_P.asked_at, _P.id).limit(LISTED))).mappings()
    return [{str(key): value for key, value in row.items()} for row in rows]


async def is_approved(connection: AsyncConnection, job_id: int) -> bool:
    """Whether a second user has approved the job as it is now."""
    found = await living_approval(connection, job_id)
    return found is not None and found["state"] == "approved" and found["seal"] == await seal_of_job(connection, job_id)


async def ask_for_job(
    connection: AsyncConnection, job_id: int, *, author: str, now: datetime, by_the_way: bool = False
) -> None:
    """Asks for an approval of the locked job as it is now, in place of an older one; twice is once.

    `by_the_way`: by a change of what several jobs use. The author did not look at what somebody else asks about this
    one: that stays their question.
    """
    seal, living = await seal_of_job(connection, job_id), await living_approval(connection, job_id)
    waiting = living if living is not None and living["state"] == "waiting" else None
    if waiting is not None and waiting["seal"] == seal:
        return
    await end_approvals(connection, _P.job_id == job_id, now)
    values = {"job_id": job_id, "seal": seal, "asked_by": author, "asked_at": now, "state": "waiting"}
    if waiting is not None and by_the_way:
        values |= {"asked_by": waiting["asked_by"], "asked_at": waiting["asked_at"]}
    last = select(_E.author).where(await _configuring(connection, job_id)).order_by(_E.id.desc()).limit(1)
    values["configured_by"] = (await connection.execute(last)).scalar_one_or_none()
    await connection.execute(insert(approvals).values(values))
    name = (await connection.execute(select(_J.name).where(_J.id == job_id))).scalar_one()
    await record_changes(connection, "job", job_id, name, "ask_approval", [], author=author, now=now)


async def _configuring(connection: AsyncConnection, job_id: int) -> ColumnElement[bool]:
    """The events that changed what the seal is of: job, query, letter, its layout, the statuses that decide."""
    columns = (_J.query_id, _J.letter_id, form_letter_versions.c.layout_id)
    job = (await connection.execute(_with_letter(select(*columns)).where(_J.id == job_id))).one()
    deciding = [status_id for status_id, _ in await statuses_that_decide(connection, job_id)]
    records = {"job": [job_id], "query": [job.query_id], "letter": [job.letter_id], "layout": [job.layout_id]}
    records["status"] = deciding
    of_these = or_(*(and_(_E.noun == noun, _E.record_id.in_(ids)) for noun, ids in records.items()))
    return and_(of_these, or_(_E.field.is_(None), _E.field.not_in(_UNLOOKED)), _E.action.in_(_CONFIGURES))


async def end_approvals(connection: AsyncConnection, whose: Any, now: datetime) -> None:
    """What waits or holds of these has lapsed."""
    living = _P.state.in_(("waiting", "approved"))
    await connection.execute(update(approvals).where(whose, living).values(state="lapsed", ended_at=now))


async def decide(
    connection: AsyncConnection, asked: Mapping[Any, Any], state: str, *, author: str, now: datetime
) -> None:
    """Writes what a second user has decided: 'approved' or 'refused'. Refused for whoever asked or configured last.

    Also for who has lost the right meanwhile. The job's or order's row is locked.
    """
    if state == "approved":
        await _refuse_first_user(connection, asked, author)
    values = {"state": state, "decided_by": author, "decided_at": now, "ended_at": None if state == "approved" else now}
    await connection.execute(update(approvals).where(_P.id == asked["id"]).values(values))


async def _refuse_first_user(connection: AsyncConnection, asked: Mapping[Any, Any], author: str) -> None:
    if author.startswith("os:"):
        raise Refused("an approval needs a user of its own: give --as or KP_USER")
    # As they are now: the lock may have been waited for.
    (await load_actor(connection, author, "")).require("operate")
    names = await _names_of(connection, author)
    if fold(asked["asked_by"]) in names:
        raise Refused("whoever asked cannot approve; another user has to look")
    changed = {asked["configured_by"]} if asked["configured_by"] else set()
    if asked["job_id"] is not None:
        since = and_(await _configuring(connection, asked["job_id"]), _E.at >= asked["asked_at"])
        changed |= set((await connection.execute(select(_E.author).where(since))).scalars())
    if names & {fold(one) for one in changed}:
        raise Refused("whoever made the last change cannot approve; another user has to look")


async def _names_of(connection: AsyncConnection, author: str) -> set[str]:
    """What a user is called, and was: another name makes no second user."""
    user = await find_named(connection, users, author)
    renamed = (_E.noun == "user", _E.record_id == (user or {}).get("id"), _E.field == "name")
    earlier = (await connection.execute(select(_E.old).where(*renamed, _E.old.is_not(None)))).scalars()
    return {fold(name) for name in (author, *earlier)}


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
