"""What a transport must be able to do: the weakest common set of RabbitMQ and an in-process queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.bus.messages import JobDue, Message, WriteOrderReady


@dataclass(frozen=True, slots=True)
class Delivery:
    """One received message. `generation` is the channel it came on: acks of older generations are dropped.

    `traceparent`: the trace that it belongs to, as its sender gave it; nobody has looked whether it is one.
    """

    message: Message
    tag: int
    generation: int = 0
    redelivered: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How full a queue is: messages waiting and unacknowledged where known, and its consumers."""

    queue: str
    messages: int
    consumers: int


class Subscription(Protocol):
    """A running consumer of one route."""

    async def batch(self, limit: int, linger: float) -> list[Delivery]:
        """Waits for a first delivery, then up to `linger` seconds for more, `limit` at most.

        Returns an empty list only after `close()`. What cannot be decoded never appears: it is dead-lettered.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Confirms that the deliveries are dealt with; those of a lost connection are ignored (redelivered)."""
        ...

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Moves one delivery to the dead-letter queue, visibly."""
        ...

    async def close(self) -> None:
        """Stops receiving; what is unacknowledged is redelivered to others. Acks still work until the bus closes."""
        ...


class Bus(Protocol):
    """A connection to the message broker that repairs itself."""

    async def open(self) -> None:
        """Connects and declares the topology, waiting for a broker that is not there yet and saying so."""
        ...

    async def publish(self, messages: Sequence[Message], traceparents: Sequence[str] = ()) -> list[bool]:
        """Publishes and returns, message by message, whether the broker took responsibility for it.

        `traceparents`: of each message the trace that it belongs to, carried beside it; empty without traces.
        Never raises for a broker that is away or refuses: the answer is False, and the sweep rings again.
        """
        ...

    async def subscribe(self, message: type[JobDue] | type[WriteOrderReady], prefetch: int) -> Subscription:
        """Starts to receive one kind of message, at most `prefetch` unacknowledged."""
        ...

    async def depths(self) -> list[QueueDepth]:
        """The depth of every queue, dead-letter queues included; raises Unavailable."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a publish now has a chance (connected and not blocked by the broker)."""
        ...

    async def close(self) -> None:
        """Closes in order; pending publishes are answered False."""
        ...
