"""Setting an application's status as this system does: leaving the pool, history, core data (D41, D42)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.core_data import reduce_to_core_data
from shared.db.history import StatusChange, record_status_changes
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications

_A = applications.c


async def set_statuses(
    connection: AsyncConnection,
    status_id: int,
    meta: str,
    given: Sequence[tuple[StatusChange, datetime]],
    author: str,
) -> None:
    """One status for applications that are locked with their persons, each dated as given where it rejects.

    Who is rejected leaves the pool, and is reduced where the setting says at once.
    """
    values: dict[str, Any] = {"status_id": status_id, "rejected_by_letter_at": None}
    if meta == "rejected":
        at = bindparam("_at", type_=_A.rejected_by_letter_at.type)
        values |= {"in_pool": False, "pool_since": None, "rejected_by_letter_at": at}
    statement = update(applications).where(_A.id == bindparam("_id")).values(values)
    rows = [{"_id": one.application_id, **({"_at": dated} if meta == "rejected" else {})} for one, dated in given]
    await connection.execute(statement, rows)
    changes = {one.application_id: one for one, _ in given}
    await record_status_changes(connection, list(changes.values()), author)
    settings = await load_system_settings(connection) if meta == "rejected" else None
    if settings is not None and settings.reduce_core_data == "at_once":
        await reduce_to_core_data(connection, list(changes), settings, given[0][1], author)
