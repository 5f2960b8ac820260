"""A real Prometheus looks at real services and at RabbitMQ's own plugin, with the alert rules.

Its figures are those of the command line, it finds all that rules and dashboards ask for, and nobody is woken in vain.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.mail_server import MailServer
from tests.servers.processes import free_port
from tests.servers.programs import program
from tests.stacks import Stack

ROOT = Path(__file__).resolve().parents[2]
JOB, ORDERS = "Prozesshänger", 300
QUEUE = "kontaktpflege.orders.ready"


def expression_of(title: str) -> str:
    """What a panel of the dashboard for operations asks."""
    board = json.loads((ROOT / "deploy/grafana/dashboards/operations.json").read_text(encoding="utf-8"))
    (panel,) = (one for one in board["panels"] if one["title"] == title)
    return str(panel["targets"][0]["expr"])


def hasty_rules() -> dict[str, Any]:
    """The alert rules, each of which fires at once."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    for rule in found["groups"][0]["rules"]:
        rule.pop("for", None)
    return found


def asked_for() -> set[str]:
    """The metrics of all rules and panels."""
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "deploy/grafana/dashboards").iterdir()]
    asked = [one["expr"] for board in boards for panel in board["panels"] for one in panel["targets"]]
    asked += [rule["expr"] for rule in hasty_rules()["groups"][0]["rules"]]
    return {name for one in asked for name in metrics_of(one)}


def metrics_of(expression: str) -> set[str]:
    """What is left of an expression without texts, labels, durations, functions and words of the language."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - {"and", "or", "unless", "bool", "offset"}


def jobs_of_compose(targets: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """What compose.yaml's Prometheus looks at, at these addresses instead of its own, by name of the job."""
    found = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    assert {one["job_name"] for one in found} == set(targets)
    of_compose = ("dns_sd_configs", "static_configs")
    kept = [{key: value for key, value in one.items() if key not in of_compose} for one in found]
    return [{**one, "static_configs": [{"targets": targets[one["job_name"]]}]} for one in kept]


class Prometheus:
    """A server that looks at these targets every second, and at the rules."""

    def __init__(self, folder: Path, services: list[str], broker: str, vhost: str) -> None:
        port = free_port()
        jobs = jobs_of_compose({"kontaktpflege": services, "rabbitmq": [broker]})
        # Other tests' queues stand on the same broker, in vhosts of their own.
        own = [{"source_labels": ["vhost"], "regex": re.escape(vhost), "action": "keep"}]
        (plugin,) = (one for one in jobs if one["job_name"] == "rabbitmq")
        plugin["metric_relabel_configs"] = own
        (folder / "alerts.yml").write_text(yaml.safe_dump(hasty_rules()), encoding="utf-8")
        often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        settings = {"global": often, "rule_files": [str(folder / "alerts.yml")], "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def value(self, expression: str) -> float | None:
        """The one value that an expression has now; None: none yet."""
        try:
            answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=5)
            found = answer.raise_for_status().json()["data"]["result"]
        except httpx.HTTPError:  # it still starts, and says so in plain words
            return None
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def names(self) -> set[str]:
        """Every metric that it has seen."""
        return set(httpx.get(f"{self.url}/api/v1/label/__name__/values", timeout=5).json()["data"])

    def broken_rules(self) -> list[str]:
        """Rules that could not be evaluated, or have not been yet."""
        (group,) = httpx.get(f"{self.url}/api/v1/rules", timeout=5).json()["data"]["groups"]
        return [rule["name"] for rule in group["rules"] if rule["health"] != "ok"]

    def alerts_since(self, moment: float) -> set[str]:
        """What has fired since then."""
        asked = {"query": "ALERTS", "start": moment, "end": time.time(), "step": "1s"}
        answer = httpx.get(f"{self.url}/api/v1/query_range", params=asked, timeout=5).json()
        return {one["metric"]["alertname"] for one in answer["data"]["result"]}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._log.close()


@pytest.fixture
def metrics_url(servers: Mapping[str, str]) -> str:
    assert servers.get("TEST_AMQP_METRICS_URL"), "give TEST_AMQP_METRICS_URL too: RabbitMQ's plugin rabbitmq_prometheus"
    return servers["TEST_AMQP_METRICS_URL"]


@pytest.fixture
def watched(distributed_stack: Stack, metrics_url: str, tmp_path: Path) -> Iterator[tuple[Stack, Prometheus]]:
    """A stack whose every role has a process and a port for its figures; the mailer is not started yet."""
    stack = distributed_stack
    stack.load_many(ORDERS)
    ports = {}
    for role in ("scheduler", "evaluator", "mailer", "console", "public", "mailbox"):
        ports[role] = str(free_port())
    for role in ("scheduler", "evaluator", "console"):
        stack.start(role, KP_HEALTH_PORT=ports[role])
    stack.start("public", KP_HEALTH_PORT=ports["public"], KP_PUBLIC_PORT="0", KP_LINK_KEYS="x" * 32)
    # Nobody is there: it goes on looking.
    stack.start("mailbox", KP_HEALTH_PORT=ports["mailbox"], KP_IMAP_URL="imap://u:p@127.0.0.1:9")
    (tmp_path / "prometheus").mkdir()
    vhost = urlsplit(stack.environment["BROKER_URL"]).path.removeprefix("/")
    services = [f"127.0.0.1:{port}" for port in ports.values()]
    prometheus = Prometheus(tmp_path / "prometheus", services, urlsplit(metrics_url).netloc, vhost)
    stack.environment["MAILER_PORT"] = ports["mailer"]
    yield stack, prometheus
    prometheus.close()


def test_the_depth_on_the_dashboard_is_that_of_the_command_line(
    watched: tuple[Stack, Prometheus], smtp: MailServer
) -> None:
    stack, prometheus = watched
    assert stack.answer("job", "run", JOB, "--on", "2026-11-23")["orders"] == ORDERS

    def depth() -> int:
        (found,) = (one["messages"] for one in stack.answer("queues")["queues"] if one["queue"] == QUEUE)
        return -1 if found is None else int(found)  # a broker that is slow to answer is asked again

    stack.wait_for(lambda: depth() == ORDERS, 60, "the whole dispatch in the queue")
    asked = expression_of("Letters waiting for a mailer")
    stack.wait_for(lambda: prometheus.value(asked) == ORDERS, 60, "the depth on the dashboard")
    alive = 'max(kontaktpflege_services{role="scheduler"})'
    stack.wait_for(lambda: prometheus.value(alive) == 1, 30, "the scheduler's sign of life")
    # One letter is on the wire for long, and its mailer holds some messages: those no longer wait.
    smtp.oracle.rate = 0.05
    slow = {"KP_SMTP_CONNECTIONS": "1", "KP_SMTP_FINAL_TIMEOUT_SECONDS": "60", "KP_REPLY_LEASE_SECONDS": "60"}
    stack.start("mailer", KP_HEALTH_PORT=stack.environment["MAILER_PORT"], KP_CLAIM_BATCH="10", **slow)
    held = f'sum(rabbitmq_queue_messages_unacked{{queue="{QUEUE}"}})'
    stack.wait_for(lambda: (prometheus.value(held) or 0) > 0, 60, "messages that the mailer holds")
    stack.wait_for(lambda: prometheus.value(asked) == depth() < ORDERS, 60, "the depth without them")
    assert depth() > 0
    smtp.oracle.rate = None
    stack.wait_for(lambda: len(smtp.accepted) == ORDERS, 90, "the letters")
    stack.wait_for(lambda: prometheus.value(asked) == depth() == 0, 60, "an empty queue on the dashboard")
    sent = 'sum(kontaktpflege_mails_total{outcome="sent",smtp_class="2"})'
    stack.wait_for(lambda: prometheus.value(sent) == ORDERS, 30, "the letters sent on the dashboard")
    # A scrape that a loaded machine keeps waiting for a second counts as down until the next one.
    everybody = 'count(up{job="kontaktpflege"} == 1)'
    stack.wait_for(lambda: prometheus.value(everybody) == 6, 30, "figures of everybody")


def test_a_healthy_run_has_every_figure_that_is_asked_for_and_wakes_nobody(
    watched: tuple[Stack, Prometheus], smtp: MailServer
) -> None:
    stack, prometheus = watched
    stack.start("mailer", KP_HEALTH_PORT=stack.environment["MAILER_PORT"])
    ready = "count(up == 1) == 7 and count(kontaktpflege_ready == 1) == 6"
    stack.wait_for(lambda: prometheus.value(ready) is not None, 90, "figures of everybody")
    stack.wait_for(lambda: prometheus.value("count(ALERTS)") is None, 60, "the end of the alerts of the start")
    began = time.time() + 1
    assert stack.answer("job", "run", JOB, "--on", "2026-11-23")["orders"] == ORDERS
    stack.wait_for(lambda: len(smtp.accepted) == ORDERS, 90, "the letters")
    told = "max(kontaktpflege_sent_today)"
    stack.wait_for(lambda: prometheus.value(told) == ORDERS, 60, "what the scheduler tells of the letters")
    assert asked_for() - prometheus.names() == set()
    assert {"up", "rabbitmq_queue_messages_ready", "kontaktpflege_commit_seconds_bucket"} < asked_for()
    assert prometheus.broken_rules() == []
    assert prometheus.alerts_since(began) == set()
    stack.kill("mailer")
    stack.wait_for(lambda: "KontaktpflegeUnreachable" in prometheus.alerts_since(began), 30, "the mailer's alert")
