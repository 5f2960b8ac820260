"""Bodies on the queues: good messages that were damaged, and other JSON, delivered to the services that read them."""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from kombu import Connection

from services.evaluator.evaluate import run_evaluator
from services.mailer.service import run_mailer
from shared.bus.connect import open_bus
from shared.bus.interface import Subscription
from shared.bus.topology import EXCHANGE, ROUTES
from tests.fuzz.installation import prepare
from tests.fuzz.target import PATIENCE, Stage, Target
from tests.fuzz.values import damaged, texts, trees
from tests.services.running import settings_for
from tests.smtp_oracle import SmtpOracle

_QUEUES = [route.queue for route in ROUTES]
_NAMES = ("v", "type", "run_id", "order_id", "to")
#: Ids of the installation, and what a careless reader would take for one.
_IDS = st.one_of(st.integers(-2, 40), st.sampled_from((2**63 - 1, 2**63, 2**64, 10**400, 1.0, True, "1", [1])), trees)


class Ear:
    """The services' log: what they call unexpected is raised where the case is tried."""

    def __init__(self) -> None:
        self.broken: list[BaseException] = []

    def bind(self, **_: Any) -> "Ear":
        return self

    def exception(self, event: str, **_: Any) -> None:
        self.broken.append(sys.exc_info()[1] or AssertionError(event))

    def tell(self) -> None:
        """Raises what was heard."""
        if self.broken:
            raise AssertionError("a service calls this unexpected") from self.broken.pop()

    def info(self, *_: Any, **__: Any) -> None: ...

    debug = warning = error = info


class Listening:
    """The bus, and the subscriptions that were made at it."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self.subscriptions: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def subscribe(self, *given: Any, **named: Any) -> Subscription:
        self.subscriptions.append(await self._bus.subscribe(*given, **named))
        return self.subscriptions[-1]

    async def is_read(self) -> bool:
        """Whether every message has been answered."""
        depths = {depth.queue: depth.messages for depth in await self._bus.depths()}
        return not any(depths[name] for name in _QUEUES) and not any(one.unacked for one in self.subscriptions)


@st.composite
def _objects(draw: st.DrawFn) -> bytes:
    fields = draw(
        st.one_of(
            st.fixed_dictionaries({"v": st.just(1), "type": st.just("write_order_ready"), "order_id": _IDS}),
            st.fixed_dictionaries({"v": st.just(1), "type": st.just("job_due"), "run_id": _IDS}),
            st.dictionaries(st.one_of(st.sampled_from(_NAMES), texts), _IDS, max_size=4),
        )
    )
    if draw(st.integers(0, 3)) == 0:
        fields[draw(st.one_of(st.sampled_from(_NAMES), texts))] = draw(trees)
    return json.dumps(fields).encode()


def _cases() -> SearchStrategy[Any]:
    """Messages of a queue, a body and a trace each."""
    bodies = st.one_of(
        _objects(), damaged(_objects()), st.binary(max_size=60), trees.map(lambda one: json.dumps(one).encode())
    )
    return st.lists(st.tuples(st.sampled_from(_QUEUES), bodies, st.one_of(st.none(), texts)), min_size=1, max_size=20)


@asynccontextmanager
async def _staged(folder: Path) -> AsyncIterator[Stage]:
    installation = await prepare(folder)
    ear, stop = Ear(), asyncio.Event()
    bus = Listening(open_bus("memory://", ear))
    async with installation.copied() as database, SmtpOracle(folder / "ledger") as oracle:
        await bus.open()
        settings = settings_for(folder, oracle.url)
        services = [
            asyncio.create_task(run_mailer(database, bus, installation.clock, settings, ear, stop)),  # type: ignore[arg-type]
            asyncio.create_task(run_evaluator(database, bus, installation.clock, ear, stop)),  # type: ignore[arg-type]
        ]

        async def attempt(case: list[tuple[str, bytes, str | None]]) -> None:
            _publish(case)
            end = time.monotonic() + PATIENCE / 2
            while not await bus.is_read() or len(bus.subscriptions) < len(services):
                assert time.monotonic() < end, "messages that nobody answers"
                assert not any(one.done() for one in services), "a service has ended"
                ear.tell()
                await asyncio.sleep(0.002)
            ear.tell()
            letters = [re.findall(rb"Message-ID: (.+)", mail.content)[0] for mail in oracle.mails]
            assert len(letters) == len(set(letters)), "a letter was sent twice"

        try:
            yield Stage(_cases(), attempt)
        finally:
            stop.set()
            await asyncio.gather(*services, return_exceptions=True)
            await bus.close()


def _publish(case: list[tuple[str, bytes, str | None]]) -> None:
    with Connection("memory://") as connection:
        channel: Any = connection.channel()
        for route in ROUTES:
            channel.queue_purge(route.dead_queue)
        for queue, body, trace in case:
            headers = {} if trace is None else {"traceparent": trace}
            channel.basic_publish(
                channel.prepare_message(body, headers=headers), exchange=EXCHANGE.name, routing_key=queue
            )


MESSAGES = Target("messages", _staged)
