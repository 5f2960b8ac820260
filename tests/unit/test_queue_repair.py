"""When a reader makes its queue anew, and when it leaves it alone (decision 26): the decisions, without a broker."""

from types import SimpleNamespace
from typing import Any

import pytest

from shared.bus import rabbitmq_repair
from shared.bus.rabbitmq_connection import BrokerRefused
from shared.bus.rabbitmq_repair import QueueRepair
from shared.bus.topology import ROUTES

QUEUE = ROUTES[1].queue


class Node:
    """A connection to a broker that answers as told and notes what it was asked; a refusal costs the channel."""

    def __init__(self, *, consumers: int | None = 0, delete: int | None = None) -> None:
        """`consumers`: None if there is no such queue. `delete`: the code with which deleting is refused."""
        self.consumers, self.delete = consumers, delete
        self.done: list[str] = []

    async def channel(self) -> "Channel":
        return Channel(self)


class Channel:
    """A channel of the node."""

    def __init__(self, node: Node) -> None:
        self.node, self.is_open = node, True
        names = ("queue_declare", "queue_delete", "queue_bind", "exchange_declare")
        self.pika = SimpleNamespace(**{name: name for name in names})

    async def call(self, method: str, **given: Any) -> Any:
        assert self.is_open
        if given.get("passive"):
            if self.node.consumers is None:
                self.refuse(404)
            return SimpleNamespace(consumer_count=self.node.consumers)
        if method == "queue_delete" and self.node.delete:
            self.refuse(self.node.delete)
        if method == "queue_declare":
            method = "declared weaker" if "x-dead-letter-strategy" not in given["arguments"] else "declared"
        self.node.done.append(method)
        return None

    def refuse(self, code: int) -> None:
        self.is_open = False
        raise BrokerRefused("node", code, "no")

    async def close(self) -> None:
        self.is_open = False


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def error(self, event: str, **_: Any) -> None:
        self.said.append(event)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_repair, "BROKEN_SECONDS", 0.0)


def broken(times: int, nodes: int = 1, queue: str = QUEUE) -> tuple[QueueRepair, Log]:
    log = Log()
    repair = QueueRepair(["amqp://node"] * nodes, QUEUE, log)
    breaks(repair, times, queue)
    return repair, log


def breaks(repair: QueueRepair, times: int, queue: str = QUEUE) -> None:
    for _ in range(times):
        refused = BrokerRefused("node", 541, "INTERNAL_ERROR")
        refused.queue = queue
        repair.broke(refused)


async def look(repair: QueueRepair, node: Node) -> list[str]:
    """What is done to the node."""
    node.done.clear()
    await repair.when_broken(node)  # type: ignore[arg-type]
    return [one for one in node.done if one not in ("exchange_declare", "queue_bind")]


async def test_c10_a_break_or_two_change_nothing() -> None:
    repair, log = broken(2)
    assert (await look(repair, Node()), log.said) == ([], [])


async def test_c10_the_third_break_makes_the_queue_anew_and_the_fourth_weaker() -> None:
    repair, log = broken(3)
    node = Node()
    assert await look(repair, node) == ["queue_delete"]
    breaks(repair, 1)
    assert await look(repair, node) == ["queue_delete", "declared weaker"]
    assert log.said == ["queue_remade", "queue_remade"]


async def test_c10_a_queue_that_is_served_starts_from_the_beginning() -> None:
    repair, _ = broken(3)
    node = Node()
    assert await look(repair, node) == ["queue_delete"]
    repair.served()
    breaks(repair, 1)
    assert await look(repair, node) == []


async def test_c10_a_queue_that_the_broker_could_not_start_and_has_forgotten_is_made_weaker() -> None:
    repair, _ = broken(3)
    gone = Node(consumers=None)
    assert await look(repair, gone) == []
    breaks(repair, 1)
    assert await look(repair, gone) == ["declared weaker"]


async def test_c10_a_queue_that_somebody_reads_is_left_alone() -> None:
    repair, log = broken(3)
    assert (await look(repair, Node(consumers=1)), log.said) == ([], [])


async def test_c10_anothers_broken_queue_is_none_of_ours() -> None:
    repair, log = broken(9, queue=ROUTES[0].queue)
    assert (await look(repair, Node()), log.said) == ([], [])


async def test_c10_in_a_cluster_an_operator_decides() -> None:
    repair, log = broken(3, nodes=3)
    assert (await look(repair, Node()), log.said) == ([], ["queue_broken"])


async def test_c10_who_may_not_delete_says_so_each_time() -> None:
    repair, log = broken(3)
    assert (await look(repair, Node(delete=403)), log.said) == ([], ["queue_broken"])
    breaks(repair, 3)
    assert (await look(repair, Node(delete=403)), log.said) == ([], ["queue_broken"] * 2)
