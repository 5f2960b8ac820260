"""Users and rights: who lacks one is refused by every command (D5); passwords are never shown (S12, S20)."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from sqlalchemy import create_engine, select, text

from services.cli.app import build
from shared.db.actors import ROLES
from shared.passwords import hash_password, is_password
from tests.services.command_line import CommandLine

#: Command -> the least role that it needs.
COMMANDS = {
    "job list": "view",
    "job show Grüße": "view",
    "job runs Grüße": "view",
    "order list": "view",
    "query list Pool": "view",
    "query why Pool A1": "view",
    "person show A1": "view",
    "simulate --to 2099-01-01 --from 2099-01-01": "view",
    "queues": "view",
    "user list": "view",
    "job set Grüße status=Aus": "operate",
    "job run Grüße --on 2099-01-01": "operate",
    "job release Grüße": "operate",
    "order block 1 --reason x": "operate",
    "order unblock 1": "operate",
    "order delete 1": "operate",
    "order retry 1": "operate",
    "order settle 1 sent": "operate",
    "order create manual A1 --letter Geburtstag": "operate",
    "person opt-out A1": "operate",
    "person opt-in A1": "operate",
    "person block A1 --reason x": "operate",
    "person unblock A1": "operate",
    "job set Grüße time=09:00": "edit",
    "job copy Grüße Kopie": "edit",
    "job delete Grüße": "edit",
    "job create Neu query=Pool letter=Ende dispatch=rolling time=08:00": "edit",
    "import applications a.csv": "edit",
    "apply setup.yaml": "edit",
    "user create b.neu --display-name Neu": "admin",
    "user password a.weber --stdin": "admin",
    "user lock a.weber": "admin",
    "user unlock a.weber": "admin",
}


@pytest.fixture
def staffed(cli: CommandLine) -> Iterator[CommandLine]:
    """A user of each role, named after it."""
    for role in ROLES:
        assert cli("user", "create", role, "--display-name", role, "--role", role).code == 0
    cli.file("a.csv", "external_id\nA2\n")
    cli.file("setup.yaml", "queries: [{name: Neu, filters: [{field: has_email, is: true}]}]\n")
    yield cli


@pytest.mark.parametrize("command", COMMANDS)
def test_d5_a_command_needs_its_right_and_no_more(
    staffed: CommandLine, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    least = ROLES.index(COMMANDS[command])
    for role in ROLES[:least]:
        message = staffed.says_one_line("--as", role, *command.split(" "))
        assert f"user '{role}' has the right '{role}'; this needs '{ROLES[least]}'" in message
    answer = staffed("--as", ROLES[least], *command.split(" "))
    assert "this needs" not in answer.err, answer


#: What a file changes -> the least role that applies it.
FILES = {
    "{letters: [{name: Neu, subject: a, text: b}], queries: [{name: Neu, filters: []}]}": "edit",
    "{jobs: [{name: Grüße, time: '09:00', query: Geburtstag heute, letter: Geburtstag, dispatch: rolling}]}": "edit",
    "{statuses: [{name: Neu, meta: new}], users: [{name: edit, display_name: edit, role: edit}]}": "edit",
    "{settings: {four_eyes: no}}": "edit",
    "{settings: {four_eyes: yes}}": "admin",
    "{statuses: [{name: Neu, meta: hired}]}": "admin",
    "{users: [{name: edit, display_name: edit, role: admin}]}": "admin",
}


@pytest.mark.parametrize("file", FILES)
def test_d5_s23_a_setup_file_needs_the_right_to_what_it_changes(staffed: CommandLine, file: str) -> None:
    staffed.file("changes.yaml", file)
    least = ROLES.index(FILES[file])
    for role in ROLES[:least]:
        for flags in ((), ("--dry-run",)):
            message = staffed.says_one_line("--as", role, "apply", "changes.yaml", *flags)
            asked = "'admin', and user 'edit'" if role == "edit" else "this needs 'edit'"
            assert asked in message and "has the right" in message, message
    answer = staffed("--as", ROLES[least], "apply", "changes.yaml")
    assert answer.code == 0, answer


def test_d5_an_unknown_user_may_do_nothing(cli: CommandLine) -> None:
    assert "there is no user 'nobody'" in cli.says_one_line("--as", "nobody", "job", "list")


def test_d5_a_locked_user_may_do_nothing_until_unlocked(staffed: CommandLine) -> None:
    assert staffed("user", "lock", "edit").out == "edit: locked\n"
    assert "user 'edit' is locked; an administrator can unlock them" in staffed.says_one_line(
        "--as", "edit", "job", "list"
    )
    listed = {one["name"]: one["locked"] for one in json.loads(staffed("user", "list", "--json").out)}
    assert listed["edit"] is True and listed["view"] is False
    assert "you cannot lock yourself out" in staffed.says_one_line("--as", "admin", "user", "lock", "admin")
    assert "there is no user 'nobody'" in staffed.says_one_line("user", "lock", "nobody")
    assert staffed("user", "unlock", "edit").out == "edit: unlocked\n"
    assert staffed("--as", "edit", "job", "list").code == 0


def test_s12_s20_a_password_is_hashed_and_shown_nowhere(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "correct horse battery"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\n"))
    answer = cli("user", "password", "a.weber", "--stdin")
    assert answer.code == 0 and secret not in answer.out + answer.err
    assert secret not in "\n".join(cli.dump()) and "$argon2id$" in "\n".join(cli.dump())
    listed = cli("user", "list", "--json").out
    assert '"has_password": true' in listed and "argon2" not in listed
    engine = create_engine(f"sqlite:///{cli.database}")
    with engine.connect() as connection:
        stored = connection.execute(select(text("password_hash")).select_from(text("users"))).scalars().first()
    engine.dispose()
    assert is_password(secret, stored) and not is_password("another horse battery", stored)


def test_s12_s20_a_short_password_is_refused_without_being_shown(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    message = cli.says_one_line("user", "password", "a.weber", "--stdin")
    assert "must have 12 to 1024 characters" in message and "hunter2" not in message
    assert not is_password("hunter2", None) and is_password("x" * 12, hash_password("x" * 12))


def parameters(group: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every argument and option of every command, with the command."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from parameters(command, f"{path} {name}")
        yield from ((f"{path} {name}", str(one.name)) for one in command.params)


def test_s12_no_command_takes_a_secret_where_ps_and_the_shells_history_show_it() -> None:
    found = list(parameters(typer.main.get_group(build())))
    assert len(found) > 100
    secret = re.compile(r"passw|passph|secret|token|credential|_url$|^url", re.IGNORECASE)
    assert [one for one in found if secret.search(one[1])] == []


def test_a_user_that_cannot_be_is_refused(cli: CommandLine) -> None:
    for arguments, message in (
        (("a.weber", "--display-name", "A"), "exists already"),
        (("b.neu", "--display-name", "B", "--role", "amdin"), "admin?"),
        (("b.neu", "--display-name", "B", "--email", "b@"), "is not a valid e-mail address"),
        ((" ", "--display-name", "B"), "must be a text"),
    ):
        assert message in cli.says_one_line("user", "create", *arguments)
