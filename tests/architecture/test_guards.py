"""The list of guards fits the code: what takes a guard out stands there once, and its test exists."""

import ast
from pathlib import Path

import pytest

from tests.failure.guard import Guard
from tests.failure.guard_list import GUARDS
from tests.failure.security_guards import SECURITY_GUARDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("guard", (*GUARDS, *SECURITY_GUARDS), ids=lambda guard: guard.name)
def test_a_guard_can_be_taken_out_and_is_aimed_at(guard: Guard) -> None:
    for file, old, new in guard.edits:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {file}"
        ast.parse(source.replace(old, new))
    file, _, name = guard.test.partition("::")
    tests = [node.name for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))) if _is_test(node)]
    assert not name or name in tests


def _is_test(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")


def test_the_document_lists_every_guard() -> None:
    document = (ROOT / "docs" / "guards.md").read_text(encoding="utf-8")
    rows = [line for line in document.splitlines() if line.startswith("| I")]
    expected = [
        f"| {guard.invariant} | {guard.name} | {guard.test.rpartition('/')[2].replace('::', ' ')} |" for guard in GUARDS
    ]
    assert rows == expected
