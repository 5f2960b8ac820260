"""The transport that an address asks for."""

from typing import Any

from shared.bus.embedded import EmbeddedBus
from shared.bus.interface import Bus, QueueDepth
from shared.bus.rabbitmq import RabbitBus, examine_topology
from shared.bus.rabbitmq import look as look_at_rabbitmq
from shared.bus.rabbitmq_examination import Topology
from shared.errors import InvalidSettings, Unavailable


def open_bus(url: str, log: Any) -> Bus:
    """The bus of an address, not yet open; raises InvalidSettings for a transport that is not offered."""
    return EmbeddedBus(log) if _scheme(url) == "memory" else RabbitBus(url, log)


async def look(url: str, timeout: float = 3.0) -> list[QueueDepth]:
    """Queue depths asked of the broker itself, once; raises Unavailable where that is not possible.

    Raises InvalidSettings for a transport that is not offered.
    """
    if _scheme(url) == "memory":
        raise Unavailable("broker", "memory://", "it lives in the process of `run all`")
    return await look_at_rabbitmq(url, timeout)


async def examine(url: str, role: str) -> Topology | None:
    """The broker's topology, and the rights for a role, as `doctor` asks for them; None for memory://.

    Raises Unavailable, InvalidSettings.
    """
    return None if _scheme(url) == "memory" else await examine_topology(url, role)


def _scheme(url: str) -> str:
    scheme = url.partition(":")[0].lower()
    if scheme not in ("amqp", "amqps", "memory"):
        raise InvalidSettings(
            f"setting BROKER_URL: {scheme}:// is not offered; use amqp:// or amqps:// (RabbitMQ) or memory:// "
            "(one process)"
        )
    return scheme
