"""One package writes write orders' states, and its transitions are those of the documentation."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture import ROOT, modules

OWNER = ROOT / "shared" / "db" / "write_orders"
#: Reduction hashes addresses of finished orders, duplicates move to another person: no state is touched there.
STATELESS = {"core_data.py", "application_writer.py"}


def writes(path: Path) -> list[ast.Call]:
    """Calls of insert, update or delete on write_orders."""
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) in ("insert", "update", "delete")
        and any(ast.unparse(argument).rpartition(".")[2] == "write_orders" for argument in node.args)
    ]


@pytest.mark.parametrize(
    "path", [p for p in modules() if OWNER not in p.parents], ids=lambda path: str(path.relative_to(ROOT))
)
def test_nobody_else_writes_write_orders(path: Path) -> None:
    if path.name in STATELESS:
        assert '"state"' not in path.read_text() and "state=" not in path.read_text()
    else:
        assert not writes(path)


def test_every_transition_of_the_documentation_exists() -> None:
    text = (ROOT / "docs" / "write-order-states.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 20
    for row in rows:
        names = re.findall(r"`([a-z_]+)`", row.split("|")[4])
        sources = "".join((ROOT / name).read_text() for name in re.findall(r"`(shared/[a-z_/]+\.py)`", row))
        assert names and sources, row
        for name in names:
            assert f"async def {name}(" in sources, (name, row)


def test_every_public_function_that_writes_states_is_documented() -> None:
    text = (ROOT / "docs" / "write-order-states.md").read_text()
    #: They write other columns, or only read.
    others = {
        "renew",
        "record_orders",
        "stop_orders",
        "stop_resends",
        "in_state",
        "choose_to_ring",
        "mark_rung",
        "ring_lost_again",
        "want_ringing",
        "ring_when_due",
        "locked_jobs",
        "lock_unclear",
        "name_blocks_of_person",
    }
    others |= {
        "take_back_claims",
        "count_planned",
        "hold_planned",
        "rules_of",
        "move_planned_orders",
        "order_rows",
        "as_claimable",
    }
    others |= {"returns_to", "unsettled_people"}
    same = {"withdraw_open_orders_of_run", "withdraw_passed_while_off"}  # as withdraw_open_orders_of_job
    for path in sorted(OWNER.glob("*.py")):
        for name in re.findall(r"^(?:async )?def ([a-z]\w+)\(", path.read_text(), re.MULTILINE):
            assert name in others | same or f"`{name}`" in text, name
