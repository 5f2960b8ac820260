"""What the scheduler tells Prometheus of rows and queues."""

from datetime import timedelta

from prometheus_client import REGISTRY

from services.scheduler.state_metrics import tell_state
from shared.bus.topology import ROUTES
from shared.db.order_commands import block
from tests.services.world import World


async def oldest_age(world: World) -> float | None:
    await tell_state(world.database, world.clock)
    return REGISTRY.get_sample_value("kontaktpflege_order_oldest_age_seconds", {"state": "queued"})


async def test_a_letter_that_waits_for_its_next_try_waits_for_no_mailer(world: World) -> None:
    first, second = await world.queued("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    released = world.clock.now()
    world.clock.set(released + timedelta(minutes=10))
    assert await oldest_age(world) == 600
    await world.send(second)
    (held,) = (await world.claim(first)).orders
    await world.intend(held)
    await world.settle(held, "queued", reason="451 later", not_before=released + timedelta(hours=1))
    world.clock.set(released + timedelta(minutes=59))
    assert await oldest_age(world) == 0
    world.clock.set(released + timedelta(minutes=61))
    assert await oldest_age(world) == 61 * 60


async def test_letters_that_a_person_has_stopped_are_told(world: World) -> None:
    async def told() -> float | None:
        await tell_state(world.database, world.clock)
        return REGISTRY.get_sample_value("kontaktpflege_orders", {"state": "blocked"})

    first, _ = await world.queued("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    assert await told() == 0
    now = world.clock.now()
    await block(world.database, first, scope="letter", reason="wartet auf Post", until=None, author="a", now=now)
    assert await told() == 1


async def test_queue_depths_are_told_and_gone_while_there_is_no_broker(world: World) -> None:
    def told() -> list[float | None]:
        labels = [{"queue": route.queue} for route in ROUTES]
        return [REGISTRY.get_sample_value("kontaktpflege_queue_messages", label) for label in labels]

    await world.begin()
    world.bus.waiting = 7
    await world.sweep()
    assert told() == [7, 7]
    world.bus.ready = False
    await world.sweep()
    assert told() == [None, None]
