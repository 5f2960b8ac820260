"""What letters change for the days after them, on the private copy (D20, D40-D42)."""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Instant
from shared.db.system_settings import SystemSettings
from shared.db.tables import applications, persons, write_orders
from shared.domain.schedule import latest_start_of_full_months, start_of_day
from shared.simulation.dispatches import SimulatedJob

_A, _P, _O = applications.c, persons.c, write_orders.c


async def apply_letters(
    connection: AsyncConnection, job: SimulatedJob, run_id: int, at: datetime, settings: SystemSettings
) -> None:
    """The letters of one dispatch, all accepted at `at`: contacts, status, pool, reduction."""
    written = select(_O.application_id).where(_O.run_id == run_id, _O.state == "sent")
    own: dict[str, Any] = {
        "last_contact_at": _later(_A.last_contact_at, at),
        "last_outgoing_at": _later(_A.last_outgoing_at, at),
    }
    if job.sets_status_id is not None:
        own |= {"status_id": job.sets_status_id}
        own |= _rejected(at, settings) if job.rejects else {"rejected_by_letter_at": None}
    await connection.execute(update(applications).where(_A.id.in_(written)).values(own))
    people = select(_A.person_id).where(_A.id.in_(written))
    contacted = update(persons).where(_P.id.in_(people))
    await connection.execute(contacted.values(last_contact_at=_later(_P.last_contact_at, at)))


def _rejected(at: datetime, settings: SystemSettings) -> dict[str, Any]:
    values: dict[str, Any] = {"in_pool": False, "pool_since": None, "rejected_by_letter_at": at}
    return values | ({"reduced_at": at} if settings.reduce_core_data == "at_once" else {})


def _later(column: ColumnElement[Any], at: datetime) -> ColumnElement[Any]:
    # With its type: SQLite would take a bare datetime for a text.
    return case((or_(column.is_(None), column < at), literal(at, Instant())), else_=column)


async def reduce_due(connection: AsyncConnection, day: date, settings: SystemSettings) -> None:
    """At the start of a day: applications whose months since the rejection are over are not selected any more (D42)."""
    if not isinstance(settings.reduce_core_data, dict):
        return
    latest = latest_start_of_full_months(day, settings.reduce_core_data["after_months"])
    due = _A.rejected_by_letter_at < start_of_day(latest + timedelta(days=1), settings.zone)
    at = start_of_day(day, settings.zone)
    await connection.execute(update(applications).where(due, _A.reduced_at.is_(None)).values(reduced_at=at))
