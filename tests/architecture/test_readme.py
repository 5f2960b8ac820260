"""What README, ARCHITECTURE and docs say against what is there."""

import re
from pathlib import Path

import pytest

from shared.bus.topology import ROUTES
from shared.settings import Settings, load_settings
from tests.architecture import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TARGETS = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_functions_links_and_targets_exist(path: Path) -> None:
    text = path.read_text()
    for name, _, function in re.findall(r"((?:services|shared|tests|docs|deploy)/[\w./-]*\.\w+)(::(\w+))?", text):
        assert (ROOT / name).is_file(), name
        assert not function or re.search(
            rf"^ *(?:(?:async )?def|class) {function}\b|^{function}\b", (ROOT / name).read_text(), re.MULTILINE
        ), name
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (path.parent / link).exists(), link
    for target in re.findall(r"`make ([a-z]+)", text):
        assert target in TARGETS, target


def test_readmes_picture_of_one_letter_is_the_codes() -> None:
    picture = (ROOT / "README.md").read_text().split("## One letter")[1].split("```")[1]
    steps = re.findall(r"(services/(\w+)/(\w+)\.py)|(JobDue|WriteOrderReady)|(SMTP)", picture)
    path = [next(filter(None, (service, message, wire))) for _, service, _, message, wire in steps]
    expected = []
    for route in ROUTES:
        expected += [route.senders[0], route.message.__name__]
        assert route.queue in picture
    assert path == [*expected, ROUTES[-1].reader, "SMTP", "scheduler"]
    for name, service, module, _, _ in filter(lambda step: step[0], steps):
        # Each box is a module whose one public step has the module's name, or the mailer's `deliver`.
        assert re.search(rf"^ *async def {module}\(", (ROOT / name).read_text(), re.MULTILINE), (name, service)
    for table in ("dispatch_runs", "write_orders"):
        assert f'"{table}"' in (ROOT / "shared" / "db" / "tables.py").read_text() and table in picture


def test_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "$ make demo " in text and "$ make test " in text and {"demo", "test", "check", "help"} <= set(TARGETS)


def test_operations_lists_every_setting() -> None:
    table = (ROOT / "docs" / "operations.md").read_text().split("## Settings")[1]
    assert set(re.findall(r"^\| `([A-Z_]+)`", table, re.MULTILINE)) == {name.upper() for name in Settings.model_fields}


def test_the_example_of_an_env_file_is_accepted() -> None:
    example = ROOT / ".env.example"
    settings = load_settings(environ={}, dotenv=example)
    names = re.findall(r"^([A-Z_]+)=", example.read_text(), re.MULTILINE)
    assert names and {name.lower() for name in names} == settings.model_fields_set
