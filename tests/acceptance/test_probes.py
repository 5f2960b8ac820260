"""What a platform asks real services: /livez, /readyz, /metrics, while they work and while they drain."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.mail_server import MailServer
from tests.stacks import Stack

BIRTHDAY = "Geburtstagsgrüße"
#: Names, each with a label, that dashboards of others rely on.
PROMISED = {
    "kontaktpflege_orders": "state",
    "kontaktpflege_order_oldest_age_seconds": "state",
    "kontaktpflege_mails_total": "outcome",
    "kontaktpflege_queue_messages": "queue",
}
#: What no metric may have as a label: whoever reads dashboards is to learn nothing about people.
_PERSONAL = re.compile(r"@|<|job_name|application|recruiter")


@pytest.fixture
def running(embedded_stack: Stack) -> Iterator[tuple[Stack, str]]:
    """All services of one process with the sample, and where they answer."""
    embedded_stack.load_sample()
    embedded_stack.start("all", KP_HEALTH_PORT="0")
    embedded_stack.wait_for(lambda: embedded_stack.has_logged("health_listens"), 30, "the probes")
    yield embedded_stack, address_in(embedded_stack.logs())


def address_in(logs: str) -> str:
    (address,) = re.findall(r'"health_listens", "address": "([^"]+)"', logs)
    return str(address)


def metrics_of(address: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels."""
    text = httpx.get(f"{address}/metrics").text
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_the_figures_are_those_of_the_rows(running: tuple[Stack, str], smtp: MailServer) -> None:
    stack, address = running
    stack.wait_for(lambda: httpx.get(f"{address}/readyz").status_code == 200, 30, "readiness")
    assert httpx.get(f"{address}/livez").json() == {"alive": True}
    stack.cli("job", "run", BIRTHDAY, "--yes", "--wait", "120")
    sent = len(stack.answer("order", "list", "--state", "sent"))
    assert sent == len(smtp.accepted) > 0
    found = metrics_of(address)
    assert found[("kontaktpflege_mails_total", (("outcome", "sent"), ("smtp_class", "2")))] == sent
    assert found[("kontaktpflege_send_seconds_count", ())] == sent
    for step in ("claim", "intent", "settlement"):
        assert found[("kontaktpflege_commit_orders_sum", (("step", step),))] >= sent
    assert found[("kontaktpflege_released_orders_total", ())] >= 0
    assert found[("kontaktpflege_journal_writable", (("role", "mailer"),))] == 1
    assert found[("kontaktpflege_ready", ())] == 1
    wanted = stack.answer("queues")["orders"]

    def told() -> bool:
        now = metrics_of(address)
        planned, of_today = now.get(("kontaktpflege_orders", (("state", "planned"),))), ("kontaktpflege_sent_today", ())
        return planned == wanted["planned"] and now.get(of_today) == sent

    stack.wait_for(told, 40, "what the scheduler tells of the rows")
    assert found[("kontaktpflege_jobs", (("status", "on"),))] + found[("kontaktpflege_jobs", (("status", "off"),))] == 3
    found = metrics_of(address)
    for promised, label in PROMISED.items():
        assert any(name == promised and label in dict(labels) for name, labels in found), promised
    told_of = {dict(labels)["queue"] for name, labels in found if name == "kontaktpflege_queue_messages"}
    assert told_of == {one["queue"] for one in stack.answer("queues")["queues"]}
    names = {name for name, _ in found if name.startswith("kontaktpflege_")}
    assert len(names) > 30
    assert not any(_PERSONAL.search(str(label)) for _, labels in found for label in labels)


def test_i19_while_it_drains_it_is_not_ready_and_it_ends_with_0(running: tuple[Stack, str], smtp: MailServer) -> None:
    stack, address = running
    stack.wait_for(lambda: httpx.get(f"{address}/readyz").status_code == 200, 30, "readiness")
    smtp.oracle.rate = 5.0
    stack.cli("job", "run", BIRTHDAY, "--yes")
    stack.wait_for(lambda: len(smtp.accepted) > 0, 30, "the first letter")
    ((_, process),) = stack.processes
    process.terminate()
    seen: set[str] = set()
    while process.poll() is None:
        try:
            answer = httpx.get(f"{address}/readyz", timeout=1)
        except httpx.HTTPError:
            break
        seen |= set(answer.json()["reasons"]) if answer.status_code == 503 else set()
        time.sleep(0.02)
    assert process.wait(60) == 0
    assert "draining" in seen
    assert stack.answer("order", "list", "--state", "unclear") == []


def test_a_taken_port_is_told_and_letters_go_out_all_the_same(embedded_stack: Stack, tmp_path: Path) -> None:
    with MailServer(tmp_path / "other.jsonl") as other:
        port = other.oracle.port
        embedded_stack.load_sample()
        embedded_stack.start("all", KP_HEALTH_PORT=str(port))
        embedded_stack.wait_for(lambda: "health_cannot_listen" in embedded_stack.logs(), 30, "the complaint")
        embedded_stack.cli("job", "run", BIRTHDAY, "--yes", "--wait", "120")
    assert len(embedded_stack.answer("order", "list", "--state", "sent")) > 0
