"""docs/rules.md: every rule has code that implements it and tests that are named after it."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture import ROOT

#: The rules of the domain.
RULES = [*range(1, 7), *range(10, 28), *range(30, 38), *range(40, 44)]
_ROW = re.compile(r"\| D(\d+) \| (.+?) \| (.+?) \| (.+?) \|")
_NAME = re.compile(r"`([^`]+)`")


def rows() -> dict[int, tuple[str, str]]:
    """Rule -> its cells of code and of tests."""
    found = _ROW.findall((ROOT / "docs/rules.md").read_text(encoding="utf-8"))
    assert len({number for number, *_ in found}) == len(found), "a rule has two rows"
    return {int(number): (code, tests) for number, _, code, tests in found}


def defined(path: Path) -> set[str]:
    """What a module defines: functions, classes, methods and constants."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def modules_that_test(rule: int) -> set[str]:
    """The test modules with a test that is named after the rule."""
    named = re.compile(rf"^(?:async )?def test_(?:\w+_)?d{rule}_", re.MULTILINE)
    files = (ROOT / "tests").rglob("test_*.py")
    return {str(path.relative_to(ROOT)) for path in files if named.search(path.read_text(encoding="utf-8"))}


def test_the_table_has_exactly_the_rules() -> None:
    assert sorted(rows()) == RULES


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_names_code_that_exists(rule: int) -> None:
    places = _NAME.findall(rows()[rule][0])
    assert places, f"D{rule} names no code"
    for place in places:
        path, _, name = place.partition("::")
        assert name in defined(ROOT / path), f"D{rule}: {place} does not exist"


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_tests_and_the_table_names_their_modules(rule: int) -> None:
    found = modules_that_test(rule)
    assert found, f"no test is named test_d{rule}_..."
    listed = set(_NAME.findall(rows()[rule][1]))
    assert listed == found, f"D{rule}: the row should list {', '.join(f'`{name}`' for name in sorted(found))}"
