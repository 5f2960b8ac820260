"""When a job is dispatched (D10-D12, D15, D17, D18): calendar arithmetic in the job's time zone."""

from calendar import isleap, monthrange
from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays as holiday_calendars

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The part of a job that decides its days and moments."""

    dispatch_time: time
    time_zone: ZoneInfo
    cycle_months: int | None = None  # None: rolling, every day (D10)
    anchor_on: date | None = None
    lead_days: int = 0
    working_days: str = "as_is"
    holidays: str | None = None

    def occasion_days(self, first: date) -> Iterator[date]:
        """The occasion days from `first` on, ascending, without end."""
        if self.cycle_months is None or self.anchor_on is None:
            day = first
            while True:
                yield day
                day += ONE_DAY
        months = 0
        while True:
            day = add_months(self.anchor_on, months)
            if day >= first:
                yield day
            months += self.cycle_months

    def is_occasion(self, day: date) -> bool:
        """Whether the schedule itself has a dispatch on `day`."""
        return next(self.occasion_days(day)) == day

    def send_day(self, occasion: date) -> date:
        """The day on which the letters of an occasion go out: moved by the working-day rule (D18)."""
        step = {"next": ONE_DAY, "previous": -ONE_DAY}.get(self.working_days)
        if step is None:
            return occasion
        free = holidays_of(self.holidays)
        day = occasion
        while day.weekday() >= 5 or day in free:
            day += step
        return day

    def send_moment(self, occasion: date) -> datetime:
        """The instant at which an occasion's orders are released, in UTC."""
        return local_instant(self.send_day(occasion), self.dispatch_time, self.time_zone)

    def plan_from(self, occasion: date) -> datetime:
        """From when the plan of an occasion exists: 00:00 of T - lead days, or of an earlier send day (D12)."""
        first = min(occasion - timedelta(days=self.lead_days), self.send_day(occasion))
        return local_instant(first, time(0), self.time_zone)

    def first_upcoming(self, now: datetime) -> date:
        """The first occasion whose send moment lies after `now` (D4: a newly switched on job starts there)."""
        # The working-day rule moves a send day by a few days at most, so two weeks back is early enough.
        start = now.astimezone(self.time_zone).date() - timedelta(days=14)
        return next(day for day in self.occasion_days(start) if self.send_moment(day) > now)


def local_instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """A local wall time as UTC; one that the clock change skips is the first moment after the gap, one that it
    repeats is its first occurrence (D15)."""
    wall = datetime.combine(day, at, zone)
    instant = wall.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    # In a gap `fold=1` maps to before it and `fold=0` to after it: the change lies between the two.
    low, high = wall.replace(fold=1).astimezone(UTC), instant
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
    return high.replace(microsecond=0)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local calendar day, in UTC."""
    return local_instant(day, time(0), zone)


def add_months(day: date, months: int) -> date:
    """`months` later; the 29th to 31st shown as the last day of shorter months (D11), counted from `day` itself."""
    month = day.year * 12 + day.month - 1 + months
    year, month = divmod(month, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def latest_start_of_full_months(day: date, months: int) -> date:
    """The latest day from which `months` full months have passed on `day`.

    A month is full when the same day of the month, or the last day of a shorter month, is reached: so on the last
    day of a month every day of the earlier month counts.
    """
    month = day.year * 12 + day.month - 1 - months
    year, month = divmod(month, 12)
    last = monthrange(year, month + 1)[1]
    is_last_day = day.day == monthrange(day.year, day.month)[1]
    return date(year, month + 1, last if is_last_day else min(day.day, last))


#: Every birthday (month * 100 + day) in the order of the year.
_BIRTHDAYS = [month * 100 + day for month in range(1, 13) for day in range(1, monthrange(2000, month)[1] + 1)]


@lru_cache(maxsize=4096)
def birthdays_on(day: date, leap_day_birthday: str = "march_1") -> frozenset[int]:
    """Which birthdays (month * 100 + day) fall on `day`; those of 29 February in common years too (D17)."""
    on = day.month * 100 + day.day
    stand_in = 301 if leap_day_birthday == "march_1" else 228
    return frozenset((on, 229) if not isleap(day.year) and on == stand_in else (on,))


def birthday_ranges(birthdays: Collection[int]) -> list[tuple[int, int]]:
    """The same birthdays from first to last: `{1230, 1231, 101}` becomes `[(101, 101), (1230, 1231)]`."""
    ranges: list[tuple[int, int]] = []
    before = None
    for one in _BIRTHDAYS:
        if one in birthdays:
            ranges = [*ranges[:-1], (ranges[-1][0], one)] if before in birthdays else [*ranges, (one, one)]
        before = one
    return ranges


@lru_cache(maxsize=64)
def holidays_of(code: str | None) -> Container[date]:
    """The public holidays of a country or state code such as DE-HH, AT or CH-ZH; raises NotImplementedError."""
    if not code:
        return frozenset()
    country, _, state = code.upper().partition("-")
    return holiday_calendars.country_holidays(country, subdiv=state or None)
