"""One dispatch as a trace: from the scheduler's tick to the mail server's reply and its settlement (I22)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import traces
from shared.db.engine import Database
from shared.db.tables import metadata
from tests.services.running import DEADLINE, running, settings_for, until
from tests.services.world import JOB, MORNING, World
from tests.smtp_oracle import SmtpOracle

#: Just before the job's send moment: one tick makes the plan, a later one releases it.
BEFORE_EIGHT = MORNING + timedelta(hours=1, seconds=-1)
ONE = "A1,,Mustermann,erika@bewerbung.example,Neu,"
#: Every step of a letter that goes out, indented under the step it belongs to, in the order of their beginnings.
WHOLE_FLOW = """
tick
  record runs
  job due
    evaluate
      recipients
      plan
      release
      write order ready
        deliver
          claim
          compose
          send
            intent
          settle
"""


class Tree:
    """Finished spans by trace, each with what began within it."""

    def __init__(self, spans: Sequence[ReadableSpan]) -> None:
        self.spans = sorted(spans, key=lambda span: span.start_time or 0)
        self._by_id = {span.context.span_id: span for span in self.spans if span.context}

    def roots(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.parent is None or span.parent.span_id not in self._by_id]

    def children(self, of: ReadableSpan) -> list[ReadableSpan]:
        return [span for span in self.spans if span.parent and of.context and span.parent.span_id == of.context.span_id]

    def walk(self, root: ReadableSpan, depth: int = 0) -> Iterator[tuple[int, ReadableSpan]]:
        """The root and all under it, depth first."""
        yield depth, root
        for child in self.children(root):
            yield from self.walk(child, depth + 1)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def drawn(self, root: ReadableSpan) -> str:
        """The trace as people read it: names, what is told, milliseconds from its beginning and for how long."""
        lines = []
        for depth, span in self.walk(root):
            after = ((span.start_time or 0) - (root.start_time or 0)) / 1e6
            lasted = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
            told = " ".join(f"{key.removeprefix('kontaktpflege.')}={value}" for key, value in told_by(span).items())
            status = (
                "" if span.status.is_ok or span.status.description is None else f"  ERROR {span.status.description}"
            )
            name = f"{'  ' * depth}{span.name}"
            lines.append(f"{name:32} {after:9.1f} ms  {lasted:7.1f} ms  {told}{status}")
        return "\n".join([f"trace {trace_of(root):032x}", *lines])


def told_by(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None and span.context.trace_id
    return span.context.trace_id


def shape(tree: Tree, root: ReadableSpan) -> str:
    return "\n" + "".join(f"{'  ' * depth}{span.name}\n" for depth, span in tree.walk(root))


@contextmanager
def recording() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with traces.recorded(traces.provider_for("all", SimpleSpanProcessor(exporter))):
        yield exporter


@pytest.fixture
async def postgres_world(postgres_url: str, tmp_path: Path) -> AsyncIterator[World]:
    database = Database(postgres_url, pool_size=12)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield World(database, tmp_path)
    await database.close()


async def traced(
    world: World,
    oracle: SmtpOracle,
    broker_url: str,
    applicants: Sequence[str],
    ends: Callable[[dict[str, str]], bool],
    **settings: Any,
) -> Tree:
    """What the services tell of one dispatch at eight, on the real broker, until its orders have ended."""
    await world.begin(*applicants)
    world.clock.set(BEFORE_EIGHT)
    with recording() as exporter:
        async with running(world, settings_for(world.folder, oracle.url, **settings), broker_url=broker_url):
            await until(world, ends)
        # The mailer has drained: whatever began has ended.
        return Tree(exporter.get_finished_spans())


async def test_i22_the_whole_flow_is_one_trace_in_its_order_on_rabbitmq_and_postgresql(
    postgres_world: World, amqp_url: str, tmp_path: Path
) -> None:
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        tree = await traced(postgres_world, oracle, amqp_url, [ONE], lambda found: set(found.values()) == {"sent"})
        assert len(oracle.mails) == 1
    (letter,) = tree.named("deliver")
    (root,) = [root for root in tree.roots() if letter in [span for _, span in tree.walk(root)]]
    print(tree.drawn(root))
    assert shape(tree, root) == WHOLE_FLOW
    spans = [span for _, span in tree.walk(root)]
    # One trace id, and no other span has it.
    assert {trace_of(span) for span in spans} == {trace_of(root)}
    assert len([span for span in tree.spans if trace_of(span) == trace_of(root)]) == len(spans)
    # The order in which they are drawn is the order in which they began.
    starts = [span.start_time or 0 for span in spans if span.name != "record runs"]
    assert starts == sorted(starts)
    by_name = {span.name: span for span in spans}
    assert told_by(by_name["release"]) == {"kontaktpflege.orders": 1}
    assert told_by(by_name["recipients"]) == {"kontaktpflege.recipients": 1}
    assert told_by(by_name["send"]) == {"kontaktpflege.outcome": "sent", "kontaktpflege.smtp_class": "2"}
    assert told_by(letter)["kontaktpflege.outcome"] == "sent"
    (row,) = await postgres_world.rows()
    assert told_by(letter)["kontaktpflege.order"] == row["id"]
    assert {told_by(by_name[name])["kontaktpflege.run"] for name in ("tick", "evaluate")} == {row["run_id"]}
    assert all(span.status.description is None for span in spans)
    # The answer of the mail server comes within the sending, the settlement after it, and the letter ends last.
    sending, settling, intent = by_name["send"], by_name["settle"], by_name["intent"]
    assert (intent.end_time or 0) <= (sending.end_time or 0) <= (settling.start_time or 0)
    assert (settling.end_time or 0) <= (letter.end_time or 0)


#: How the mail server treats each of them, and what the trace of their letter ends with.
FATES = {
    "gut": (None, "sent", "2", None, None),
    "nein": ("refuse_rcpt_550", "refused", "5", "RCPT TO", "refused RCPT TO 5xx"),
    "still": ("stored_then_close", "unclear", None, None, "unclear"),
}


def by_name(address: str, _attempt: int) -> str | None:
    fate = FATES.get(address.partition("@")[0])
    return fate[0] if fate else None


async def test_i22_what_fails_or_is_unclear_ends_as_an_error_and_names_nobody(
    postgres_world: World, amqp_url: str, tmp_path: Path
) -> None:
    people = [f"Bew{number},,Familie{name},{name}@geheim.example,Neu," for number, name in enumerate(FATES)]
    settled = {"Bew0": "sent", "Bew1": "failed", "Bew2": "unclear"}
    async with SmtpOracle(tmp_path / "ledger", by_name) as oracle:
        tree = await traced(postgres_world, oracle, amqp_url, people, lambda found: found == settled)
    letters = {told_by(span)["kontaktpflege.order"]: span for span in tree.named("deliver")}
    rows = {row["external_id"]: row["id"] for row in await postgres_world.rows()}
    for (_, outcome, smtp_class, stage, error), order in zip(FATES.values(), sorted(rows.values()), strict=True):
        letter = letters[order]
        print(tree.drawn(letter))
        told = told_by(letter)
        assert told["kontaktpflege.outcome"] == outcome
        assert (told.get("kontaktpflege.smtp_class"), told.get("kontaktpflege.stage")) == (smtp_class, stage)
        assert letter.status.description == error and letter.status.is_ok is (error is None)
        (sending,) = [span for span in tree.children(letter) if span.name == "send"]
        assert sending.status.description == error
    assert len({trace_of(letter) for letter in letters.values()}) == 1
    words = "".join(span.to_json() for span in tree.spans).lower()
    assert "kontaktpflege.order" in words
    personal = ["geheim", "familie", "@", "bew0", "no such user", "hr@", "weber", JOB.lower(), "guten tag", *FATES]
    assert [word for word in personal if word in words] == []


async def test_a_letter_that_waited_for_its_next_try_has_a_trace_of_its_own(
    postgres_world: World, amqp_url: str, tmp_path: Path
) -> None:
    def greylist(address: str, attempt: int) -> str | None:
        return "defer_rcpt_450" if "@bewerbung" in address and attempt == 1 else None

    async with SmtpOracle(tmp_path / "ledger", greylist) as oracle:
        tree = await traced(postgres_world, oracle, amqp_url, [ONE], lambda found: set(found.values()) == {"sent"})
    first, second = tree.named("deliver")
    assert [told_by(span)["kontaktpflege.outcome"] for span in (first, second)] == ["deferred", "sent"]
    assert told_by(first)["kontaktpflege.order"] == told_by(second)["kontaktpflege.order"]
    assert trace_of(first) != trace_of(second)
    # The sweep rang the second time.
    (root,) = [root for root in tree.roots() if second in tree.children(root)]
    assert root.name == "write order ready"


async def not_here(*_: Any) -> None:
    """An evaluator that does not come to ring: the scheduler's sweep does."""


@pytest.mark.parametrize("rings", ["evaluator", "scheduler"])
async def test_i22_of_many_letters_the_first_are_traced(world: World, tmp_path: Path, rings: str) -> None:
    people = [f"M{number},,Nr{number},m{number}@x.example,Neu," for number in range(7)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(traces, "LETTERS_TRACED", 3)
        if rings == "scheduler":
            patched.setattr("services.evaluator.evaluate._ring", not_here)
        async with SmtpOracle(tmp_path / "ledger") as oracle:
            tree = await traced(
                world, oracle, "memory://", people, lambda found: list(found.values()).count("sent") == len(people)
            )
            assert len(oracle.mails) == len(people)
    (ringing,) = tree.named("write order ready")
    assert told_by(ringing)["kontaktpflege.orders"] == len(people)
    first = sorted(row["id"] for row in await world.rows())[:3]
    assert sorted(told_by(span)["kontaktpflege.order"] for span in tree.children(ringing)) == first
    assert len(tree.named("deliver")) == 3


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_traceidratio"])
async def test_opentelemetrys_own_sampler_decides(world: World, tmp_path: Path, sampler: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OTEL_TRACES_SAMPLER", sampler)
        patched.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
        async with SmtpOracle(tmp_path / "ledger") as oracle:
            tree = await traced(world, oracle, "memory://", [ONE], lambda found: set(found.values()) == {"sent"})
    assert tree.spans == []


class Broken(SpanProcessor):
    """Fails at whatever it is given."""

    def __init__(self) -> None:
        self.asked = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.asked += 1
        if span.name in ("deliver", "intent"):
            raise RuntimeError("begin")

    def on_end(self, span: ReadableSpan) -> None:
        self.asked += 1
        raise RuntimeError("end")


async def test_i4_traces_that_break_change_no_letters_fate(world: World, tmp_path: Path) -> None:
    await world.begin(ONE)
    world.clock.set(BEFORE_EIGHT)
    broken = Broken()
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        with traces.recorded(traces.provider_for("all", broken)):
            async with running(world, settings_for(tmp_path, oracle.url)):
                found = await until(world, lambda found: bool(found) and set(found.values()) <= {"sent", "unclear"})
        assert found == {"A1": "sent"} and len(oracle.mails) == 1
    assert broken.asked > 0


async def given_back(world: World, settings: Any, oracle: SmtpOracle) -> None:
    async with running(world, settings):
        end = time.monotonic() + DEADLINE
        while not oracle.connections:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)


async def test_i19_letters_that_a_mailer_gives_back_say_so(world: World, tmp_path: Path) -> None:
    people = [f"G{number},,Nr{number},g{number}@x.example,Neu," for number in range(6)]
    await world.begin(*people)
    world.clock.set(BEFORE_EIGHT)
    async with SmtpOracle(tmp_path / "ledger", rate=2.0) as oracle:
        with recording() as exporter:
            await given_back(world, settings_for(tmp_path, oracle.url, KP_SMTP_CONNECTIONS=1), oracle)
        tree = Tree(exporter.get_finished_spans())
    outcomes = [told_by(span)["kontaktpflege.outcome"] for span in tree.named("deliver")]
    assert len(outcomes) == 6 and set(outcomes) == {"sent", "given back"}
    assert len(oracle.mails) == outcomes.count("sent")
