"""`person show`: everything that decides whether a person is written to (D20, D24-D26, D32)."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.candidate_requests import open_requests
from shared.db.history import load_history
from shared.db.order_list import OrderFilter, list_orders
from shared.db.suppressions import CANDIDATE
from shared.db.system_settings import load_system_settings
from shared.db.tables import (
    application_statuses,
    applications,
    blocks,
    contact_jobs,
    persons,
    returned_mails,
    write_orders,
)
from shared.errors import NotFound

_A, _P, _B, _O, _R = applications.c, persons.c, blocks.c, write_orders.c, returned_mails.c


async def show_person(connection: AsyncConnection, application: str) -> dict[str, Any]:
    """The person of an application: applications, wishes, standing blocks, letters. Raises NotFound."""
    owner = select(_A.person_id).where(_A.external_id == application.strip()).scalar_subquery()
    person = (await connection.execute(select(persons).where(_P.id == owner))).mappings().first()
    if person is None:
        raise NotFound("application", application)
    zone = (await load_system_settings(connection)).zone
    theirs = await _applications(connection, person["id"])
    standing = await _blocks(connection, person["id"])
    pauses = [one["until"] for one in standing if one["author"] == CANDIDATE and one["until"]]
    return {
        "duplicate_set": person["duplicate_set"],
        "one_person_by": _BY[person["identity"].partition(":")[0]],
        "opted_out_at": _local(person["opted_out_at"], zone),
        "opted_out_by": person["opted_out_by"],
        "no_birthday_since": _local(person["no_birthday_since"], zone),
        "yearly_since": _local(person["yearly_since"], zone),
        "paused_until": max(pauses, default=None),
        "applications": theirs,
        "blocks": standing,
        "returned_mails": await _returned_mails(connection, person["id"]),
        "requests": [_shown(one, zone) for one in await open_requests(connection, person["id"])],
        "letters": await list_orders(connection, OrderFilter(person_id=person["id"])),
        "history": await load_history(connection, "person", person["id"]),
    }


_BY = {"set": "duplicate set", "key": "equal on the duplicate keys", "one": "alone"}


async def _applications(connection: AsyncConnection, person_id: int) -> list[dict[str, Any]]:
    statement = (
        select(
            *(_A.external_id, _A.kind, application_statuses.c.name.label("status"), _A.received_on, _A.in_pool),
            *(
                _A.email,
                _A.usable_email.is_not(None).label("reachable"),
                _A.returned_at,
                _A.last_contact_at,
                _A.reduced_at,
            ),
        )
        .outerjoin_from(applications, application_statuses, application_statuses.c.id == _A.status_id)
        .where(_A.person_id == person_id)
        .order_by(_A.external_id)
    )
    rows = (await connection.execute(statement)).mappings()
    return [{key: _plain(value) for key, value in row.items()} for row in rows]


async def _returned_mails(connection: AsyncConnection, person_id: int) -> list[dict[str, Any]]:
    theirs = select(_O.id).join(applications, _A.id == _O.application_id).where(_A.person_id == person_id)
    statement = (
        select(_R.at, _R.kind, _R.status, _R.effect, _R.order_id.label("order"), _O.email)
        .join(write_orders, _O.id == _R.order_id)
        .where(_R.order_id.in_(theirs))
        .order_by(_R.id)
    )
    rows = (await connection.execute(statement)).mappings()
    return [{key: _plain(value) for key, value in row.items()} for row in rows]


async def _blocks(connection: AsyncConnection, person_id: int) -> list[dict[str, Any]]:
    standing = select(blocks).where(_B.person_id == person_id, _B.lifted_at.is_(None)).order_by(_B.id)
    rows = (await connection.execute(standing)).mappings().all()
    names = await job_names(connection, {row["lineage_id"] for row in rows})
    return [
        {
            "scope": row["scope"],
            "jobs": names.get(row["lineage_id"], []),
            "until": _plain(row["until"]),
            "reason": row["reason"],
            "author": row["author"],
            "since": _plain(row["created_at"]),
        }
        for row in rows
    ]


async def job_names(connection: AsyncConnection, lineage_ids: Collection[int | None]) -> dict[int | None, list[str]]:
    """The names of the jobs of lineages, in order."""
    j = contact_jobs.c
    jobs = await connection.execute(select(j.lineage_id, j.name).where(j.lineage_id.in_(lineage_ids)).order_by(j.name))
    names: dict[int | None, list[str]] = {}
    for job in jobs:
        names.setdefault(job.lineage_id, []).append(job.name)
    return names


def _shown(request: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    shown = {name: request[name] for name in ("id", "kind", "application", "words")}
    return shown | {"made_at": _local(request["made_at"], zone)}


def _local(moment: datetime | None, zone: ZoneInfo) -> str | None:
    return moment.astimezone(zone).isoformat() if moment else None


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
