"""A real Prometheus looks at real services and at RabbitMQ's own plugin: its figures are those of the command line."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.mail_server import MailServer
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


class Prometheus:
    """A server that looks at these targets every second."""

    def __init__(self, folder: Path, services: list[str], broker: str, vhost: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        # Other tests' queues stand on the same broker, in vhosts of their own.
        own = [{"source_labels": ["vhost"], "regex": re.escape(vhost), "action": "keep"}]
        jobs = [
            {"job_name": "kontaktpflege", "static_configs": [{"targets": services}]},
            {
                "job_name": "rabbitmq",
                "metrics_path": "/metrics/per-object",
                "static_configs": [{"targets": [broker]}],
                "metric_relabel_configs": own,
            },
        ]
        settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def value(self, expression: str) -> float | None:
        """The one value that an expression has now; None: none yet."""
        try:
            answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=5).json()
        except httpx.HTTPError:
            return None
        found = answer["data"]["result"] if answer["status"] == "success" else []
        return float(found[0]["value"][1]) if len(found) == 1 else None

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
    """A stack whose every role has a port for its figures; the mailer is not started yet."""
    stack = distributed_stack
    stack.load_many(ORDERS)
    ports = {}
    for role in ("scheduler", "evaluator", "mailer"):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports[role] = str(probe.getsockname()[1])
    for role in ("scheduler", "evaluator"):
        stack.start(role, KP_HEALTH_PORT=ports[role])
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
    assert prometheus.value('max(kontaktpflege_services{role="scheduler"})') == 1
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
    assert prometheus.value('count(up{job="kontaktpflege"} == 1)') == 3
