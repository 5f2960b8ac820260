"""When jobs are dispatched: D10, D11, D12, D15, D17, D18."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.schedule import (
    Schedule,
    add_months,
    birthdays_on,
    latest_start_of_full_months,
    local_instant,
)

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = st.dates(date(1990, 1, 1), date(2040, 12, 31))


def rolling(at: time = time(8), **more: object) -> Schedule:
    return Schedule(dispatch_time=at, time_zone=BERLIN, **more)  # type: ignore[arg-type]


def test_d10_rolling_has_every_day() -> None:
    days = list(islice(rolling().occasion_days(date(2026, 2, 27)), 4))
    assert days == [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 2)]


@pytest.mark.parametrize(
    ("anchor", "months", "expected"),
    [
        (date(2026, 1, 31), 1, ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
        (date(2027, 11, 29), 1, ["2027-11-29", "2027-12-29", "2028-01-29", "2028-02-29", "2028-03-29"]),
        (date(2026, 8, 30), 6, ["2026-08-30", "2027-02-28", "2027-08-30", "2028-02-29", "2028-08-30"]),
        (date(2026, 12, 31), 12, ["2026-12-31", "2027-12-31", "2028-12-31", "2029-12-31", "2030-12-31"]),
    ],
)
def test_d11_cyclic_counts_from_the_anchor_month(anchor: date, months: int, expected: list[str]) -> None:
    schedule = rolling(cycle_months=months, anchor_on=anchor)
    assert [day.isoformat() for day in islice(schedule.occasion_days(date(2000, 1, 1)), 5)] == expected


def test_d11_no_occasion_before_the_anchor() -> None:
    schedule = rolling(cycle_months=3, anchor_on=date(2026, 1, 31))
    assert next(schedule.occasion_days(date(2020, 1, 1))) == date(2026, 1, 31)
    assert not schedule.is_occasion(date(2026, 1, 30))
    assert schedule.is_occasion(date(2026, 4, 30))


def test_d12_the_plan_exists_from_the_earlier_of_lead_and_send_day() -> None:
    lead = rolling(lead_days=3)
    assert lead.plan_from(date(2026, 11, 23)) == datetime(2026, 11, 19, 23, 0, tzinfo=UTC)
    early = rolling(working_days="previous", holidays="DE-HH")
    assert early.plan_from(date(2026, 11, 22)) == datetime(2026, 11, 19, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "at", "expected"),
    [
        (date(2027, 3, 28), time(2, 30), "2027-03-28T01:00:00+00:00"),  # the gap ends at 03:00 summer time
        (date(2027, 3, 28), time(2, 0), "2027-03-28T01:00:00+00:00"),
        (date(2027, 3, 28), time(1, 59), "2027-03-28T00:59:00+00:00"),
        (date(2027, 3, 28), time(3, 0), "2027-03-28T01:00:00+00:00"),
        (date(2026, 10, 25), time(2, 30), "2026-10-25T00:30:00+00:00"),  # the first of two
        (date(2026, 10, 25), time(3, 0), "2026-10-25T02:00:00+00:00"),
    ],
)
def test_d15_clock_changes(day: date, at: time, expected: str) -> None:
    assert local_instant(day, at, BERLIN).isoformat() == expected


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo"]


@given(
    st.sampled_from(ZONES),
    st.dates(date(2024, 1, 1), date(2027, 12, 31)),
    st.integers(0, 23),
    st.integers(0, 59),
)
def test_d15_equals_a_brute_force_minute_scan(zone: str, day: date, hour: int, minute: int) -> None:
    wanted = datetime.combine(day, time(hour, minute))
    tz = ZoneInfo(zone)
    start = datetime.combine(day - timedelta(days=1), time(0), UTC) + timedelta(hours=6)
    # The first minute whose local wall time has reached the wanted one: D15 for gaps, overlaps and plain days.
    scan = (start + timedelta(minutes=n) for n in range(60 * 60))
    first = next(at for at in scan if at.astimezone(tz).replace(tzinfo=None) >= wanted)
    assert local_instant(day, time(hour, minute), tz) == first


def test_d17_leap_day_birthdays() -> None:
    assert birthdays_on(date(2027, 3, 1)) == {301, 229}
    assert birthdays_on(date(2027, 2, 28)) == {228}
    assert birthdays_on(date(2028, 3, 1)) == {301}
    assert birthdays_on(date(2028, 2, 29)) == {229}
    assert birthdays_on(date(2027, 2, 28), "february_28") == {228, 229}
    assert birthdays_on(date(2027, 3, 1), "february_28") == {301}


@given(st.integers(1, 12), st.integers(1, 31), st.integers(2000, 2040), st.sampled_from(["march_1", "february_28"]))
def test_d17_everybody_has_one_birthday_a_year(month: int, day: int, year: int, rule: str) -> None:
    try:
        date(2024, month, day)
    except ValueError:
        return
    start = date(year, 1, 1)
    days = (date(year, 12, 31) - start).days + 1
    found = [n for n in range(days) if month * 100 + day in birthdays_on(start + timedelta(days=n), rule)]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("rule", "day", "expected"),
    [
        ("as_is", date(2026, 11, 22), date(2026, 11, 22)),
        ("next", date(2026, 11, 22), date(2026, 11, 23)),
        ("previous", date(2026, 11, 22), date(2026, 11, 20)),
        ("next", date(2026, 12, 25), date(2026, 12, 28)),  # Christmas, Boxing Day on Saturday, Sunday
        ("previous", date(2026, 10, 31), date(2026, 10, 30)),  # Reformation Day in Hamburg
    ],
)
def test_d18_working_days(rule: str, day: date, expected: date) -> None:
    assert rolling(working_days=rule, holidays="DE-HH").send_day(day) == expected


def full_months(start: date, end: date) -> int:
    """By counting, the way a person would."""
    months = 0
    while add_months(start, months + 1) <= end:
        months += 1
    return months


@given(DAYS, st.integers(0, 4000), st.integers(1, 60))
def test_dwell_bound_equals_counting(day: date, back: int, months: int) -> None:
    start = day - timedelta(days=back)
    assert (full_months(start, day) >= months) == (start <= latest_start_of_full_months(day, months))


def test_d4_a_new_job_starts_with_its_next_send_moment() -> None:
    schedule = rolling(time(9, 30))
    assert schedule.first_upcoming(datetime(2026, 11, 23, 8, 29, tzinfo=UTC)) == date(2026, 11, 23)
    assert schedule.first_upcoming(datetime(2026, 11, 23, 8, 30, tzinfo=UTC)) == date(2026, 11, 24)
