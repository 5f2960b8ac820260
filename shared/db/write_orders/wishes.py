"""What becomes of open letters when a person no longer wants letters of their kind."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of
from shared.db.queries import load_query_by_id
from shared.db.recipients import CAPPING, YEAR_DAYS
from shared.db.tables import applications, contact_jobs, write_orders
from shared.db.write_orders.states import STOPPABLE, Change, stop_orders
from shared.errors import InvalidInput

_O, _A, _J = write_orders.c, applications.c, contact_jobs.c
NO_BIRTHDAY = "wants no birthday letters"
YEARLY = "wants at most one letter a year"


async def withdraw_birthday_letters(
    connection: AsyncConnection, person_id: int, *, now: datetime, author: str
) -> tuple[int, int]:
    """Withdraws a locked person's birthday letters, so that T2's UPDATE meets them (D33): how many, how many too late.

    What is planned later meets the wish itself.
    """
    letters = await _letters(connection, person_id)
    queries = {row.query_id for row in letters}
    birthdays = {query_id for query_id in queries if await _is_about_birthdays(connection, query_id)}
    unwanted = [row for row in letters if row.query_id in birthdays and row.state in ("planned", "queued", "sending")]
    return await _withdraw(connection, unwanted, NO_BIRTHDAY, now, author)


async def withdraw_letters_beyond_one_a_year(
    connection: AsyncConnection, person_id: int, *, now: datetime, author: str
) -> tuple[int, int]:
    """The same for what is too much where one letter a year is wanted: the first stays, of a day the most important."""
    letters = await _letters(connection, person_id)
    kept: list[Any] = []
    unwanted: list[Any] = []
    for row in letters:
        if any(abs((row.occasion_day - day).days) < YEAR_DAYS for day in kept):
            unwanted.append(row)
        else:
            kept.append(row.occasion_day)
    return await _withdraw(connection, unwanted, YEARLY, now, author)


async def _letters(connection: AsyncConnection, person_id: int) -> list[Any]:
    """A person's letters of contact jobs that were sent or may be: first what cannot be stopped."""
    theirs = select(_A.id).where(_A.person_id == person_id)
    stoppable = case((STOPPABLE, 1), else_=0)
    statement = (
        select(_O.id, _O.state, _O.occasion_day, stoppable.label("stoppable"), _J.query_id)
        .outerjoin_from(write_orders, contact_jobs, _J.id == _O.job_id)
        .where(_O.application_id.in_(theirs), _O.type == "contact_job", _O.state.in_((*CAPPING, "planned")))
        .order_by(stoppable, _O.occasion_day, _J.priority.desc(), _J.id, _O.id)
    )
    return list((await connection.execute(statement)).all())


async def _is_about_birthdays(connection: AsyncConnection, query_id: int | None) -> bool:
    try:
        return query_id is not None and (await load_query_by_id(connection, query_id)).is_about_birthdays
    except InvalidInput:
        return False  # nothing is sent by a query that has become invalid (D21)


async def _withdraw(
    connection: AsyncConnection, unwanted: Sequence[Any], reason: str, now: datetime, author: str
) -> tuple[int, int]:
    values = {"state": "withdrawn", "withdrawn_by": "wish", "reason": reason}
    change = Change(now, author, "withdraw", "withdrawn", reason)
    stopped = await stop_orders(connection, any_of(_O.id, [row.id for row in unwanted]), values, change)
    late = [row for row in unwanted if row.state == "sending" and row.id not in stopped]
    return len(stopped), len(late)
