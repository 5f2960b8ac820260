"""Consent renewal: how long an answer is waited for, and from when on what was answered is carried out.

Days are calendar days in the job's time zone (D17): whoever has thirty days has the thirtieth until midnight.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from shared.domain.schedule import start_of_day

#: Days that an answer may be waited for. Silence can erase data for good: a holiday must fit in.
FEWEST_DAYS, MOST_DAYS = 7, 365
#: Whole days between "delete me" and the deletion, in which it can be taken back.
DAYS_OF_GRACE = 1
#: What a consent letter must name, in each of its parts.
STAY_LINK, DELETE_LINK = "links.stay", "links.delete"
CONSENT_LINKS = (STAY_LINK, DELETE_LINK)


class Answer(StrEnum):
    """What somebody answers to a consent letter."""

    STAY = "stay"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Consent:
    """What makes a job a consent renewal: days to answer, and the rejected status that silence and "delete" set."""

    answer_days: int
    status: str

    def __str__(self) -> str:
        return f"answer_days={self.answer_days} status={self.status}"


def silence_from(asked_at: datetime, answer_days: int, zone: ZoneInfo) -> datetime:
    """The first moment at which no answer is silence: the midnight after the last day for answers."""
    return start_of_day(asked_at.astimezone(zone).date() + timedelta(days=answer_days + 1), zone)


def deletion_from(answered_at: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which "delete me" is carried out: one whole day lies between."""
    return start_of_day(answered_at.astimezone(zone).date() + timedelta(days=1 + DAYS_OF_GRACE), zone)
