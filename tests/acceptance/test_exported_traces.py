"""Traces of real processes, at a collector: switched on by OpenTelemetry's own environment, one across all services."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.mail_server import MailServer
from tests.stacks import Stack

JOB, LETTERS = "Prozesshänger", 12
#: Set up in the morning; the services start after the send moment, which the scheduler catches up with.
MORNING, AFTERWARDS = "2026-11-23T07:00:00+01:00", "2026-11-23T09:35:00+01:00"
#: Who tells of what.
STEPS = {
    *(("kontaktpflege-scheduler", name) for name in ("tick", "record runs", "job due")),
    *(("kontaktpflege-evaluator", name) for name in ("evaluate", "recipients", "plan", "release", "write order ready")),
    *(("kontaktpflege-mailer", name) for name in ("deliver", "claim", "compose", "send", "intent", "settle")),
}


class Collector:
    """Takes what processes export by OTLP over HTTP: (service, span name, trace id, attribute values)."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, bytes, list[str]]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, body: bytes) -> None:
        for of_service in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {one.key: one.value.string_value for one in of_service.resource.attributes}
            for scope in of_service.scope_spans:
                for span in scope.spans:
                    values = [str(one.value) for one in span.attributes] + [span.status.message]
                    self.spans.append((told["service.name"], span.name, span.trace_id, values))


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join(10)
    found.server.server_close()


def test_three_processes_write_one_trace_from_the_tick_to_the_reply(
    distributed_stack: Stack, smtp: MailServer, collector: Collector
) -> None:
    stack = distributed_stack
    # Each clock begins with its process. None is to take a doorbell for lost, and no letter is to be due later than the
    # mailer looks.
    stack.environment |= {"KP_CLOCK_START": MORNING, "KP_RING_AGAIN_SECONDS": "120"}
    stack.load_many(LETTERS)
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "KP_CLOCK_START": AFTERWARDS}
    stack.start("mailer", **traced)
    stack.wait_for(lambda: '"started"' in stack.logs(), 30, "the mailer's start")
    stack.start("scheduler", "evaluator", **traced)
    stack.wait_for(lambda: stack.states() == {"sent": LETTERS}, 60, "the letters")
    # What is not exported yet goes out as they end.
    assert set(stack.stop().values()) == {0}
    assert len(smtp.accepted) == LETTERS
    (trace,) = {of for _, name, of, _ in collector.spans if name == "deliver"}
    found = [(service, name, values) for service, name, of, values in collector.spans if of == trace]
    assert {(service, name) for service, name, _ in found} == STEPS
    assert [name for _, name, _ in found].count("send") == LETTERS
    words = " ".join(value for _, _, values in found for value in values)
    assert not [word for word in ("@", "firma.example", "Muster", JOB) if word in words]


def test_an_absent_collector_holds_up_no_letter(embedded_stack: Stack, smtp: MailServer) -> None:
    stack = embedded_stack
    stack.load_many(LETTERS)
    stack.start(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    stack.cli("job", "run", JOB, "--on", "2026-11-23", "--yes", "--wait", "60")
    assert len(smtp.accepted) == LETTERS
    assert set(stack.stop().values()) == {0}
    assert "Traceback" not in stack.logs()
