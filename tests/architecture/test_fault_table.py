"""docs/faults.md is complete and true: every row has a test that carries its number, or a reason."""

import re
from pathlib import Path

import pytest

from tests.failure.test_faults import CASES

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| C")
]
#: Rows that cannot be injected here, or that nothing here can meet.
WITHOUT_TEST = {"C9", "C18"}


def test_every_row_of_the_matrix_is_there() -> None:
    assert [row[0] for row in ROWS] == [f"C{number}" for number in range(1, 61)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_its_tests_or_a_reason(row: list[str]) -> None:
    number, _, outcome, says = row
    modules = re.findall(r"test_\w+\.py", says)
    if number in WITHOUT_TEST:
        assert not modules and len(says) > 40
        return
    assert modules and outcome != "-"
    for module in modules:
        assert any(number.lower() in name.split("_") for name in names_in(module)), f"{module} has no test for {number}"


def names_in(module: str) -> list[str]:
    """Names of a module's tests; of the one that strikes each fault alone, its cases."""
    (path,) = (ROOT / "tests").rglob(module)
    found = re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found + [rows for rows, *_ in CASES] if module == "test_faults.py" else found
