"""A connection to the broker that comes back by itself: pika has no recovery of its own."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shared.bus.rabbitmq_connection import BrokerConnection
from shared.errors import Unavailable
from shared.retry import wait_until_available

#: For one attempt on one node.
CONNECT_SECONDS = 10.0
#: Before the first attempt after a loss, at most: a cluster's clients do not all come back at one moment.
_FIRST_PAUSE_SECONDS = 0.5

Prepare = Callable[[BrokerConnection], Awaitable[None]]


class BrokerLink:
    """Keeps one connection up.

    `prepare` runs on each new connection (channels, topology, consumers) before it counts as up;
    `when_lost` runs once it is gone. Anything wrong with a channel is dealt with by a new connection.
    """

    def __init__(self, nodes: Sequence[str], name: str, prepare: Prepare, when_lost: Callable[[], None], log: Any):
        self._nodes, self._name, self._log = list(nodes), name, log
        self._prepare, self._when_lost = prepare, when_lost
        self._connection: BrokerConnection | None = None
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connection(self) -> BrokerConnection | None:
        """The connection that is up now."""
        return self._connection if self._up.is_set() else None

    async def open(self) -> None:
        """Starts to keep the connection and returns when it is up for the first time."""
        self._keeper = asyncio.create_task(self._keep())
        up = asyncio.create_task(self._up.wait())
        try:
            await asyncio.wait({self._keeper, up}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.close()
            raise
        finally:
            up.cancel()
        if self._keeper.done():
            await self._keeper

    async def close(self) -> None:
        """Ends the connection in order."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        if self._connection is not None:
            self._went_down()
            await self._connection.close()

    async def _keep(self) -> None:
        while True:
            try:
                await self._keep_once()
            except Exception:
                # A bug must not leave the service deaf for ever: it is told, and the connection is made anew.
                self._log.exception("broker_link_broken", action="broker_link_broken", link=self._name)
                self._went_down()
            await asyncio.sleep(random.uniform(0, _FIRST_PAUSE_SECONDS))  # noqa: S311 - no secret

    async def _keep_once(self) -> None:
        what = f"broker ({self._name})"
        connection = self._connection = await wait_until_available(self._connect, self._log, what)
        self._up.set()
        self._log.info("broker_connected", action="broker_connected", link=self._name, address=connection.address)
        # Shielded: the reason must stay readable when this task is cancelled.
        reason = await asyncio.shield(connection.lost)
        self._log.warning("broker_lost", action="broker_lost", link=self._name, reason=reason)
        self._went_down()

    def _went_down(self) -> None:
        if self._up.is_set():
            self._up.clear()
            self._when_lost()

    async def _connect(self) -> BrokerConnection:
        failure = Unavailable("broker", "", "no node is named")
        for node in random.sample(self._nodes, len(self._nodes)):
            try:
                connection = await BrokerConnection.to(node, self._name, CONNECT_SECONDS)
            except Unavailable as exc:
                failure = exc
                continue
            try:
                await self._prepare(connection)
            except BaseException as exc:
                await connection.close()
                if not isinstance(exc, Unavailable):
                    raise
                failure = exc
            else:
                return connection
        raise failure
