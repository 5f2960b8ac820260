"""What a user may do on a node, and how its topology differs from ours, seen without changing anything."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from shared.bus.interface import QueueDepth
from shared.bus.rabbitmq_connection import BrokerChannel, BrokerConnection, BrokerRefused
from shared.bus.topology import DEAD_LETTER_EXCHANGE, EXCHANGE, ROUTES, entities

_ACCESS_REFUSED, _NOT_FOUND, _ARGUMENTS_DIFFER = 403, 404, 406
#: No queue is bound by it: what is published with it goes nowhere.
_NOWHERE = "kontaktpflege.doctor"

Request = Callable[[BrokerChannel], Awaitable[Any]]


@dataclass(slots=True)
class Topology:
    """A node as it is: the queues that there are, and what is not as it should be."""

    address: str
    queues: list[QueueDepth] = field(default_factory=list)
    #: "queue X" or "exchange X".
    missing: list[str] = field(default_factory=list)
    #: The same, with the broker's words about the first difference.
    different: dict[str, str] = field(default_factory=dict)
    #: What the role needs and the user may not do.
    forbidden: list[str] = field(default_factory=list)


async def examine(connection: BrokerConnection, role: str) -> Topology:
    """Looks at exchanges and queues, and at the rights that the service `role` needs; raises Unavailable.

    Arguments are compared only where the user may declare, rights looked at only for a single service.
    """
    seen = Topology(connection.address)
    for exchange in (DEAD_LETTER_EXCHANGE, EXCHANGE):
        given = {"exchange": exchange.name, "exchange_type": exchange.type, "durable": exchange.durable}
        await _look_at(connection, seen, "exchange", exchange.name, given)
    for queue in entities():
        declared: Any = queue
        given = {"queue": queue.name, "durable": queue.durable, "arguments": declared.queue_arguments}
        if answer := await _look_at(connection, seen, "queue", queue.name, given):
            seen.queues.append(QueueDepth(queue.name, answer.message_count, answer.consumer_count))
    if not seen.missing:
        await _try_rights(connection, seen, role)
    return seen


async def _look_at(connection: BrokerConnection, seen: Topology, kind: str, name: str, given: dict[str, Any]) -> Any:
    """The broker's answer about something that is there."""

    def declaring(arguments: dict[str, Any]) -> Request:
        return lambda channel: channel.call(getattr(channel.pika, f"{kind}_declare"), **arguments)

    answer = await _tried(connection, declaring({kind: name, "passive": True}))
    if isinstance(answer, BrokerRefused):
        seen.missing.append(f"{kind} {name}")
        return None
    # Declaring what is there with the same arguments changes nothing, with others it is refused.
    again = await _tried(connection, declaring(given))
    if isinstance(again, BrokerRefused) and again.code == _ARGUMENTS_DIFFER:
        seen.different[f"{kind} {name}"] = again.reason
    return answer


async def _try_rights(connection: BrokerConnection, seen: Topology, role: str) -> None:
    if any(role in route.senders for route in ROUTES) and await _is_forbidden(connection, _publish_nowhere):
        seen.forbidden.append(f"publish to the exchange {EXCHANGE.name}")
    for route in ROUTES:
        if role == route.reader and await _is_forbidden(connection, _consume_in_vain(route.queue)):
            seen.forbidden.append(f"read the queue {route.queue}")


async def _publish_nowhere(channel: BrokerChannel) -> Any:
    channel.pika.basic_publish(EXCHANGE.name, _NOWHERE, b"")
    # A refusal closes the channel before this is answered.
    return await channel.call(channel.pika.basic_qos, prefetch_count=1)


def _consume_in_vain(queue: str) -> Request:
    # The right to read is looked at before the argument, which no broker takes: nothing is delivered.
    return lambda channel: channel.call(
        channel.pika.basic_consume,
        queue=queue,
        on_message_callback=lambda *_: None,
        arguments={"x-priority": "doctor"},
    )


async def _is_forbidden(connection: BrokerConnection, request: Request) -> bool:
    answer = await _tried(connection, request)
    return isinstance(answer, BrokerRefused) and answer.code == _ACCESS_REFUSED


async def _tried(connection: BrokerConnection, request: Request) -> Any:
    """The answer to one request on a channel of its own, or the refusal."""
    channel = await connection.channel()
    try:
        return await request(channel)
    except BrokerRefused as exc:
        if exc.code not in (_ACCESS_REFUSED, _NOT_FOUND, _ARGUMENTS_DIFFER):
            raise
        return exc
    finally:
        await channel.close()
