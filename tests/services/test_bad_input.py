"""What an operator gets wrong at the command line: one clear message, the right exit code, nothing half done."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from services.cli.app import build
from services.cli.commands import COMMANDS
from tests.services.command_line import CommandLine

#: With these letters have their way to unsubscribe, which doctor asks for.
LINKED = {"KP_PUBLIC_URL": "https://firma.example", "KP_LINK_KEYS": "0123456789abcdef" * 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "bad.csv: '': the file is empty"),
        ("\n", "bad.csv, line 1: '': the header is missing"),
        ("external_id,citty\nA1,x\n", "bad.csv, line 1: 'citty': unknown column; did you mean 'city'?"),
        ("city\nx\n", "bad.csv, line 1: 'external_id': the required column is missing"),
        ("external_id,city,city\n", "bad.csv, line 1: 'city': the column is there twice"),
        ("external_id;city\nA1;x\n", "bad.csv, line 1: ';': the separator is a semicolon"),
        ("external_id,city\nA1,x\nA2,Köln\n".encode("cp1252"), "bad.csv, line 3: 'byte 0xf6': is not UTF-8"),
        ("external_id\nA1\n".encode("utf-16"), "bad.csv: 'UTF-16': the encoding must be UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_line(cli: CommandLine, content: str | bytes, message: str) -> None:
    for strict in ([], ["--strict"]):
        said = cli.says_one_line("import", "applications", cli.file("bad.csv", content), *strict)
        assert said.startswith(f"kontaktpflege: {message}")


def test_a_file_that_is_not_there_gets_one_line(cli: CommandLine) -> None:
    for arguments in ("import applications no.csv", "import contacts no.csv", "apply no.yaml"):
        assert "no." in cli.says_one_line(*arguments.split())


def test_bad_rows_are_listed_in_the_files_order_and_the_good_ones_imported(cli: CommandLine) -> None:
    content = (
        "external_id,city,status,birth_date\n"
        'A1,after,,\nA2,x,Nope,\nA3,x,,31.02.1990\nA4,x\nA5,x,,\nA5,y,,\nA6,"x,,\nA7,x,neu,1990-01-01\n'
    )
    answer = cli("import", "applications", cli.file("some.csv", content))
    assert (answer.code, answer.out) == (1, "8 rows read, 2 applications added, 1 updated, 5 bad\n")
    assert answer.err.splitlines() == [
        "some.csv, line 3, column status: 'Nope': is no status of the setup",
        "some.csv, line 4, column birth_date: '31.02.1990': is not a date like 2026-11-23",
        "some.csv, line 5, column row: 'A4,x': has 2 cells, the header has 4",
        "some.csv, line 7, column external_id: 'A5': is given twice in this file; the first row is in line 6",
        "some.csv, line 8, column row: 'A6,\"x,,': cannot be read: unexpected end of data",
    ]


def test_strict_changes_nothing_and_says_so(cli: CommandLine) -> None:
    before = cli.dump()
    name = cli.file("some.csv", "external_id,birth_date\nA1,1990-01-01\nA2,31.02.1990\n")
    answer = cli("import", "applications", name, "--strict")
    assert (answer.code, answer.out) == (1, "2 rows read, 0 applications added, 0 updated, 1 bad\n")
    assert answer.err.splitlines()[-1] == "--strict: nothing was imported"
    assert cli.dump() == before


GOOD = "statuses: [{name: Angebot, meta: offer}]\n"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["bad.yaml"]),
        ("a: [", ["bad.yaml", "line"]),
        (b"statuses: [{name: B\xfcro, meta: new}]", ["bad.yaml", "UTF-8"]),
        ("", ["bad.yaml: '': the file is empty"]),
        ("# nothing\n", ["the file is empty"]),
        (
            GOOD + "letters: [{name: L, subject: x, text: x}, {name: L, language: en, subject: x, text: x}]",
            ["'L': is given twice", "other languages of a letter go under its `variants:`"],
        ),
        (GOOD + "jops: []", ["jops", "jobs"]),
        (GOOD + "queries: [{name: Q, filters: [{field: has_emial, is: true}]}]", ["has_emial", "has_email"]),
        (GOOD + "queries: [{name: Q, filters: [{field: has_email, was: true}]}]", ["Q", "was"]),
        (GOOD + "queries: [{name: Q, filters: [{field: status, in: [Nope]}]}]", ["Q", "Nope"]),
        (
            GOOD + 'letters: [{name: L, subject: "Hallo {{ applicant.frist_name }}", text: x}]',
            ["L", "applicant.frist_name", "first_name"],
        ),
        (GOOD + 'letters: [{name: L, subject: "Hallo", text: "{% if %}"}]', ["L", "text"]),
        (GOOD + 'letters: [{name: L, subject: "Hallo", text: "{{ 1 + 1 }}"}]', ["L", "text"]),
        (
            GOOD + "jobs: [{name: J, query: Geburtstag huete, letter: Ende, dispatch: rolling, time: '08:00'}]",
            ["J", "Geburtstag huete", "Geburtstag heute"],
        ),
        (GOOD + "jobs: [{name: J, query: Pool, letter: Ende, dispatch: rolling, time: '25:00'}]", ["J", "25:00"]),
        (GOOD + "statuses: [{name: X, meta: nwe}]", ["statuses"]),
        ("statuses: [{name: Angebot, meta: offer}, {name: X, meta: nwe}]", ["X", "nwe", "new"]),
    ],
)
def test_a_setup_with_a_mistake_is_refused_as_a_whole(cli: CommandLine, content: str | bytes, parts: list[str]) -> None:
    for dry_run in ([], ["--dry-run"]):
        said = cli.says_one_line("apply", cli.file("bad.yaml", content), *dry_run)
        assert [part for part in parts if part not in said] == [], said


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["job", "show", "Grüsze"], ["Grüsze", "did you mean 'Grüße'"]),
        (["job", "run", "Grüsse?", "--yes"], ["Grüsse?", "did you mean 'Grüße'"]),
        (["job", "set", "Grüsze", "status=Aus"], ["Grüsze", "'Grüße'"]),
        (["job", "set", "Grüße", "stauts=Aus"], ["stauts", "status"]),
        (["job", "set", "Grüße", "status"], ["'status'", "key=value"]),
        (["job", "set", "Grüße", "query=Poool"], ["Poool", "Pool"]),
        (["job", "set", "Grüße", "time=08:60"], ["08:60", "time"]),
        (["job", "create", "Neu", "query=Pool", "letter=Ende", "dispatch=rolling"], ["time"]),
        (["job", "create", "name=Neu", "query=Pool"], ["'name=Neu'", "give the name first: job create NAME key=value"]),
        (["job", "test", "Grüße", "--to", "t@firma.example"], ["127.0.0.1", "did not take the test letter"]),
        (["job", "runs", "Nichts"], ["'Nichts'"]),
        (["job", "release", "Grüsze"], ["Grüsze", "'Grüße'"]),
        (["job", "delete", "Grüsze"], ["Grüsze", "'Grüße'"]),
        (["job", "copy", "Grüsze", "Neu"], ["Grüsze", "'Grüße'"]),
        (["query", "list", "Pol"], ["'Pol'", "did you mean 'Pool'"]),
        (["query", "count", "Pool", "--on", "2026-02-31"], ["--on", "'2026-02-31'", "2026-11-23"]),
        (["query", "list", "Pool", "--on", "9999-12-31"], ["--on: '9999-12-31'", "from 1900-01-01 to 2200-12-31"]),
        (["query", "why", "Pool", "A1", "--on", "9999-12-31"], ["--on: '9999-12-31'", "2200-12-31"]),
        (["query", "list", "Pool", "--on", "0001-01-01"], ["--on: '0001-01-01'", "1900-01-01"]),
        (["simulate", "--from", "9999-12-01", "--to", "9999-12-31"], ["--from: '9999-12-01'", "2200-12-31"]),
        (
            ["order", "block", "1", "--reason", "x", "--scope", "all", "--until", "9999-12-31"],
            ["--until: '9999-12-31'"],
        ),
        (
            ["order", "create", "manual", "A1", "--letter", "Ende", "--at", "9999-12-31T23:59"],
            ["--at: '9999-12-31T23:59'", "2200-12-31"],
        ),
        (["query", "list", "Pool", "--on", "31.02.2026"], ["--on", "'31.02.2026'", "2026-11-23"]),
        (["job", "run", "Grüße", "--on", "morgen"], ["--on", "'morgen'", "2026-11-23"]),
        (["order", "list", "--on", "20261123x"], ["--on", "2026-11-23"]),
        (["order", "list", "--state", "sended"], ["--state", "sended", "sent"]),
        (["order", "show", "77"], ["77"]),
        (["order", "block", "77", "--reason", "x"], ["77"]),
        (["export", "nothing", "--out", "x.csv"], ["nothing", "applications"]),
        (["export", "applications", "--out", "x.doc"], ["x.doc", ".csv"]),
    ],
)
def test_names_and_values_that_do_not_exist_are_refused_with_what_is_meant(
    cli: CommandLine, arguments: list[str], parts: list[str]
) -> None:
    said = cli.says_one_line(*arguments)
    assert [part for part in parts if part not in said] == [], said


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["jbo", "list"], "Did you mean 'job'"),
        (["job", "lst"], "No such command 'lst'"),
        (["job", "list", "--jsn"], "--jsn"),
        (["job", "show"], "name"),
        (["run", "nobody"], "nobody"),
        (["order", "show", "x"], "'order_id': Input should be a valid integer"),
    ],
)
def test_wrong_usage_exits_2(cli: CommandLine, arguments: list[str], part: str) -> None:
    said = cli.refuses(*arguments, code=2)
    assert "Usage: kontaktpflege" in said and part in said


@pytest.mark.parametrize(
    ("environment", "parts"),
    [
        ({"DATABASE_URL": "mysql://u:geheim@h/d"}, ["DATABASE_URL", "'mysql'", "postgresql://", "sqlite:///"]),
        ({"DATABASE_URL": "irgendwo"}, ["DATABASE_URL", "postgresql://"]),
        ({"KP_TICK_SECOND": "1"}, ["KP_TICK_SECOND", "did you mean KP_TICK_SECONDS"]),
        ({"KP_TICK_SECONDS": "oft"}, ["KP_TICK_SECONDS", "number"]),
        ({"SMTP_PASSWORD_FILE": "no-such-file"}, ["SMTP_PASSWORD_FILE", "no-such-file"]),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    cli: CommandLine, environment: dict[str, str], parts: list[str]
) -> None:
    for arguments in (["job", "list"], ["run", "all"], ["doctor"], ["import", "applications", "x.csv"]):
        said = cli.says_one_line(*arguments, **environment)
        assert [part for part in parts if part not in said] == [], said
        assert "geheim" not in said


@pytest.mark.parametrize("role", ["scheduler", "evaluator", "mailer"])
def test_a_service_alone_refuses_the_embedded_broker(cli: CommandLine, role: str) -> None:
    said = cli.says_one_line("run", role)
    assert [part for part in ("BROKER_URL", "memory://", "`run all`", "amqp://", role) if part not in said] == []


@pytest.mark.parametrize("url", ["redis://u:geheim@127.0.0.1", "kafka://h", "irgendwo"])
def test_a_broker_that_is_not_offered_is_refused_by_its_scheme(cli: CommandLine, url: str) -> None:
    said = cli.says_one_line("run", "all", BROKER_URL=url)
    assert [part for part in ("BROKER_URL", url.partition(":")[0], "amqp://") if part not in said] == []
    assert "geheim" not in said
    checked = cli("doctor", BROKER_URL=url)
    assert checked.code == 1 and "geheim" not in checked.out + checked.err
    assert "FAIL  broker: setting BROKER_URL: " in checked.out
    assert "BROKER_URL" in cli.says_one_line("queues", BROKER_URL=url)


def test_a_database_that_was_never_made_is_told_how_to_be_made(empty: CommandLine) -> None:
    for arguments in ("job list", "import applications x.csv", "query list Pool"):
        answer = empty(*arguments.split())
        assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1), answer
        assert "migrate" in answer.err


def test_a_database_that_does_not_answer_is_named_without_its_password(cli: CommandLine, closed_port: int) -> None:
    url = f"postgresql://u:geheim@127.0.0.1:{closed_port}/d"
    for arguments in ("job list", "import applications x.csv", "migrate"):
        said = cli.says_one_line(*arguments.split(), DATABASE_URL=url)
        assert f"database postgresql://u:***@127.0.0.1:{closed_port}/d cannot be reached" in said
        assert "geheim" not in said


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": "postgresql://u:geheim@{at}/d"}, "database postgresql://u:***@{at}/d cannot be reached"),
        ({"BROKER_URL": "amqp://u:geheim@{at}/"}, "broker amqp://u:***@{at}/ cannot be reached"),
        ({"SMTP_URL": "smtp://u:geheim@{at}"}, "started"),
    ],
)
def test_services_wait_for_what_is_not_there_yet_saying_so_and_end_when_told(
    cli: CommandLine, closed_port: int, environment: dict[str, str], said: str
) -> None:
    at = f"127.0.0.1:{closed_port}"
    given = {name: value.format(at=at) for name, value in environment.items()}
    with (cli.folder / "log").open("w+b") as log:
        command = [sys.executable, "-m", "services", "run", "all"]
        root = Path(__file__).parents[2]
        service = subprocess.Popen(command, env={**os.environ, **given}, cwd=root, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while said.format(at=at) not in (written := (cli.folder / "log").read_text()):
                assert time.monotonic() < deadline and service.poll() is None, written
                time.sleep(0.05)
            service.terminate()
            # Before anything is under way there is nothing to end in order.
            assert service.wait(20) == 0, (cli.folder / "log").read_text()
        finally:
            service.kill()
            service.wait(10)
    written = (cli.folder / "log").read_text()
    assert "Traceback" not in written and "geheim" not in written


def test_doctor_names_everything_that_does_not_answer_each_in_one_line(cli: CommandLine, closed_port: int) -> None:
    at = f"u:geheim@127.0.0.1:{closed_port}"
    away = {"DATABASE_URL": f"postgresql://{at}/d", "BROKER_URL": f"amqp://{at}/", "SMTP_URL": f"smtp://{at}"}
    answer = cli("doctor", **away, **LINKED)
    assert (answer.code, answer.err) == (1, "7 checks failed\n"), answer
    lines = answer.out.splitlines()
    # Letters go out without the candidates' page, so that is a warning.
    assert lines.pop(6).startswith("warn  candidates' page: ")
    # Whether there is a hold is not known either while the database is away; settings and state directory need nobody.
    assert [line[:4].strip() for line in lines] == ["ok"] + ["FAIL"] * 7 + ["ok"]
    assert all(f"127.0.0.1:{closed_port}" in line for line in lines[1:8])
    assert "geheim" not in answer.out


def test_doctor_says_that_the_rest_is_right_where_only_the_mail_server_is_away(
    cli: CommandLine, closed_port: int
) -> None:
    answer = cli("doctor", SMTP_URL=f"smtp://127.0.0.1:{closed_port}", **LINKED)
    assert (answer.code, answer.err) == (1, "1 checks failed\n")
    failed = [line for line in answer.out.splitlines() if not line.startswith("ok")]
    assert failed.pop().startswith("warn  candidates' page: ")
    assert len(failed) == 1 and failed[0].startswith("FAIL  mail server: ")
    assert f"127.0.0.1:{closed_port}" in failed[0]


def test_a_user_without_the_right_changes_nothing(cli: CommandLine) -> None:
    assert "nobody" in cli.says_one_line("--as", "nobody", "job", "set", "Grüße", "status=Aus")


def test_json_answers_stay_one_document_and_refusals_stay_off_stdout(cli: CommandLine) -> None:
    assert [job["name"] for job in json.loads(cli("job", "list", "--json").out)] == ["Grüße"]
    assert cli.says_one_line("query", "list", "Pol", "--json")


def test_help_lists_every_command_with_the_words_of_its_table_and_loads_each(cli: CommandLine) -> None:
    answer = cli("--help")
    assert answer.code == 0
    group = typer.main.get_group(build())
    for name, command in COMMANDS.items():
        assert f"  {name} " in answer.out and command.summary in answer.out
        assert name in cli(name, "--help").out
        loaded = group.get_command(None, name)  # type: ignore[arg-type]
        assert loaded is not None and loaded.help
    assert group.get_command(None, "nothing") is None  # type: ignore[arg-type]


def test_the_version_is_shown_without_any_setting_being_read(empty: CommandLine) -> None:
    answer = empty("--version", KP_NONSENSE="1")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("kontaktpflege ") and answer.out.strip()[-1].isdigit()
