"""Days and moments of dispatches: by hand for what people ask about, by brute force around every clock change."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.schedule import Schedule, birthday_ranges, birthdays_on, local_instant, start_of_day

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)
FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)


def berlin(day: str, at: str) -> str:
    moment = local_instant(date.fromisoformat(day), time.fromisoformat(at), BERLIN)
    return moment.astimezone(BERLIN).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-03-28", "2026-03-28T02:30+01:00"),
        ("2026-03-29", "2026-03-29T03:00+02:00"),  # skipped: the first moment after the gap
        ("2026-03-30", "2026-03-30T02:30+02:00"),
        ("2026-10-24", "2026-10-24T02:30+02:00"),
        ("2026-10-25", "2026-10-25T02:30+02:00"),  # repeated: once, the first time
        ("2026-10-26", "2026-10-26T02:30+01:00"),
        ("2027-03-28", "2027-03-28T03:00+02:00"),
        ("2027-10-31", "2027-10-31T02:30+02:00"),
    ],
)
def test_d15_half_past_two_through_the_clock_changes(day: str, expected: str) -> None:
    assert berlin(day, "02:30") == expected


@pytest.mark.parametrize(
    ("anchor", "months", "expected"),
    [
        ("2026-01-29", 1, "01-29 02-28 03-29 04-29 05-29 06-29 07-29 08-29 09-29 10-29 11-29 12-29 01-29 02-28"),
        ("2026-01-30", 1, "01-30 02-28 03-30 04-30 05-30 06-30 07-30 08-30 09-30 10-30 11-30 12-30 01-30 02-28"),
        ("2026-01-31", 1, "01-31 02-28 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31 01-31 02-28"),
        ("2027-12-31", 1, "12-31 01-31 02-29 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31 01-31 02-28"),
        ("2027-11-30", 3, "11-30 02-29 05-30 08-30 11-30 02-28 05-30 08-30"),
        ("2024-02-29", 12, "02-29 02-28 02-28 02-28 02-29"),
        ("2026-08-31", 6, "08-31 02-28 08-31 02-29 08-31"),
    ],
)
def test_d11_the_end_of_a_month_is_counted_from_the_anchor(anchor: str, months: int, expected: str) -> None:
    day = date.fromisoformat(anchor)
    schedule = Schedule(time(8), BERLIN, cycle_months=months, anchor_on=day)
    wanted = expected.split()
    assert [f"{one:%m-%d}" for one in islice(schedule.occasion_days(day), len(wanted))] == wanted
    assert next(schedule.occasion_days(day - timedelta(days=400))) == day  # none before the anchor


@pytest.mark.parametrize(
    ("day", "setting", "expected"),
    [
        ("2028-02-28", "march_1", {228}),
        ("2028-02-29", "march_1", {229}),
        ("2028-03-01", "march_1", {301}),
        ("2027-02-28", "march_1", {228}),
        ("2027-03-01", "march_1", {301, 229}),
        ("2027-02-28", "february_28", {228, 229}),
        ("2027-03-01", "february_28", {301}),
        ("2028-02-29", "february_28", {229}),
        ("2100-03-01", "march_1", {301, 229}),
    ],
)
def test_d17_who_was_born_on_29_february(day: str, setting: str, expected: set[int]) -> None:
    assert birthdays_on(date.fromisoformat(day), setting) == expected


@given(st.sets(st.dates(date(2000, 1, 1), date(2000, 12, 31)), max_size=366))
def test_d17_ranges_of_birthdays_hold_these_and_no_others(days: set[date]) -> None:
    birthdays = {day.month * 100 + day.day for day in days}
    ranges = birthday_ranges(birthdays)
    year = [date(2000, 1, 1) + timedelta(days=n) for n in range(366)]
    every = [day.month * 100 + day.day for day in year]
    assert {one for one in every if any(first <= one <= last for first, last in ranges)} == birthdays
    # None that another one goes on with.
    beginnings = {every.index(first) for first, _ in ranges}
    assert not beginnings & {every.index(last) + 1 for _, last in ranges}


@pytest.mark.parametrize(
    ("occasion", "rule", "holidays", "expected"),
    [
        ("2026-12-25", "next", "DE-HH", "2026-12-28"),  # Christmas on a Friday, Boxing Day, Sunday
        ("2026-12-25", "previous", "DE-HH", "2026-12-24"),
        ("2027-01-01", "next", "DE-BY", "2027-01-04"),
        ("2027-01-06", "next", "DE-BY", "2027-01-07"),  # Epiphany: Bavaria, not Hamburg
        ("2027-01-06", "next", "DE-HH", "2027-01-06"),
        ("2027-03-26", "next", "DE", "2027-03-30"),  # Good Friday to Easter Monday
        ("2027-03-29", "previous", "AT", "2027-03-26"),  # Good Friday is no holiday in Austria
        ("2026-12-26", "previous", "CH-ZH", "2026-12-24"),
        ("2026-11-22", "as_is", "DE", "2026-11-22"),  # a Sunday
        ("2026-11-22", "next", None, "2026-11-23"),
        ("2026-11-22", "previous", None, "2026-11-20"),
    ],
)
def test_d18_the_send_day_moves_and_the_occasion_stays(
    occasion: str, rule: str, holidays: str | None, expected: str
) -> None:
    schedule = Schedule(time(8), BERLIN, working_days=rule, holidays=holidays)
    assert schedule.send_day(date.fromisoformat(occasion)).isoformat() == expected


def test_d12_the_plan_begins_at_midnight_of_the_lead_day_across_a_years_turn() -> None:
    schedule = Schedule(time(8), BERLIN, lead_days=3)
    begins = schedule.plan_from(date(2027, 1, 2)).astimezone(BERLIN)
    assert begins.isoformat() == "2026-12-30T00:00:00+01:00"
    moved = Schedule(time(8), BERLIN, working_days="previous", holidays="DE-HH")
    assert moved.plan_from(date(2027, 1, 3)).astimezone(BERLIN).isoformat() == "2026-12-31T00:00:00+01:00"


@lru_cache(maxsize=1)
def clock_changes() -> list[tuple[ZoneInfo, datetime]]:
    """Every clock change of every zone in three years, one zone for each that differs: (zone, first instant after)."""
    found: dict[tuple[object, ...], tuple[ZoneInfo, datetime]] = {}
    steps = [FIRST + timedelta(hours=12 * n) for n in range(int((LAST - FIRST) / timedelta(hours=12)) + 1)]
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        offsets = [step.astimezone(zone).utcoffset() for step in steps]
        for (low, before), (high, after) in pairwise(zip(steps, offsets, strict=True)):
            if before != after:
                at = first_minute(zone, low, high)
                found.setdefault((at, before, after), (zone, at))
    return list(found.values())


def first_minute(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    while high - low > MINUTE:
        middle = low + (high - low) // (2 * MINUTE) * MINUTE
        unchanged = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
        low, high = (middle, high) if unchanged else (low, middle)
    return high


def walls_around(zone: ZoneInfo, change: datetime) -> list[tuple[datetime, datetime]]:
    """Every minute of the days around a change: (instant, wall clock)."""
    instants = (change + n * MINUTE for n in range(-36 * 60, 36 * 60))
    return [(instant, instant.astimezone(zone).replace(tzinfo=None)) for instant in instants]


def wished_times(zone: ZoneInfo, change: datetime) -> Iterator[datetime]:
    """Wall clocks around a change, and the midnights beside it."""
    for side in (change - MINUTE, change):
        wall = side.astimezone(zone).replace(tzinfo=None)
        yield from (wall + timedelta(minutes=n) for n in (-121, -61, -60, -31, -30, -1, 0, 1, 29, 30, 31, 59, 60, 61))
        midnight = datetime.combine(wall.date(), time(0))
        yield from (midnight + timedelta(days=n) for n in (0, 1))


def test_d15_every_clock_change_of_every_zone_is_as_a_walk_through_its_minutes() -> None:
    changes = clock_changes()
    for zone, change in changes:
        walls = walls_around(zone, change)
        for wished in set(wished_times(zone, change)):
            expected = next(instant for instant, wall in walls if wall >= wished)
            assert local_instant(wished.date(), wished.time(), zone) == expected, (zone, wished)
            if wished.time() == time(0):
                assert start_of_day(wished.date(), zone) == expected, (zone, wished)
    # Half an hour (Lord Howe), at midnight (Cairo), back in summer (Dublin counts so), in Ramadan (Casablanca).
    assert len(changes) > 100


def test_d10_d15_each_day_has_one_moment_and_they_ascend_whatever_the_clock_does() -> None:
    for zone, change in clock_changes():
        wall = change.astimezone(zone)
        for at in {
            wall.time().replace(second=0),
            (wall - timedelta(minutes=30)).time(),
            time(0),
            time(2, 30),
            time(23, 59),
        }:
            schedule = Schedule(at.replace(second=0, microsecond=0), zone)
            days = [wall.date() + timedelta(days=n) for n in range(-2, 3)]
            moments = [schedule.send_moment(day) for day in days]
            assert all(one < other for one, other in pairwise(moments)), (zone, at, moments)
