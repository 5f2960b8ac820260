"""Doorbells that reach a mailer before it may claim: its clock is behind that of whoever rang."""

from datetime import timedelta

from shared.db.tables import write_orders
from tests.services.setup_files import row
from tests.services.world import World

LATE = timedelta(seconds=3)


def _move(world: World, shift: timedelta) -> None:
    world.clock.advance(shift)


async def test_c44_i18_a_letter_whose_doorbell_came_too_early_is_rung_for_again(world: World) -> None:
    (order,) = await world.queued()
    _move(world, -LATE)
    assert not (await world.claim(order)).orders
    # The scheduler's clock again: not once a second while the mailer cannot but refuse.
    _move(world, LATE + timedelta(seconds=1))
    await world.sweep()
    assert not world.bus.taken()
    _move(world, LATE)
    await world.sweep()
    assert [message.order_id for message in world.bus.taken()] == [order]
    _move(world, -LATE)
    assert [claimed.id for claimed in (await world.claim(order)).orders] == [order]


async def test_a_letter_that_was_put_off_keeps_its_time_when_a_second_doorbell_comes(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    later = world.clock.now() + timedelta(minutes=5)
    await world.settle(held, "queued", reason="greylisted", not_before=later)
    assert not (await world.claim(order)).orders
    known = await row(world.database, write_orders, id=order)
    assert (known["not_before"], known["ring_at"]) == (later, later)
