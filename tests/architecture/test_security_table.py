"""docs/security.md is complete and true: every attack has a defence and tests that exist, or a reason."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.architecture import ROOT
from tests.failure.security_guards import SECURITY_GUARDS

LINES = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
ROWS = [cells for line in LINES if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4]
ATTACKS = [row for row in ROWS if re.fullmatch(r"S\d+", row[0])][: -len(SECURITY_GUARDS)]
_PLACE = re.compile(r"((?:services|shared|tests|deploy)/[\w./-]+\.\w+)(?:::(\w+))?")


@cache
def _tests_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


@cache
def _defined_in(path: Path) -> set[str]:
    """The functions and classes of a module; what is not Python has none."""
    if path.suffix != ".py":
        return set()
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)}


def missing(says: str) -> list[str]:
    """The places in a cell that are not in the code."""
    places = [(file, name, ROOT / file) for file, name in _PLACE.findall(says)]
    return [
        f"{file}::{name}"
        for file, name, path in places
        if not path.is_file() or (name and name not in _defined_in(path))
    ]


def carries(name: str, row: str) -> bool:
    return row.lower() in name.split("_")


def test_every_attack_is_there() -> None:
    assert [row[0] for row in ATTACKS] == [f"S{number}" for number in range(1, 36)]


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row[0])
def test_an_attack_has_a_defence_and_tests_or_a_reason(row: list[str]) -> None:
    number, attack, defence, says = row
    assert attack
    tests = _PLACE.findall(says)
    assert _PLACE.search(defence), "no place in the code"
    assert missing(defence) == []
    assert tests, "no test"
    for file, name in tests:
        assert name in _tests_in(ROOT / file), f"{file} has no test {name}"
    assert any(carries(name, number) for _, name in tests), "no test carries the number"


def test_a_place_that_is_not_there_is_told() -> None:
    real = "shared/logs.py, shared/logs.py::without_addresses"
    assert missing(real) == []
    assert missing(f"{real}, shared/no_logs.py::without_addresses, shared/logs.py::without, deploy/none.sh") == [
        "shared/no_logs.py::without_addresses",
        "shared/logs.py::without",
        "deploy/none.sh::",
    ]


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row[0])
def test_a_module_whose_tests_carry_the_number_is_named(row: list[str]) -> None:
    named = {file for file, _ in _PLACE.findall(row[3])}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if any(carries(name, row[0]) for name in _tests_in(path)) and path.parent.name != "company_accounts":
            assert str(path.relative_to(ROOT)) in named, f"{row[0]} has tests in {path.name}"


def test_the_defences_that_are_switched_off_are_listed() -> None:
    expected = [
        [guard.invariant, guard.name, guard.edits[0][0], guard.test.rpartition("/")[2].replace("::", " ")]
        for guard in SECURITY_GUARDS
    ]
    assert [row for row in ROWS if re.fullmatch(r"S\d+", row[0])][-len(SECURITY_GUARDS) :] == expected
    assert len({guard.invariant for guard in SECURITY_GUARDS}) >= 10
