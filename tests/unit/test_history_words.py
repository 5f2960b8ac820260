"""The history in German shows no code name: neither of a field nor of a value nor of an act (D3)."""

import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from services.console.pages.history import ACTIONS, NOUNS, in_words
from services.console.rendering import Renderer
from shared.db.letter_changes import FIELDS as LETTER_FIELDS
from shared.domain.filters import META_STATUSES
from shared.domain.job_fields import JOB_FIELDS
from shared.setup.settings_fields import DUPLICATE_KEYS

SETTINGS = (
    *("time_zone", "reduce_core_data", "core_data_keeps", "leap_day_birthday", "sender", "company", "catch_up_hours"),
    *("sync_minutes", "frequency_cap_days", "duplicate_keys"),
)
FIELDS = {
    "job": (*JOB_FIELDS, "copied_from", "fresh"),
    "letter": (*LETTER_FIELDS, "name", "application", "to"),
    "query": ("name", "filters"),
    "settings": SETTINGS,
    "user": ("name", "display_name", "email", "role"),
    "status": ("name", "meta"),
    "order": ("state",),
}
#: What the history keeps -> the German of it.
VALUES = (
    ("job", "dispatch", "rolling", None),
    ("job", "dispatch", "every 3 months from 2027-01-31", "alle 3 Monate ab 31.01.2027"),
    ("job", "sender", "recruiter", None),
    ("job", "on_unclear", "resend", None),
    ("job", "working_days", "as_is", None),
    ("settings", "leap_day_birthday", "february_28", "28. Februar"),
    ("settings", "reduce_core_data", "at_once", None),
    ("settings", "reduce_core_data", '{"after_months": 6}', None),
    ("settings", "duplicate_keys", '["last_name", "birth_date"]', "Nachname, Geburtsdatum"),
    ("query", "filters", '[{"field": "has_email", "is": true}]', None),
    ("user", "role", "operate", None),
    *(("status", "meta", meta, None) for meta in META_STATUSES),
    ("order", "state", "no_address", "keine Adresse"),
)


def told(noun: str, **values: Any) -> dict[str, Any]:
    visit: Any = SimpleNamespace(text=partial(Renderer().text, "de"), language="de")
    return in_words(
        visit, {"noun": noun, "action": "change", "field": None, "old": None, "new": None, "reason": None} | values
    )


def test_d3_every_act_noun_and_field_has_its_german() -> None:
    for action in ACTIONS:
        assert told("job", action=action)["action"] != action
    for noun in NOUNS:
        assert "_" not in told(noun)["noun"]
    for noun, fields in FIELDS.items():
        for field in fields:
            said = told(noun, field=field)["field"]
            assert "_" not in said and (said != field or field in ("name", "status", "text")), (noun, field, said)


@pytest.mark.parametrize(("noun", "field", "kept", "german"), VALUES)
def test_d3_a_value_is_told_in_german(noun: str, field: str, kept: str, german: str | None) -> None:
    said = told(noun, field=field, new=kept)["new"]
    assert said == german if german else said != kept
    assert not re.search(r"[a-z]_[a-z]|[{}\[\]]", said)


def test_d3_what_people_wrote_stays_as_it_is() -> None:
    for noun, field in (("job", "note"), ("letter", "subject"), ("query", "name"), ("settings", "company")):
        assert told(noun, field=field, new="sent")["new"] == "sent"


@pytest.mark.parametrize("key", DUPLICATE_KEYS)
def test_d3_every_part_of_a_person_has_its_german(key: str) -> None:
    assert told("settings", field="duplicate_keys", new=f'["{key}"]')["new"] != key
