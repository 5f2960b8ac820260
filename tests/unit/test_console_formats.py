"""Dates and times in the console: in a zone that is named, never in the database's."""

from datetime import UTC, datetime

import pytest

from services.console.formats import formats_of

#: Half past midnight in Berlin; in UTC it is still the day before.
LATE = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "moment", "day"),
    [("de", "24.11.2026, 00:30", "24.11.2026"), ("en", "24 Nov 2026, 00:30", "24 Nov 2026")],
)
def test_an_instant_is_shown_in_the_zone_that_is_named(language: str, moment: str, day: str) -> None:
    formats = formats_of(language)
    assert formats["moment"](LATE, "Europe/Berlin") == moment
    assert formats["local_day"](LATE, "Europe/Berlin") == day
    assert formats["clock_time"](LATE, "Europe/Berlin") == "00:30"
    assert formats["moment"](None, "Europe/Berlin") == formats["local_day"](None, "Europe/Berlin") == ""


@pytest.mark.parametrize("name", ["moment", "clock_time", "local_day"])
def test_an_instant_without_a_zone_is_refused(name: str) -> None:
    with pytest.raises(TypeError):
        formats_of("de")[name](LATE)
