"""Until when an answer to a consent letter counts: whole calendar days in the job's time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.consent import FEWEST_DAYS, MOST_DAYS, deletion_from, silence_from

ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "America/Sao_Paulo"])
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@given(INSTANTS, st.integers(FEWEST_DAYS, MOST_DAYS), ZONES)
def test_silence_begins_with_the_day_after_the_last_one(asked: datetime, days: int, name: str) -> None:
    zone = ZoneInfo(name)
    due, last = silence_from(asked, days, zone), asked.astimezone(zone).date() + timedelta(days=days)
    before, at = (moment.astimezone(zone).date() for moment in (due - timedelta(microseconds=1), due))
    assert before <= last < at
    # However late on its day the letter went out, the promised days are whole ones (a clock change takes an hour).
    assert due - asked > timedelta(days=days) - timedelta(hours=2) or name == "Pacific/Apia"


@given(INSTANTS, ZONES)
def test_between_a_wish_and_its_deletion_lies_a_whole_day(answered: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    due = deletion_from(answered, zone)
    assert due.astimezone(zone).date() - answered.astimezone(zone).date() >= timedelta(days=2)
    assert timedelta(days=1) - timedelta(hours=2) < due - answered or name == "Pacific/Apia"
    assert due - answered <= timedelta(days=3, hours=2)


@pytest.mark.parametrize(
    ("asked", "silence"),
    [
        ("2026-03-01T23:59:59+01:00", "2026-03-09T00:00:00+01:00"),
        # Across the clock change, and with a letter that is of the next day in UTC already.
        ("2026-03-25T08:00:00+01:00", "2026-04-02T00:00:00+02:00"),
        ("2026-10-20T00:30:00+02:00", "2026-10-28T00:00:00+01:00"),
    ],
)
def test_silence_by_example(asked: str, silence: str) -> None:
    found = silence_from(datetime.fromisoformat(asked), 7, ZoneInfo("Europe/Berlin"))
    assert found == datetime.fromisoformat(silence)
