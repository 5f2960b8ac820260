"""When today's work will be done, as the monitor says it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from services.console.pages.monitor import done_at
from shared.db.system_state import Count, Lately

NOW, ZONE = datetime(2026, 11, 23, 9, tzinfo=UTC), ZoneInfo("Europe/Berlin")
FIVE = NOW.replace(hour=16)


def lately(per_minute: int) -> Lately:
    return Lately(Count(0), [0] * 24 + [per_minute] * 5 + [0])


def waiting(queued: int, sending: int = 0) -> dict[str, Count]:
    return {"queued": Count(queued), "sending": Count(sending)}


def test_what_waits_goes_at_the_present_rate() -> None:
    assert done_at(lately(10), waiting(80, 20), None, NOW, ZONE) == NOW + timedelta(minutes=10)


def test_it_is_not_done_before_the_last_dispatch_of_the_day() -> None:
    assert done_at(lately(10), waiting(3), FIVE, NOW, ZONE) == FIVE
    assert done_at(lately(0), waiting(0), FIVE, NOW, ZONE) == FIVE
    assert done_at(lately(1), waiting(600), FIVE, NOW, ZONE) == NOW + timedelta(minutes=600)


def test_nothing_is_said_where_nothing_is_left_or_nothing_goes_out() -> None:
    assert done_at(lately(10), waiting(0), None, NOW, ZONE) is None
    assert done_at(lately(0), waiting(5), None, NOW, ZONE) is None
    assert done_at(lately(0), waiting(5), FIVE, NOW, ZONE) is None
