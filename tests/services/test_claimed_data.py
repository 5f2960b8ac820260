"""What changes while T1 looks at an order: the letter's data as T1 read them are what T2 and T3 compare (I10, C52)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.db.tables import applications, events, form_letters, write_orders
from shared.db.write_orders import claims
from shared.db.write_orders.claims import ClaimedOrder
from tests.services.setup_files import apply, row, rows
from tests.services.test_manual_orders import ONE, STATUSES, create
from tests.services.world import SETUP, World

Meanwhile = Callable[[World], Awaitable[Any]]

#: SQLite has one writer at a time: nothing can change during a claim.
TWO_WRITERS = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


async def claim_while(world: World, monkeypatch: pytest.MonkeyPatch, order: int, meanwhile: Meanwhile) -> ClaimedOrder:
    """T1, with another transaction that commits between its reading and its writing."""
    real = claims._judge

    async def judge(*args: Any) -> Any:
        found = await real(*args)
        await asyncio.wait_for(meanwhile(world), 10)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(claims, "_judge", judge)
        (held,) = (await world.claim(order)).orders
    return held


async def _other_address(world: World) -> None:
    await world.applicants("A1,,Eins,neu@x.example,Neu,")


async def _other_status(world: World) -> None:
    await world.applicants("A1,,Eins,a1@x.example,Pool,")


async def _other_letter(world: World) -> None:
    await apply(world.database, STATUSES.replace("Kommen Sie", "Kommen Sie bald"), now=world.clock.now())


@TWO_WRITERS
async def test_i10_c52_an_address_changed_during_the_claim_gets_no_letter_and_the_old_one_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = await world.queued()
    held = await claim_while(world, monkeypatch, order, _other_address)
    found = await row(world.database, write_orders, id=order)
    assert found["email"] == held.email == "a1@x.example"
    assert await world.intend(held) == set()


@TWO_WRITERS
async def test_d40_a_status_changed_during_the_claim_is_not_overwritten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = await world.queued(setup=SETUP.replace("letter: Brief", "letter: Ende"))
    held = await claim_while(world, monkeypatch, order, _other_status)
    changed = (await row(world.database, applications, external_id="A1"))["status_id"]
    assert await world.intend(held) == {order}
    await world.settle(held, "sent")
    assert (await row(world.database, applications, external_id="A1"))["status_id"] == changed
    assert "status_not_set" in {e["action"] for e in await rows(world.database, events, noun="order")}


@TWO_WRITERS
async def test_i12_the_version_that_is_written_is_the_one_that_is_pinned(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.begin(ONE, setup=STATUSES)
    order = await create(world, "invitation", "Einladung")
    await world.turn()
    held = await claim_while(world, monkeypatch, order, _other_letter)
    assert (await row(world.database, form_letters, name="Einladung"))["version"] == held.letter_version + 1
    assert (await row(world.database, write_orders, id=order))["letter_version"] == held.letter_version
