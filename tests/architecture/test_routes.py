"""The table of routes against the code: who publishes, who subscribes, and what each service says of itself."""

import ast
import importlib
from pathlib import Path

import pytest

from shared.bus.topology import ROUTES
from tests.architecture import ROOT

SERVICES = ("scheduler", "evaluator", "mailer")
LABELS = ("Consumes:", "Publishes:", "Owns:", "On failure:", "Safe twice:")


def calls(service: str, method: str) -> set[str]:
    """Message classes that a service names in calls of a bus method."""
    found: set[str] = set()
    for path in sorted((ROOT / "services" / service).rglob("*.py")):
        for node in ast.walk(ast.parse(Path(path).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
                found |= {
                    name.id for argument in node.args for name in ast.walk(argument) if isinstance(name, ast.Name)
                }
    return found & {route.message.__name__ for route in ROUTES}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_publishes_and_reads_what_the_table_says(service: str) -> None:
    assert calls(service, "publish") == {r.message.__name__ for r in ROUTES if service in r.senders}
    assert calls(service, "subscribe") == {r.message.__name__ for r in ROUTES if service == r.reader}


def test_nobody_else_publishes() -> None:
    assert calls("cli", "publish") == calls("cli", "subscribe") == set()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_says_the_same_five_things_of_itself(service: str) -> None:
    text = importlib.import_module(f"services.{service}").__doc__ or ""
    positions = [text.index(f"\n{label}") for label in LABELS]
    assert positions == sorted(positions)
    for route in ROUTES:
        published = text[positions[1] : positions[2]]
        assert (route.message.__name__ in published) == (service in route.senders)
        assert (route.message.__name__ in text[positions[0] : positions[1]]) == (service == route.reader)
