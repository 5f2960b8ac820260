"""Setting an application's status as this system does: leaving the pool, history, core data (D41, D42)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier
from shared.db.core_data import reduce_to_core_data
from shared.db.history import StatusChange, record_status_changes
from shared.db.prepared import PreparedForRows, Rows
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications

_A = applications.c


def _set(*, rejects: bool) -> PreparedForRows:
    def build(given: Rows) -> Any:
        values: dict[str, Any] = {"status_id": bindparam("status_id", type_=Identifier), "rejected_by_letter_at": None}
        if rejects:
            values |= {"in_pool": False, "pool_since": None, "rejected_by_letter_at": given["at"]}
        return update(applications).where(given.meet(_A.id)).values(values)

    return PreparedForRows(build, id=_A.id, **({"at": _A.rejected_by_letter_at} if rejects else {}))


_SET = {rejects: _set(rejects=rejects) for rejects in (True, False)}


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
    # One row each: of two letters that went to an application together the last is the one that counts.
    dates = {one.application_id: {"at": dated} if meta == "rejected" else {} for one, dated in given}
    rows = [{"id": application_id, **date} for application_id, date in dates.items()]
    await _SET[meta == "rejected"].execute(connection, rows, status_id=status_id)
    changes = {one.application_id: one for one, _ in given}
    await record_status_changes(connection, list(changes.values()), author)
    settings = await load_system_settings(connection) if meta == "rejected" else None
    if settings is not None and settings.reduce_core_data == "at_once":
        await reduce_to_core_data(connection, list(changes), settings, given[0][1], author)
