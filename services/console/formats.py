"""Dates, times and numbers as people of a language write them."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_skeleton, format_timedelta
from babel.numbers import format_decimal, format_percent


def formats_of(language: str) -> dict[str, Callable[..., str]]:
    """Filters for templates: `day`, `weekday`, `number`, `percent`; of an instant in a zone, by its name: `moment`,
    `clock_time`, `local_day`. None gives "".

    `lapse`: a span of time from now, as in "in 3 hours"."""
    pattern = "dd.MM.y, HH:mm" if language == "de" else "d MMM y, HH:mm"
    # Day before month in English too: everybody here reads dates so.
    locale = "de" if language == "de" else "en_GB"

    def day(value: Any) -> str:
        return "" if value is None else format_date(_day(value), "medium", locale=locale)

    def weekday(value: Any) -> str:
        return "" if value is None else format_skeleton("EEEddMM", _day(value), locale=locale)

    def moment(value: Any, zone: str) -> str:
        if value is None:
            return ""
        return format_datetime(_instant(value), pattern, tzinfo=ZoneInfo(zone), locale=locale)

    def clock_time(value: Any, zone: str) -> str:
        return "" if value is None else _instant(value).astimezone(ZoneInfo(zone)).strftime("%H:%M")

    def local_day(value: Any, zone: str) -> str:
        return day(in_zone(value, ZoneInfo(zone)))

    def number(value: Any) -> str:
        return "" if value is None else format_decimal(value, locale=locale)

    def percent(value: Any) -> str:
        return "" if value is None else format_percent(value, locale=locale)

    def lapse(value: timedelta) -> str:
        return format_timedelta(value, threshold=1, add_direction=True, locale=locale)

    return {
        "lapse": lapse,
        "day": day,
        "weekday": weekday,
        "moment": moment,
        "local_day": local_day,
        "clock_time": clock_time,
        "number": number,
        "percent": percent,
    }


def in_zone(value: Any, zone: ZoneInfo) -> datetime | None:
    """An instant as a local time."""
    return None if value is None else _instant(value).astimezone(zone)


def _instant(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else datetime.fromisoformat(str(value)).date()
