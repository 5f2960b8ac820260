"""Traces (OpenTelemetry, an extra): one dispatch from the scheduler's tick to the mail server's reply.

Off unless OpenTelemetry's own environment variables ask for them: then nothing of it is imported, and everything here
returns at once. The only importer of opentelemetry. A span tells ids, counts, states and the class of a reply, never a
name, an address or a server's words (I22). Whatever breaks in a span is kept from who made it: no letter's fate hangs
on its trace.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span as LibrarySpan

#: So many of a dispatch's letters, or of those that are rung for together, take the trace along: it may have a million.
LETTERS_TRACED = 200
#: Seconds that a process which ends waits for its last spans to be taken.
LAST_SPANS_SECONDS = 3.0
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

Kind = Literal["internal", "producer", "consumer", "client"]
Told = int | str | bool


class _OpenTelemetry:
    """OpenTelemetry, imported, with the tracer of this process."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import context, trace  # noqa: PLC0415 - only where traces are asked for
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self.context, self.trace = context, trace
        self.tracer = provider.get_tracer("kontaktpflege", version("kontaktpflege"))
        self._propagator = TraceContextTextMapPropagator()

    def after(self, traceparent: str | None) -> "Context":
        """Where the trace of a message goes on; that of a new trace where it has none, or one that cannot be read."""
        return self._propagator.extract({"traceparent": traceparent} if traceparent else {})

    def begin(
        self, name: str, within: "Context", start: int | None, kind: Kind, told: Mapping[str, Told | None]
    ) -> "Span":
        """A span that has begun."""
        kinds = self.trace.SpanKind
        attributes = {f"kontaktpflege.{key}": value for key, value in told.items() if value is not None}
        try:
            return Span(self.tracer.start_span(name, within, kinds[kind.upper()], attributes, start_time=start))
        except Exception:
            return NOTHING


class _Switch:
    """Whether this process traces."""

    tracing: _OpenTelemetry | None = None


class Span:
    """One step of a trace; without traces, or in one that is not sampled, it does nothing. Times in ns since 1970."""

    __slots__ = ("_span", "recording")

    def __init__(self, span: "LibrarySpan | None" = None) -> None:
        self._span = span
        self.recording = span is not None and span.is_recording()

    @property
    def traceparent(self) -> str:
        """What a message carries so that its reader goes on from here (W3C Trace Context); empty without traces."""
        if self._span is None:
            return ""
        here = self._span.get_span_context()
        return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"

    def traceparents(self, count: int, traced: int) -> Sequence[str]:
        """Those of so many doorbells for orders; the ones beyond `traced` say that they are not sampled."""
        first = self.traceparent
        if not first:
            return ()
        return [first] * min(count, traced) + [f"{first[:-2]}00"] * (count - traced)

    def begin(self, name: str, *, start: int | None = None, kind: Kind = "internal", **told: Told | None) -> "Span":
        """A child that has begun, now unless `start` says when."""
        tracing = _Switch.tracing
        if self._span is None or tracing is None:
            return NOTHING
        return tracing.begin(name, tracing.trace.set_span_in_context(self._span), start, kind, told)

    def step(self, name: str, *, kind: Kind = "internal") -> AbstractContextManager["Span"]:
        """A child for as long as it is entered; an exception that leaves it is told by its class."""
        return _ended(self.begin(name, kind=kind)) if self.recording else _OFF

    def note(self, **told: Told | None) -> None:
        """Tells ids, counts, states; what is None is not told."""
        if self.recording and self._span is not None:
            with suppress(Exception):
                self._span.set_attributes(
                    {f"kontaktpflege.{k}": value for k, value in told.items() if value is not None}
                )

    def fail(self, reason: str) -> None:
        """Ends as an error; `reason` is a class of reasons, never what was said."""
        tracing = _Switch.tracing
        if self.recording and self._span is not None and tracing is not None:
            with suppress(Exception):
                self._span.set_status(tracing.trace.StatusCode.ERROR, reason)

    def end(self, at: int | None = None) -> None:
        """It is over, now unless `at` says when."""
        if self.recording and self._span is not None:
            with suppress(Exception):
                self._span.end(at)

    @contextmanager
    def current(self) -> Iterator[None]:
        """While it is entered, `step` makes children of this span, in this task and what it awaits."""
        tracing = _Switch.tracing
        if self._span is None or tracing is None:
            yield
            return
        with tracing.trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
            yield


NOTHING = Span()
_OFF = nullcontext(NOTHING)


def on() -> bool:
    """Whether this process traces."""
    return _Switch.tracing is not None


def begin(
    name: str,
    traceparent: str | None = None,
    *,
    start: int | None = None,
    kind: Kind = "internal",
    **told: Told | None,
) -> Span:
    """A span that goes on from a message's trace, or begins a new one."""
    tracing = _Switch.tracing
    return tracing.begin(name, tracing.after(traceparent), start, kind, told) if tracing else NOTHING


def span(
    name: str, traceparent: str | None = None, *, kind: Kind = "internal", **told: Told | None
) -> AbstractContextManager[Span]:
    """The same for as long as it is entered: `step` makes its children meanwhile."""
    tracing = _Switch.tracing
    return _current(tracing.begin(name, tracing.after(traceparent), None, kind, told)) if tracing else _OFF


def step(name: str, *, kind: Kind = "internal", **told: Told | None) -> AbstractContextManager[Span]:
    """A child of the span that is current here; nothing where there is none."""
    tracing = _Switch.tracing
    if tracing is None or not tracing.trace.get_current_span().get_span_context().is_valid:
        return _OFF
    return _current(tracing.begin(name, tracing.context.get_current(), None, kind, told))


@contextmanager
def _current(span: Span) -> Iterator[Span]:
    with _ended(span), span.current():
        yield span


@contextmanager
def _ended(span: Span) -> Iterator[Span]:
    try:
        yield span
    except BaseException as exc:
        # Only its class: what an exception says may have a person's data in it.
        span.fail(type(exc).__name__)
        raise
    finally:
        span.end()


def provider_for(service: str, *processors: "SpanProcessor") -> "TracerProvider":
    """What makes spans in the name of a service, as the environment says, and hands them to `processors`."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    named = {"service.name": f"kontaktpflege-{service}", "service.version": version("kontaktpflege")}
    # What the environment says of the service comes last: it wins.
    resource = Resource.create(named).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


@contextmanager
def recorded(provider: "TracerProvider") -> Iterator[None]:
    """This process traces while it is entered."""
    _Switch.tracing = _OpenTelemetry(provider)
    try:
        yield
    finally:
        _Switch.tracing = None
        _within(LAST_SPANS_SECONDS, provider.shutdown)


def _within(seconds: float, work: Callable[[], None]) -> None:
    # A collector that is away or silent would be waited for much longer.
    thread = threading.Thread(target=work, name="last spans", daemon=True)
    thread.start()
    thread.join(seconds)


@contextmanager
def exported(service: str, log: Any, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Traces go where OpenTelemetry's environment variables say while it is entered; nowhere if they say nothing.

    What is wrong with them is logged: letters go out all the same.
    """
    kind = _asked_for(environ)
    provider = _opened(kind, service, environ, log) if kind else None
    if provider is None:
        yield
        return
    log.info("traces_on", action="traces_on", exporter=kind)
    with recorded(provider):
        yield


def _asked_for(environ: Mapping[str, str]) -> str | None:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    given = "otlp" if any(environ.get(name) for name in _ENDPOINTS) else "none"
    kind = environ.get("OTEL_TRACES_EXPORTER", "").strip() or given
    return None if kind == "none" else kind


class _Unreadable(logging.Filter):
    """Hears of a header that the library cannot read, and lets nobody else hear: it logs its value, a secret."""

    heard = False

    def filter(self, _: logging.LogRecord) -> bool:
        self.heard = True
        return False


@contextmanager
def _headers_kept_secret(log: Any) -> Iterator[None]:
    unreadable, library = _Unreadable(), logging.getLogger("opentelemetry.util.re")
    library.addFilter(unreadable)
    try:
        yield
    finally:
        library.removeFilter(unreadable)
        library.setLevel(logging.ERROR)
    if unreadable.heard:
        hint = "OTEL_EXPORTER_OTLP_HEADERS is name=value, several with commas between; a header that is not is left out"
        log.warning("traces_header_unreadable", action="traces_header_unreadable", hint=hint)


def _opened(kind: str, service: str, environ: Mapping[str, str], log: Any) -> "TracerProvider | None":
    protocol = next(filter(None, map(environ.get, _PROTOCOLS)), "http/protobuf")
    try:
        if kind == "otlp" and protocol == "http/protobuf":
            with _headers_kept_secret(log):
                return provider_for(service, _otlp())
        if kind == "console":
            return provider_for(service, _console())
        reason = f"OTEL_TRACES_EXPORTER={kind}" if kind != "otlp" else f"protocol {protocol}"
        reason += " is not offered; take otlp over http/protobuf (port 4318), or console"
    except ImportError as exc:
        reason = f"needs the package {exc.name or 'opentelemetry'!r}; install kontaktpflege[otel]"
    except Exception as exc:
        # A value that the library cannot use: its words name it, and nothing of ours is in them.
        reason = f"{type(exc).__name__}: {exc}"
    log.warning("traces_off", action="traces_off", reason=reason)
    return None


def _otlp() -> "SpanProcessor":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return BatchSpanProcessor(OTLPSpanExporter())


def _console() -> "SpanProcessor":
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter  # noqa: PLC0415

    return BatchSpanProcessor(ConsoleSpanExporter())
