"""When a process traces, what it makes of a traceparent, and what traces cost where nobody wants them."""

import asyncio
import gc
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from timeit import repeat
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.mailer.letter_span import begin_letter, ending, follow_settlement, tell_outcome
from services.mailer.outcome import (
    ConnectFailure,
    Deferred,
    NotHandedOver,
    Outcome,
    Refused,
    Sent,
    Stage,
    Unclear,
    judge_connect,
    judge_reply,
    judge_trouble,
)
from services.mailer.outcome import Reply as ServersReply
from shared import traces
from shared.bus.interface import Delivery
from shared.bus.messages import WriteOrderReady, headers_of, traceparent_in
from shared.db.write_orders.outcomes import Settlement

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
#: Microseconds that a letter may cost for being traceable while it is not traced; sending one takes some 450.
OFF_MICROSECONDS = 10.0


class Log:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))

    warning = info


@pytest.fixture
def finished() -> Iterator[InMemorySpanExporter]:
    """Spans of this process, while the test runs."""
    exporter = InMemorySpanExporter()
    with traces.recorded(traces.provider_for("test", SimpleSpanProcessor(exporter))):
        yield exporter


def the_one(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def test_a_trace_goes_on_where_its_message_says(finished: InMemorySpanExporter) -> None:
    traces.begin("deliver", f"00-{TRACE}-{PARENT}-01").end()
    span = the_one(finished)
    assert span.context and f"{span.context.trace_id:032x}" == TRACE
    assert span.parent and f"{span.parent.span_id:016x}" == PARENT


def test_what_a_sender_did_not_sample_is_not_recorded_and_says_so(finished: InMemorySpanExporter) -> None:
    span = traces.begin("evaluate", f"00-{TRACE}-{PARENT}-00")
    assert span.traceparent.startswith(f"00-{TRACE}-") and span.traceparent.endswith("-00")
    span.end()
    assert finished.get_finished_spans() == ()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "00",
        "not a traceparent",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\r\nbcc: x",
        "0" * 100_000,
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(finished: InMemorySpanExporter, wrong: str | None) -> None:
    traces.begin("deliver", wrong).end()
    span = the_one(finished)
    assert span.parent is None and span.context and f"{span.context.trace_id:032x}" != TRACE


@pytest.mark.parametrize("headers", [None, {}, {"traceparent": 7}, {"traceparent": b"00-"}, {"traceparent": ["x"]}])
def test_headers_without_a_text_have_no_traceparent(headers: Any) -> None:
    assert traceparent_in(headers) is None


def test_an_exception_is_told_by_its_class_only(finished: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="erika"), traces.span("evaluate"), traces.step("plan"):
        raise ValueError("erika@bewerbung.example")
    plan, evaluate = finished.get_finished_spans()
    assert (plan.name, evaluate.name) == ("plan", "evaluate")
    assert plan.status.description == evaluate.status.description == "ValueError"
    assert "erika" not in plan.to_json() + evaluate.to_json()


def test_a_step_outside_of_a_trace_is_none(finished: InMemorySpanExporter) -> None:
    with traces.step("recipients"):
        pass
    assert finished.get_finished_spans() == ()


WORDS = "<erika@bewerbung.example> unknown"


@pytest.mark.parametrize(
    ("outcome", "told", "error"),
    [
        (Sent(250, WORDS), {"outcome": "sent", "smtp_class": "2"}, None),
        (
            judge_reply(Stage.RCPT, ServersReply(550, WORDS)),
            {"outcome": "refused", "stage": "RCPT TO", "smtp_class": "5"},
            "refused RCPT TO 5xx",
        ),
        (
            judge_reply(Stage.DATA, ServersReply(451, WORDS)),
            {"outcome": "deferred", "stage": "DATA", "smtp_class": "4"},
            None,
        ),
        (judge_trouble(Stage.DOT, WORDS), {"outcome": "unclear"}, "unclear"),
        (judge_trouble(Stage.BODY, WORDS), {"outcome": "deferred", "stage": "body"}, None),
        (judge_connect(ConnectFailure.TLS, WORDS), {"outcome": "deferred", "stage": "TLS"}, None),
        # What is no stage of ours may be anything, also a person's data.
        (Refused(f"{WORDS}: not valid"), {"outcome": "refused"}, "refused"),
        (Deferred(WORDS), {"outcome": "deferred"}, None),
        (Unclear(WORDS), {"outcome": "unclear"}, "unclear"),
        (NotHandedOver(WORDS), {"outcome": "not handed over"}, None),
    ],
)
def test_every_outcome_is_told_without_the_servers_words(
    finished: InMemorySpanExporter, outcome: Outcome | NotHandedOver, told: dict[str, str], error: str | None
) -> None:
    with traces.span("send") as sending:
        tell_outcome(sending, outcome)
    span = the_one(finished)
    assert dict(span.attributes or {}) == {f"kontaktpflege.{key}": value for key, value in told.items()}
    assert span.status.description == error
    assert "erika" not in span.to_json()


def test_a_dispatch_traces_what_is_left_of_its_limit(finished: InMemorySpanExporter) -> None:
    with traces.span("write order ready") as ringing:
        sampled = [[int(one[-2:], 16) & 1 for one in ringing.traceparents(3, left)] for left in (5, 2, 0)]
    assert sampled == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]


OFF = """
import sys
import services.cli.app, services.cli.composition, services.cli.running, services.console.service
from shared import traces
with traces.exported("all", None):
    assert not traces.on()
    with traces.span("evaluate") as span, traces.step("plan"), span.step("x"):
        span.note(order=1)
    assert span.traceparent == "" and span.traceparents(3, 3) == ()
print(*(name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "google", "requests")))
"""


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_unless_asked_for_nothing_of_it_is_imported(environment: dict[str, str]) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", OFF],
        env={**plain, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "protocol grpc is not offered"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin is not offered"),
    ],
)
def test_what_is_not_offered_is_told_and_nothing_is_traced(environment: dict[str, str], reason: str) -> None:
    log = Log()
    with traces.exported("mailer", log, environment):
        assert not traces.on()
    ((event, fields),) = log.said
    assert event == "traces_off" and reason in fields["reason"]


def test_without_the_extra_the_log_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    log = Log()
    with traces.exported("mailer", log, ENDPOINT):
        assert not traces.on()
    ((event, fields),) = log.said
    assert event == "traces_off" and "install kontaktpflege[otel]" in fields["reason"]


def test_a_value_that_the_library_refuses_keeps_no_service_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    log = Log()
    with traces.exported("mailer", log, ENDPOINT):
        assert not traces.on()
    ((event, fields),) = log.said
    assert event == "traces_off" and "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in fields["reason"]


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
def test_a_header_that_cannot_be_read_is_told_without_its_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    library = logging.getLogger("opentelemetry.util.re")
    monkeypatch.setenv(variable, "authorization: Bearer s3cret-token")
    log = Log()
    try:
        for _ in range(2):  # each time that traces are opened
            library.setLevel(logging.NOTSET)
            with caplog.at_level(logging.DEBUG), traces.exported("mailer", log, ENDPOINT):
                assert traces.on()
    finally:
        library.setLevel(logging.NOTSET)
    assert [event for event, _ in log.said] == ["traces_header_unreadable", "traces_on"] * 2
    assert "OTEL_EXPORTER_OTLP_HEADERS is name=value" in log.said[0][1]["hint"]
    assert "s3cret" not in caplog.text + str(log.said)


@pytest.mark.parametrize("variable", ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"])
def test_a_process_has_its_services_name_unless_the_environment_has_another(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    assert traces.provider_for("mailer").resource.attributes["service.name"] == "kontaktpflege-mailer"
    monkeypatch.setenv(variable, "pflege" if variable == "OTEL_SERVICE_NAME" else "service.name=pflege")
    assert traces.provider_for("mailer").resource.attributes["service.name"] == "pflege"


def test_a_collector_that_never_answers_does_not_keep_a_service_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "LAST_SPANS_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with traces.exported("mailer", Log()):
            traces.begin("deliver").end()
            began = time.monotonic()
        # The library itself would wait ten seconds for the answer.
        assert time.monotonic() - began < 5
    assert not traces.on()


def letter_without_traces(
    doorbells: list[Delivery], settled: "asyncio.Future[bool]", settlement: Settlement, release: Callable[[], None]
) -> None:
    """Everything about traces that one letter passes, from its doorbell to its settlement."""
    headers_of((), 0)
    traceparent_in(None)
    span = begin_letter(1, doorbells, 0)
    ending(span, release)
    with span.step("compose"):
        pass
    with span.step("send", kind="client") as sending:
        with sending.step("intent"):
            pass
        tell_outcome(sending, SENT)
    follow_settlement(span, settlement, settled)


SENT = Sent(250, "ok")


def test_traces_that_are_off_cost_a_letter_next_to_nothing() -> None:
    loop = asyncio.new_event_loop()
    settled: asyncio.Future[bool] = loop.create_future()
    loop.close()
    given = [Delivery(WriteOrderReady(1), 1)], settled, Settlement(1, 1, "sent", datetime.now(UTC)), gc.enable
    assert not traces.on()
    best = min(repeat(lambda: letter_without_traces(*given), number=2000, repeat=9)) / 2000 * 1e6
    print(f"{best:.2f} microseconds a letter")
    assert best < OFF_MICROSECONDS
