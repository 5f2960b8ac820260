"""What a consent letter asks is open from the moment at which the mail server has accepted it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import case
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import consent_requests
from shared.domain.consent import silence_from

_R = consent_requests.c


@dataclass(frozen=True, slots=True)
class Question:
    """A consent letter that was sent at `asked_at`, with what its job said then."""

    order_id: int
    job_id: int
    status_id: int
    asked_at: datetime
    answer_days: int
    time_zone: str


async def note_questions(connection: AsyncConnection, questions: Sequence[Question]) -> None:
    """Opens these questions; one that was answered before its letter was settled keeps its answer."""
    if not questions:
        return
    rows = [
        {
            "order_id": one.order_id,
            "job_id": one.job_id,
            "status_id": one.status_id,
            "asked_at": one.asked_at,
            "due_at": silence_from(one.asked_at, one.answer_days, ZoneInfo(one.time_zone)),
        }
        for one in questions
    ]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(consent_requests)
    due = case((_R.answer.is_(None), new.excluded.due_at), else_=_R.due_at)
    asked = {"asked_at": new.excluded.asked_at, "due_at": due}
    await connection.execute(new.on_conflict_do_update(index_elements=["order_id"], set_=asked), rows)
