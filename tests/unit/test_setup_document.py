"""The setup file: what is understood, and where and how the rest is refused."""

from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.job_fields import JOB_FIELDS, read_time
from shared.errors import InvalidInput
from shared.setup import Setup, read_setup
from shared.setup.export import as_yaml

SAMPLE = Path(__file__).parents[2] / "services" / "cli" / "sample" / "setup.yaml"
JOB = "{name: Gruß, query: q, letter: l, dispatch: rolling, time: '08:00'%s}"


def setup_of(folder: Path, text: str) -> Setup:
    path = folder / "setup.yaml"
    path.write_text(text, encoding="utf-8")
    return read_setup(path)


def job_of(folder: Path, extra: str) -> dict[str, Any]:
    (job,) = setup_of(folder, f"jobs:\n  - {JOB % (', ' + extra)}\n").jobs
    return dict(job.fields)


def refusal(folder: Path, text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        setup_of(folder, text)
    return refused.value


def test_the_sample_is_read() -> None:
    setup = read_setup(SAMPLE)
    assert [len(kind) for kind in (setup.statuses, setup.users, setup.queries, setup.letters, setup.jobs)] == [
        *(11, 3, 5, 3, 3)
    ]
    last = setup.jobs[-1].fields
    assert last["dispatch"] == ("cyclic", 1, date(2026, 1, 31))
    assert (last["time"], last["status"], last["sender"]) == ("12:12", "on", "user:a.weber")


@pytest.mark.parametrize(
    ("written", "read"),
    [("An", "on"), ("aus", "off"), ("on", "on"), ("off", "off"), ("OFF", "off"), ("true", "on"), ('"False"', "off")],
)
def test_a_status_in_any_spelling_and_as_yaml_reads_it(tmp_path: Path, written: str, read: str) -> None:
    assert job_of(tmp_path, f"status: {written}")["status"] == read


@given(st.integers(0, 23), st.integers(0, 59), st.booleans())
def test_every_time_is_read_the_same_quoted_or_not(hours: int, minutes: int, padded: bool) -> None:
    text = f"{hours:02d}:{minutes:02d}" if padded else f"{hours}:{minutes:02d}"
    expected = time(hours, minutes).isoformat("minutes")
    assert read_time("time", text) == expected
    assert read_time("time", yaml.safe_load(text)) == expected


@pytest.mark.parametrize("bad", ["24:00", '"24:00"', "12:60", "8", "-1", "noon", "8.30", "12:30:00", "true", "null"])
def test_what_is_no_time_is_refused(tmp_path: Path, bad: str) -> None:
    found = refusal(tmp_path, f"jobs: [{{name: A, query: q, letter: l, dispatch: rolling, time: {bad}}}]")
    assert found.place == "setup.yaml, line 1, jobs, 'A', time"


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ("dispatch: weekly", "dispatch"),
        ("dispatch: {every_months: 3}", "dispatch"),
        ("dispatch: {every_months: 0, anchor: 2026-01-31}", "dispatch, every_months"),
        ("dispatch: {every_months: 37, anchor: 2026-01-31}", "dispatch, every_months"),
        ("dispatch: {every_months: 3, anchor: 2026-02-30}", "dispatch, anchor"),
        ("lead_days: 61", "lead_days"),
        ("lead_days: -1", "lead_days"),
        ("lead_days: 1.5", "lead_days"),
        ("lead_days: true", "lead_days"),
        ("repeat_guard_days: 3661", "repeat_guard_days"),
        ("valid_days: 0", "valid_days"),
        ("valid_days: 61", "valid_days"),
        ("on_unclear: guess", "on_unclear"),
        ("working_days: skip", "working_days"),
        ("holidays: FR", "holidays"),
        ("holidays: DE-XX", "holidays"),
        ("time_zone: Europe/Hamburg", "time_zone"),
        ("time_zone: ../../etc/passwd", "time_zone"),
        ("sender: somebody", "sender"),
        ("sender: 'user:'", "sender"),
        ('sender_fallback: "a@b.example, c@d.example"', "sender_fallback"),
        ("status: maybe", "status"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_place(tmp_path: Path, extra: str, field: str) -> None:
    fields = {"name": "Gruß", "query": "q", "letter": "l", "dispatch": "rolling", "time": "'08:00'"}
    key, _, value = extra.partition(": ")
    lines = "\n".join(f"    {name}: {text}" for name, text in ({**fields, key: value}).items())
    found = refusal(tmp_path, f"jobs:\n  -\n{lines}\n")
    assert found.place.startswith("setup.yaml, line ")
    assert found.place.endswith(f", jobs, 'Gruß', {field}")


def test_the_line_is_that_of_the_field(tmp_path: Path) -> None:
    text = "jobs:\n  - name: A\n    query: q\n    letter: l\n    dispatch: rolling\n    time: 25:00\n"
    assert refusal(tmp_path, text).place == "setup.yaml, line 6, jobs, 'A', time"


@pytest.mark.parametrize("code", ["DE", "de-hh", "AT", "AT-9", "CH-ZH"])
def test_holidays_of_countries_and_states(tmp_path: Path, code: str) -> None:
    assert job_of(tmp_path, f"holidays: {code}")["holidays"] == code.upper()


@pytest.mark.parametrize("sender", ["recruiter", "user:a.weber", "address:a@b.example", "Anna <a@b.example>"])
def test_senders(tmp_path: Path, sender: str) -> None:
    assert job_of(tmp_path, f"sender: '{sender}', sender_fallback: '{sender}'")["sender_fallback"] == sender


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("jbos: []", "setup.yaml", "'jobs'"),
        (f"jobs: [{JOB % ', led_days: 3'}]", "setup.yaml, line 1, jobs, 'Gruß'", "'lead_days'"),
        ("settings: {catch_up_hour: 6}", "setup.yaml, line 1, settings", "'catch_up_hours'"),
        ("users: [{name: a, display_name: A, role: edit, mail: x}]", "setup.yaml, line 1, users, 'a'", "'email'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path, text: str, place: str, said: str) -> None:
    found = refusal(tmp_path, text)
    assert found.place == place
    assert said in found.fix


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("jobs: [\n", "setup.yaml, line 2"),
        ("statuses:\n  - {name: A, meta: new, name: B}\n", "setup.yaml, line 2"),
        ("statuses: [{name: A, meta: new}, {name: ' a ', meta: new}]", "setup.yaml, line 1, statuses, 'a'"),
        ("statuses: [{name: A, meta: new}, {name: B, was: a, meta: new}]", "setup.yaml, line 1, statuses, 'B', was"),
        (
            "statuses: [{name: A, was: X, meta: new}, {name: B, was: x, meta: new}]",
            "setup.yaml, line 1, statuses, 'B', was",
        ),
        ("statuses: [{meta: new}]", "setup.yaml, line 1, statuses"),
        ("statuses: [{name: off, meta: new}]", "setup.yaml, line 1, statuses, name"),
        ("statuses: [A]", "setup.yaml, statuses, entry 1"),
        ("statuses: {name: A}", "setup.yaml, statuses"),
        ("- a", "setup.yaml"),
        ("", "setup.yaml"),
        ("a: 1\n--- \nb: 2\n", "setup.yaml, line 2"),
        ("? [a]\n: 1\n", "setup.yaml, line 1"),
        ("a: !!int x\n", "setup.yaml"),
        ("a: !!python/object:os.system x\n", "setup.yaml, line 1"),
        ("a: " + "[" * 5000 + "\n", "setup.yaml"),
        ("letters: [{name: L, subject: s}]", "setup.yaml, line 1, letters, 'L'"),
        (
            "queries: [{name: Q, filters: [{field: stats, in: [a]}]}]",
            "setup.yaml, line 1, queries, 'Q', filter 1, field",
        ),
        ("users: [{name: a, display_name: A, role: root}]", "setup.yaml, line 1, users, 'a', role"),
        ("users: [{name: a, display_name: A, role: edit, email: a@@b}]", "setup.yaml, line 1, users, 'a', email"),
        ("settings: {reduce_core_data: later}", "setup.yaml, line 1, settings, reduce_core_data"),
        ("settings: {sync_minutes: .nan}", "setup.yaml, line 1, settings, sync_minutes"),
        ("settings: {duplicate_keys: [shoe_size]}", "setup.yaml, line 1, settings, duplicate_keys"),
    ],
)
def test_what_is_broken_is_refused_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    found = refusal(tmp_path, text)
    assert found.place == place
    assert found.fix


def test_a_job_without_a_required_field_says_which(tmp_path: Path) -> None:
    found = refusal(tmp_path, "jobs: [{name: A, query: q, letter: l, time: '08:00'}]")
    assert (found.value, found.place) == ("dispatch", "setup.yaml, line 1, jobs, 'A'")


def test_a_letter_with_an_unknown_placeholder_says_letter_and_line(tmp_path: Path) -> None:
    found = refusal(tmp_path, "letters: [{name: L, subject: '{{ applicant.frist_name }}', text: t}]")
    assert found.place.startswith("setup.yaml, line 1, letters, 'L': letter 'L', subject")


def test_settings_as_yaml_reads_them(tmp_path: Path) -> None:
    setup = setup_of(tmp_path, "settings: {reduce_core_data: off, core_data_keeps: [email], catch_up_hours: 0.5}")
    assert setup.settings == {"reduce_core_data": "off", "core_data_keeps": ["email"], "catch_up_hours": 0.5}
    later = setup_of(tmp_path, "settings: {reduce_core_data: {after_months: 6}}")
    assert later.settings == {"reduce_core_data": {"after_months": 6}}


def test_mappings_may_be_shared_and_overridden(tmp_path: Path) -> None:
    base = "&base {name: A, query: q, letter: l, dispatch: rolling, time: '08:00', lead_days: 2}"
    jobs = setup_of(tmp_path, f"jobs:\n  - {base}\n  - {{<<: *base, name: B, lead_days: 3}}\n").jobs
    assert [(job.name, job.fields["lead_days"]) for job in jobs] == [("A", 2), ("B", 3)]


def test_a_file_that_is_not_there_or_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no such file"):
        read_setup(tmp_path / "none.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes("statuses: [{name: Grün, meta: new}]".encode("latin-1"))
    with pytest.raises(InvalidInput, match="save it as UTF-8"):
        read_setup(path)


@given(st.sampled_from(sorted(JOB_FIELDS)), st.text(max_size=30))
def test_any_text_for_a_field_is_read_or_refused(key: str, text: str) -> None:
    try:
        JOB_FIELDS[key]("place", text)
    except InvalidInput as refused:
        assert refused.place.startswith("place")


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).filter(str.strip)
NOTES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(name=NAMES, note=NOTES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_and_note_is_read_back_as_exported(tmp_path: Path, name: str, note: str) -> None:
    job = {"name": name, "query": "q", "letter": "l", "dispatch": "rolling", "time": "12:12", "note": note}
    (read,) = setup_of(tmp_path, as_yaml({"jobs": [job]})).jobs
    assert (read.name, read.fields["note"], read.fields["time"]) == (name.strip(), note, "12:12")
