"""How long modules and functions may be: what is read should fit into a head."""

import ast
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.architecture import ROOT, modules


def function_lengths(path: Path) -> list[tuple[int, str]]:
    """Lines of each function without its docstring."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 1
            found.append((length, node.name))
    return found


@pytest.mark.parametrize(
    "path", [*modules(), *modules("tests"), *modules("bench")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_module_is_longer_than_400_lines_and_no_function_than_60(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert all(length <= 60 for length, _ in function_lengths(path)), max(function_lengths(path))


def test_most_are_far_shorter() -> None:
    assert median(len(path.read_text().splitlines()) for path in modules()) <= 120
    lengths = [length for path in modules() for length, _ in function_lengths(path)]
    assert median(lengths) <= 8
    assert quantiles(lengths, n=10)[-1] <= 25
