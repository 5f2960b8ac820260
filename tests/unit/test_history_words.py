"""The history in German shows no code name: neither of a field nor of a value nor of an act (D3)."""

import ast
import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from services.console.pages.history import ACTIONS, NOUNS, in_words
from services.console.rendering import Renderer
from shared.db.core_data import ERASED
from shared.db.letter_changes import FIELDS as LETTER_FIELDS
from shared.db.system_settings import SystemSettings, as_plain
from shared.domain.filters import META_STATUSES
from shared.domain.job_fields import JOB_FIELDS
from shared.setup.settings_fields import DUPLICATE_KEYS
from tests.architecture import ROOT

#: What is recorded of each kind of record.
FIELDS = {
    "job": (*JOB_FIELDS, "copied_from", "fresh", "withdrawn_orders"),
    "letter": (*LETTER_FIELDS, "name", "application", "to"),
    "query": ("name", "filters"),
    "settings": (*as_plain(SystemSettings()),),
    "user": ("name", "display_name", "email", "role"),
    "status": ("name", "meta"),
    "order": ("state",),
    "layout": ("name", "html", "text"),
    "attachment": ("file_name", "sha256"),
    **dict.fromkeys(("person", "application", "contact"), ("added", "updated", "bad")),
}
#: What the history keeps -> the German of it.
VALUES = (
    ("job", "status", "on", "An"),
    ("job", "status", "off", "Aus"),
    ("job", "fresh", "yes", "ja"),
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
    ("letter", "attachments", '["a.pdf", "b.pdf"]', "a.pdf, b.pdf"),
    ("letter", "variants", '[{"language": "en", "subject": "Hi", "text": "You"}]', "Englisch\nHi\nYou"),
    ("letter", "language", "de", "Deutsch"),
    ("user", "role", "operate", None),
    *(("status", "meta", meta, None) for meta in META_STATUSES),
    ("order", "state", "no_address", "keine Adresse"),
)


def told(noun: str, **values: Any) -> dict[str, Any]:
    visit: Any = SimpleNamespace(text=partial(Renderer().text, "de"), language="de")
    return in_words(
        visit, {"noun": noun, "action": "change", "field": None, "old": None, "new": None, "reason": None} | values
    )


def recorded_acts() -> set[tuple[str, str]]:
    """What the code records, by the kind of record; where it is told apart at run time, as the word list has it."""
    found = {("person", action) for action in ACTIONS}
    for path in (ROOT / "shared").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            texts = [one.value if isinstance(one, ast.Constant) else None for one in call.args]
            match call.func.id, texts:
                case "Change", [_, _, str(action), *_]:
                    found.add(("order", action))
                case "_requeue", [*_, str(action)]:
                    found.add(("order", action))
                case "record_changes", [_, str(noun), _, _, str(action), *_]:
                    found.add((noun, action))
                case "record_changes", [_, _, _, _, str(action), *_]:
                    found.add(("person", action))
    return found


def test_d3_every_act_noun_and_field_has_its_german() -> None:
    for noun, action in recorded_acts():
        said = told(noun, action=action)["action"]
        assert said != action and "_" not in said, (noun, action)
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
    own = {"job": "note", "letter": "subject", "query": "name", "settings": "company", "application": "status"}
    for noun, field in own.items():
        assert told(noun, field=field, new="sent")["new"] == "sent"


@pytest.mark.parametrize("key", sorted({*DUPLICATE_KEYS, *ERASED}))
def test_d3_every_part_of_a_person_has_its_german(key: str) -> None:
    assert told("settings", field="duplicate_keys", new=f'["{key}"]')["new"] != key


def test_d3_a_record_without_a_name_of_its_own_has_no_code_name() -> None:
    assert told("settings", record_name="settings")["record_name"] == ""
    assert told("settings", record_name="hold")["record_name"] == "angehaltene Schreiben"
    assert told("order", record_name="scheduled_rejection")["record_name"] == "Absage Termin"
    assert told("job", record_name="manual")["record_name"] == "manual"
