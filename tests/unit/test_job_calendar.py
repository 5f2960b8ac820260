"""The calendar of the job file marks what moves a dispatch (D15, D18)."""

from datetime import UTC, date, datetime

from services.console.pages.job_calendar import CalendarDay, next_days

JOB = {
    "dispatch_mode": "rolling",
    "cycle_months": None,
    "anchor_on": None,
    "dispatch_time": "02:30",
    "time_zone": "Europe/Berlin",
    "lead_days": 0,
    "working_days": "as_is",
    "holidays": None,
}


def _day(days: list[CalendarDay], occasion: date) -> CalendarDay:
    return next(one for one in days if one.occasion == occasion)


def test_the_clock_changes_are_marked_and_so_is_a_time_that_one_skips() -> None:
    days = next_days(JOB, datetime(2027, 3, 25, 12, tzinfo=UTC))
    spring = _day(days, date(2027, 3, 28))
    assert spring.clock_changes and spring.is_skipped_time
    assert spring.send_at.strftime("%H:%M") == "03:00"
    before = _day(days, date(2027, 3, 27))
    assert not before.clock_changes and not before.is_skipped_time
    autumn = _day(next_days(JOB, datetime(2026, 10, 20, 12, tzinfo=UTC)), date(2026, 10, 25))
    assert autumn.clock_changes and not autumn.is_skipped_time


def test_a_dispatch_moved_to_a_working_day_is_marked() -> None:
    days = next_days(JOB | {"working_days": "next", "holidays": "DE"}, datetime(2026, 12, 23, 12, tzinfo=UTC))
    christmas = _day(days, date(2026, 12, 25))
    assert christmas.is_moved
    assert christmas.send_at.date() == date(2026, 12, 28)
    assert not _day(days, date(2026, 12, 24)).is_moved


def test_holidays_are_named_also_where_the_dispatch_stays_on_its_day() -> None:
    now = datetime(2026, 12, 23, 12, tzinfo=UTC)
    for rule in ("as_is", "next"):
        german = _day(next_days(JOB | {"working_days": rule, "holidays": "DE-HH"}, now), date(2026, 12, 25))
        assert german.holiday == "Erster Weihnachtstag" and german.is_moved == (rule == "next")
    english = _day(next_days(JOB | {"holidays": "DE"}, now, "en"), date(2026, 12, 25))
    assert english.holiday == "Christmas Day"
    assert _day(next_days(JOB | {"holidays": "DE"}, now), date(2026, 12, 24)).holiday == ""
    assert _day(next_days(JOB, now), date(2026, 12, 25)).holiday == ""
