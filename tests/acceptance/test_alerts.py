"""The alert rules: Prometheus's own tool reads and tries them, and they speak of what is exported and explained."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import shared.metrics  # noqa: F401 - defines what is exported
from tests.servers.programs import program

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def exported() -> set[str]:
    """Names of samples, those of metrics without a label as well as those that wait for their first one."""
    found = set()
    for family in REGISTRY.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        found |= {family.name + ending for ending in endings}
    return found


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")])
def test_promtool_reads_the_rules_and_their_tests_hold(command: tuple[str, ...]) -> None:
    done = subprocess.run([program("promtool"), *command], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tried = yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    fired = {one["alertname"] for test in tried for one in test["alert_rule_test"] if one["exp_alerts"]}
    silent = {one["alertname"] for test in tried for one in test["alert_rule_test"] if not one["exp_alerts"]}
    assert fired == silent == {rule["alert"] for rule in rules()}


def test_rules_ask_only_for_what_is_exported() -> None:
    asked = {name for rule in rules() for name in re.findall(r"\bkontaktpflege_\w+", rule["expr"])}
    assert len(asked) > 8
    assert asked <= exported()


def test_what_is_asked_for_nought_or_least_is_told_by_those_only_whom_it_concerns() -> None:
    asked = {name for rule in rules() for name in re.findall(r"(\bkontaktpflege_\w+)[^<>=]*\)? == 0", rule["expr"])}
    asked |= {name for rule in rules() for name in re.findall(r"\bmin[^(]*\((kontaktpflege_\w+)", rule["expr"])}
    # Every process tells whether it is ready itself; what has a label is told from the first value on.
    assert asked >= {"kontaktpflege_journal_writable", "kontaktpflege_ready"}
    told_by_all = {one.name for family in REGISTRY.collect() for one in family.samples if not one.labels}
    assert asked & told_by_all == {"kontaktpflege_ready"}


def test_dashboards_ask_only_for_what_is_exported() -> None:
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "deploy/grafana/dashboards").iterdir()]
    expressions = [one["expr"] for board in boards for panel in board["panels"] for one in panel["targets"]]
    asked = {name for expression in expressions for name in re.findall(r"\bkontaktpflege_\w+", expression)}
    assert len(boards) == 2 and len(asked) > 15
    assert asked <= exported()


def test_promtool_reads_every_expression_of_the_dashboards(tmp_path: Path) -> None:
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "deploy/grafana/dashboards").iterdir()]
    expressions = [one["expr"] for board in boards for panel in board["panels"] for one in panel["targets"]]
    records = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    command = [program("promtool"), "check", "rules", str(tmp_path / "panels.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_reads_the_configuration(tmp_path: Path) -> None:
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus", str(tmp_path)), encoding="utf-8")
    command = [program("promtool"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def sections() -> dict[str, str]:
    """The sections of docs/operations.md by their anchors."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = (section.partition("\n") for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:])
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"): section for heading, _, section in found}


def test_every_rule_is_explained_where_it_says() -> None:
    known = sections()
    for rule in rules():
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert file == "docs/operations.md" and anchor in known, rule["alert"]
        lines = [line for line in known[anchor].splitlines() if line.startswith(f"| `{rule['alert']}` |")]
        assert len(lines) == 1, f"{rule['alert']} has no line there"


def test_what_the_lines_of_the_alerts_refer_to_is_there() -> None:
    known = sections()
    linked = re.findall(r"\]\(#([^)]+)\)", known["an-alert-came-what-now"])
    assert len(linked) > 4 and set(linked) <= set(known)
    lines = re.findall(r"^\| `(Kontaktpflege\w+)`", known["an-alert-came-what-now"], re.MULTILINE)
    assert set(lines) == {rule["alert"] for rule in rules()}
