"""A queue that the broker lists but cannot serve is made anew by its reader (decision 26)."""

import time
from collections.abc import Sequence
from typing import Any

from shared.bus.rabbitmq_connection import BrokerChannel, BrokerConnection, BrokerRefused
from shared.bus.rabbitmq_queues import declare_weaker

#: The broker's own failure (AMQP 541); after how many of them in a row, over how long, a queue counts as broken.
_INTERNAL_ERROR, BROKEN_AFTER, BROKEN_SECONDS = 541, 3, 5.0
_NOT_FOUND = 404


class QueueRepair:
    """Counts how often the broker failed to serve one queue, and makes the queue anew when that is no accident.

    Nothing is lost by it: messages are hints, and what was in the queue is rung for again from the rows.
    """

    def __init__(self, nodes: Sequence[str], queue: str, log: Any) -> None:
        self._one_node, self._queue, self._log = len(nodes) == 1, queue, log
        #: In a row: failures since the queue was last made anew, and how often that was.
        self._breaks, self._broken_since, self._remade = 0, 0.0, 0

    def served(self) -> None:
        """The broker serves the queue."""
        self._breaks, self._remade = 0, 0

    def broke(self, refused: BrokerRefused) -> None:
        """The broker refused to declare or to serve a queue."""
        if refused.code == _INTERNAL_ERROR and refused.queue in ("", self._queue):
            self._broken_since = self._broken_since if self._breaks else time.monotonic()
            self._breaks += 1

    async def when_broken(self, connection: BrokerConnection) -> None:
        """Deletes and declares the queue if it counts as broken; raises Unavailable.

        In a cluster the queue may just lack the majority of its nodes: there an operator decides.
        """
        if not self._is_broken():
            return
        self._breaks = 0
        if not self._one_node:
            self._say_broken("the broker cannot serve it; delete it unless a majority of its nodes is to come back")
            return
        try:
            await self._make_anew(connection)
        except BrokerRefused as exc:
            self._say_broken(exc.reason)

    def _is_broken(self) -> bool:
        # One that breaks as soon as it is made anew has not lost its files: no need to look for long.
        if self._remade == 1 and self._breaks:
            return True
        return self._breaks >= BROKEN_AFTER and time.monotonic() - self._broken_since >= BROKEN_SECONDS

    async def _make_anew(self, connection: BrokerConnection) -> None:
        channel = await connection.channel()
        if await self._is_read(channel):
            # Somebody else has made it anew meanwhile.
            await channel.close()
            return
        if channel.is_open:
            await channel.call(channel.pika.queue_delete, queue=self._queue)
        else:
            channel = await connection.channel()
        reason = "the broker could not serve it"
        if self._remade:
            await declare_weaker(channel, self._queue)
            reason = "the broker cannot confirm its dead letters; restart the broker, then delete the queue"
        self._remade += 1
        self._log.error("queue_remade", action="queue_remade", queue=self._queue, reason=reason)
        await channel.close()

    async def _is_read(self, channel: BrokerChannel) -> bool:
        """Whether somebody consumes from the queue. The channel is closed by the question if there is no such queue."""
        try:
            there = await channel.call(channel.pika.queue_declare, queue=self._queue, passive=True)
        except BrokerRefused as exc:
            # RabbitMQ forgets a queue that it cannot start; or another reader has just deleted it.
            if exc.code != _NOT_FOUND:
                raise
            return False
        return bool(there.consumer_count)

    def _say_broken(self, reason: str) -> None:
        self._log.error("queue_broken", action="queue_broken", queue=self._queue, reason=reason)
