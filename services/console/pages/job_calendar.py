"""The next dispatches of a job as a calendar, with what moves them: clock changes and working days (D15, D18)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

import holidays as holiday_calendars

from shared.db.job_rows import schedule_of

#: Dispatches that a job file shows.
SHOWN = 12


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """One dispatch: the day its letters are about, and when they go out."""

    occasion: date
    send_at: datetime
    #: The working-day rule moved it to another day: because of the holiday, or without one because of the weekend.
    is_moved: bool
    #: The public holiday of the occasion's day, by name; empty: none, or the job has no calendar of them.
    holiday: str
    #: The time zone's clocks change between the send day's beginning and its end.
    clock_changes: bool
    #: The clock change skips the dispatch time, so it is a moment later.
    is_skipped_time: bool


def next_days(job: Mapping[str, Any], now: datetime, language: str = "de") -> list[CalendarDay]:
    """The next dispatches after now, whether the job is An or not; holidays by their names in a language."""
    schedule = schedule_of(job)
    free = _named_holidays(job["holidays"], language)
    found = []
    for occasion in islice(schedule.occasion_days(schedule.first_upcoming(now)), SHOWN):
        at = schedule.send_moment(occasion).astimezone(schedule.time_zone)
        midnight = datetime.combine(at.date(), datetime.min.time(), schedule.time_zone)
        after = datetime.combine(at.date() + timedelta(days=1), datetime.min.time(), schedule.time_zone)
        found.append(
            CalendarDay(
                occasion,
                at,
                is_moved=at.date() != occasion,
                holiday=str(free.get(occasion) or ""),
                clock_changes=midnight.utcoffset() != after.utcoffset(),
                is_skipped_time=at.time().replace(second=0) != schedule.dispatch_time,
            )
        )
    return found


def _named_holidays(code: str | None, language: str) -> Mapping[date, str]:
    """The holidays of a job's calendar (as `holidays_of`), with names in the language where the calendar has them."""
    if not code:
        return {}
    country, _, state = code.upper().partition("-")
    calendar = holiday_calendars.country_holidays(country, subdiv=state or None)
    wanted = next((one for one in calendar.supported_languages if one.startswith(language)), None)
    return holiday_calendars.country_holidays(country, subdiv=state or None, language=wanted)
