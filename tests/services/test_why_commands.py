"""`query why` and `--dry-run` at the command line: what they print, what they refuse, and that they change nothing."""

import json
from typing import Any

import pytest

from tests.services.command_line import CommandLine
from tests.services.import_files import lines
from tests.services.world import COLUMNS, SETUP

ROWS = ("A1,S1,Eins,,Neu,", "A2,S1,Eins,a2@x.example,Neu,", "A3,,Drei,a3@x.example,Pool,")
READER = "  - {name: leser, display_name: Lea Leser, email: l@firma.example, role: view}\n"
KEYS = [
    *("query", "application", "person", "on", "conditions", "never_selected", "matches", "stands_for_person", "note"),
    *("jobs", "reason", "first_match_on"),
]


@pytest.fixture
def stocked(cli: CommandLine) -> CommandLine:
    """A setup, of which one user may only look, and three applications."""
    setup = SETUP.replace("users: [{", "users:\n  - {").replace("role: edit}]\n", "role: edit}\n" + READER)
    cli.file("setup.yaml", setup)
    cli.file("a.csv", lines(COLUMNS, *ROWS))
    for command in (("migrate",), ("apply", "setup.yaml"), ("import", "applications", "a.csv")):
        answer = cli(*command)
        assert answer.code == 0, answer
    return cli


def why(cli: CommandLine, *arguments: str) -> dict[str, Any]:
    """One document on stdout and nothing beside it; nothing changed; whoever may look may ask."""
    before = cli.dump()
    answer = cli("query", "why", *arguments, "--json", KP_USER="leser")
    assert (answer.code, answer.err) == (0, ""), answer
    assert cli.dump() == before
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_d22_why_as_json_has_the_documented_keys(stocked: CommandLine) -> None:
    found = why(stocked, "neue", "A3", "--on", "2030-01-07")
    assert list(found) == KEYS
    assert found["conditions"] == [
        {"number": 1, "filter": {"field": "status", "in": ["Neu"]}, "value": "Pool", "passes": False}
    ]
    assert (found["query"], found["on"], found["matches"]) == ("Neue", "2030-01-07", False)
    assert list(found["jobs"][0]) == ["job", "status", "stopped_by", "ends_as", "first_letter_on"]


def test_d22_why_as_a_table_ends_with_sentences(stocked: CommandLine) -> None:
    answer = stocked("query", "why", "Neue", "A1", "--on", "2030-01-07")
    assert answer.code == 0
    assert "status in Neu" in answer.out and "yes" in answer.out
    assert "A1: application A2 stands for the person" in answer.out
    assert "first day on which it would match: none within 400 days" in answer.out


def test_d22_why_refuses_what_it_does_not_know(stocked: CommandLine) -> None:
    assert "did you mean 'Neue'" in stocked.says_one_line("query", "why", "Neuee", "A1")
    assert "'A9'" in stocked.says_one_line("query", "why", "Neue", "A9")
    assert "give a day like" in stocked.says_one_line("query", "why", "Neue", "A1", "--on", "morgen")


def test_d22_a_dry_run_prints_the_impact_and_changes_nothing(stocked: CommandLine) -> None:
    before = stocked.dump()
    answer = stocked("job", "set", "Gruß", "query=Geburtstag", "letter=Ende", "--dry-run")
    assert answer.code == 0 and "query: Neue -> Geburtstag" in answer.out
    assert "+0 / -1, another letter for 0 planned" in answer.out and "A2" in answer.out
    assert stocked.dump() == before
    stocked.file("setup.yaml", SETUP.replace("in: [Neu]", "in: [Neu, Pool]"))
    answer = stocked("apply", "setup.yaml", "--dry-run")
    assert answer.code == 0 and "+1 / -0" in answer.out and "A3" in answer.out
    assert stocked.dump() == before


def test_d5_a_dry_run_needs_the_right_of_the_change(stocked: CommandLine) -> None:
    for change in ("status=Aus", "query=Geburtstag"):
        stocked.says_one_line("job", "set", "Gruß", change, "--dry-run", KP_USER="leser")
    stocked.says_one_line("apply", "setup.yaml", "--dry-run", KP_USER="leser")
