"""Orders of a simulation, on a private copy of the tables: made in the state in which their letter would end."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import FromClause, case, delete, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier, Instant, PlainText
from shared.db.tables import applications, write_orders

_O, _A = write_orders.c, applications.c


@dataclass(frozen=True, slots=True)
class RehearsedRun:
    """A dispatch on the virtual clock; `run_id` is that of the copy, where no row stands for it."""

    run_id: int
    job_id: int
    job_name: str
    lineage_id: int
    letter_id: int
    occasion_day: date
    time_zone: str
    send_at: datetime


async def forget_open_plans(connection: AsyncConnection, held_run_ids: Collection[int]) -> None:
    """Takes out of the copy what the virtual days will plan anew; what is held stays planned."""
    planned = (_O.state == "planned", _O.type == "contact_job", _O.run_id.not_in(held_run_ids))
    await connection.execute(delete(write_orders).where(*planned))


async def forget_plan(connection: AsyncConnection, run_id: int) -> None:
    """Takes the planned orders of a rehearsed run out: it is planned anew."""
    await connection.execute(delete(write_orders).where(_O.run_id == run_id, _O.state == "planned"))


async def add_rehearsed(
    connection: AsyncConnection, run: RehearsedRun, recipients: FromClause, *, planned: bool = False
) -> None:
    """One order per recipient (person_id, application_id): sent or no_address, or planned."""
    ends = case((_A.usable_email.is_(None), "no_address"), else_="sent")
    columns: dict[str, Any] = {
        "type": literal("contact_job"),
        "run_id": literal(run.run_id, Identifier),
        "job_id": literal(run.job_id, Identifier),
        "job_name": literal(run.job_name, PlainText),
        "lineage_id": literal(run.lineage_id, Identifier),
        "letter_id": literal(run.letter_id, Identifier),
        "person_id": recipients.c.person_id,
        "application_id": recipients.c.application_id,
        "occasion_day": literal(run.occasion_day, _O.occasion_day.type),
        "state": literal("planned") if planned else ends,
        "time_zone": literal(run.time_zone, PlainText),
        "planned_for": literal(run.send_at, Instant()),
        "created_at": literal(run.send_at, Instant()),
        "email": _A.email,
    }
    rows = select(*columns.values()).select_from(recipients.join(applications, _A.id == recipients.c.application_id))
    await connection.execute(insert(write_orders).from_select(list(columns), rows))
