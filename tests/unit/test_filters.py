"""Filters of a query are validated when saved, with the nearest valid name (D21)."""

from datetime import date
from typing import Any

import pytest

from shared.domain.filters import FIELDS, parse_filters
from shared.errors import InvalidInput


@pytest.mark.parametrize(
    "raw",
    [
        {"field": "has_email", "is": True},
        {"field": "meta_status", "not_in": ["hired", "rejected"]},
        {"field": "status", "in": ["Absage"], "negate": True},
        {"field": "birthday_in_days", "from": -3, "to": 7},
        {"field": "days_since_last_contact", "more_than": 60},
        {"field": "days_since_last_contact", "never": True},
        {"field": "dwell_months", "at_most": 36},
        {"field": "received_on", "from": "2026-01-01"},
        {"field": "received_on", "from": "2026-01-01", "to": "2026-02-28"},
        {"field": "custom.skills", "contains": "python"},
    ],
)
def test_d21_a_valid_filter_is_kept_as_given(raw: dict[str, Any]) -> None:
    assert parse_filters("query 'q'", [raw])[0].as_json() == raw


def test_dates_of_yaml_are_understood() -> None:
    assert parse_filters("q", [{"field": "received_on", "to": date(2026, 1, 2)}])[0].arguments == (date(2026, 1, 2),)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"field": "has_emial", "is": True}, "did you mean 'has_email'"),
        ({"field": "has_email", "iss": True}, "did you mean 'is'"),
        ({"field": "has_email", "is": "ja"}, "true or false"),
        ({"field": "has_email"}, "needs is"),
        ({"field": "meta_status", "in": ["hirde"]}, "did you mean 'hired'"),
        ({"field": "status", "in": []}, "one or more"),
        ({"field": "status", "in": [" "]}, "not empty"),
        ({"field": "status", "in": ["a"], "not_in": ["b"]}, "exactly one of"),
        ({"field": "birthday_in_days", "from": 0}, "from and to"),
        ({"field": "birthday_in_days", "from": 5, "to": 1}, "must not lie after"),
        ({"field": "days_since_last_contact", "more_than": 6.5}, "whole number"),
        ({"field": "days_since_last_contact", "more_than": True}, "whole number"),
        ({"field": "dwell_months", "more_than": -1}, "between 0 and 1200"),
        ({"field": "received_on", "from": "31.02.2026"}, "date like"),
        ({"field": "custom.", "equals": "x"}, "unknown field"),
        ({"field": ["status"], "in": ["x"]}, "unknown field"),
        ({"field": {"status": 1}, "in": ["x"]}, "unknown field"),
        ({"field": "custom.a", "equals": ""}, "not empty"),
        ({"field": "has_email", "is": True, "negate": "yes"}, "true or false"),
        ("has_email", "mapping"),
    ],
)
def test_d21_an_invalid_filter_names_place_value_and_fix(raw: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match="query 'q', filter 1") as caught:
        parse_filters("query 'q'", [raw])
    assert says in str(caught.value)


def test_every_field_of_the_contract_exists() -> None:
    listed = ["status", "meta_status", "vacancy", "department", "location", "source", "language", "kind", "recruiter"]
    others = ["has_email", "in_pool", "birthday_in_days", "days_since_last_contact", "dwell_months", "received_on"]
    assert set(FIELDS) == {*listed, *others}
