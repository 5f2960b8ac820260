"""Publishing with pipelined confirms: True means that the broker took responsibility for the message."""

import asyncio
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from pika import BasicProperties, DeliveryMode
from pika.channel import Channel
from pika.exceptions import AMQPError
from pika.spec import Basic

from shared.bus.messages import Message, encode, headers_of
from shared.bus.rabbitmq_connection import BrokerChannel, BrokerConnection
from shared.bus.rabbitmq_link import BrokerLink
from shared.bus.rabbitmq_queues import declare
from shared.bus.topology import EXCHANGE, route_of

#: Unconfirmed messages at most: pika's write buffer has no bound of its own.
WINDOW = 1000
#: How long a confirm may take before its message counts as not taken.
CONFIRM_SECONDS = 30.0
#: Messages written before others in the loop get their turn.
_TURN = 50


class _Batch:
    """The answers of one publish call; what is not answered counts as False."""

    def __init__(self, size: int) -> None:
        self.answers = [False] * size
        self._open = size
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, index: int, taken: bool) -> None:
        self.answers[index] = taken
        self._open -= 1
        if self._open == 0 and not self.complete.done():
            self.complete.set_result(None)


class Publisher:
    """Publishes on a connection of its own: the broker holds publishing connections back, consumers must go on."""

    def __init__(self, nodes: Sequence[str], log: Any) -> None:
        self._log = log
        self.link = BrokerLink(nodes, "publish", self._prepare, self._lost, log)
        self._channel: BrokerChannel | None = None
        self._next_tag = 1
        self._unconfirmed: dict[int, tuple[_Batch, int]] = {}
        self._returned: set[int] = set()
        self._room = asyncio.Semaphore(WINDOW)

    @property
    def ready(self) -> bool:
        """Connected, not held back by the broker, channel open."""
        connection = self.link.connection
        return bool(connection and not connection.blocked and self._channel and self._channel.is_open)

    async def publish(self, messages: Sequence[Message], traceparents: Sequence[str] = ()) -> list[bool]:
        """See Bus.publish."""
        if not messages or not self.ready:
            return [False] * len(messages)
        batch = _Batch(len(messages))
        try:
            for index, message in enumerate(messages):
                if index % _TURN == 0:
                    await asyncio.sleep(0)
                await self._take_room()
                self._send(message, headers_of(traceparents, index), batch, index)
            async with asyncio.timeout(CONFIRM_SECONDS):
                # Shielded: a timeout must not make it look complete, or its room would never be given back.
                await asyncio.shield(batch.complete)
        except TimeoutError:
            self._log.warning("confirm_timeout", action="confirm_timeout", unconfirmed=batch.answers.count(False))
        finally:
            self._give_up(batch)
        return batch.answers

    async def _take_room(self) -> None:
        if self._room.locked():
            async with asyncio.timeout(CONFIRM_SECONDS):
                await self._room.acquire()
        else:
            await self._room.acquire()

    def _send(self, message: Message, headers: dict[str, str] | None, batch: _Batch, index: int) -> None:
        tag = self._next_tag
        self._unconfirmed[tag] = batch, index
        if not self.ready or self._channel is None:
            self._settle(tag, False)
            return
        self._next_tag += 1
        try:
            self._channel.pika.basic_publish(
                exchange=EXCHANGE.name,
                routing_key=route_of(message).queue,
                body=encode(message),
                # A returned message carries no tag, only its own properties: this names it.
                properties=BasicProperties(delivery_mode=DeliveryMode.Persistent, message_id=str(tag), headers=headers),
                mandatory=True,
            )
        except AMQPError:
            self._settle(tag, False)

    def _settle(self, tag: int, taken: bool) -> None:
        waiting = self._unconfirmed.pop(tag, None)
        if waiting is not None:
            self._room.release()
            batch, index = waiting
            batch.settle(index, taken)

    def _give_up(self, batch: _Batch) -> None:
        """Forgets what of this batch is still unconfirmed: a confirm that comes later changes nothing."""
        if not batch.complete.done():
            for tag in [tag for tag, (owner, _) in self._unconfirmed.items() if owner is batch]:
                self._settle(tag, False)

    async def _prepare(self, connection: BrokerConnection) -> None:
        await declare(connection, self._log)
        channel = await connection.channel()
        channel.pika.add_on_return_callback(self._on_return)
        await channel.call(channel.pika.confirm_delivery, ack_nack_callback=self._on_confirm)
        self._channel, self._next_tag = channel, 1
        self._returned.clear()
        channel.closed.add_done_callback(lambda _: connection.end())

    def _lost(self) -> None:
        self._channel = None
        for tag in list(self._unconfirmed):
            self._settle(tag, False)

    def _on_return(self, _: Channel, method: Basic.Return, properties: BasicProperties, __: bytes) -> None:
        # Comes before the confirm of the same message, which the broker sends all the same.
        self._returned.add(int(properties.message_id or 0))
        self._log.warning("unroutable", action="unroutable", queue=method.routing_key, reason=method.reply_text)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        taken = isinstance(method, Basic.Ack)
        # Tags ascend in the order of sending, so those of a multiple confirm come first.
        up_to = takewhile(lambda tag: tag <= method.delivery_tag, self._unconfirmed)
        for tag in list(up_to) if method.multiple else [method.delivery_tag]:
            self._settle(tag, taken and tag not in self._returned)
            self._returned.discard(tag)
