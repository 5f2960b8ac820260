"""Letters composed before a sender is free: the same letters, few of them, and none lost when the mailer ends."""

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from sqlalchemy import func, select

from services.mailer.ahead import MOST_BYTES, Composed, Holding, compose_ahead
from services.mailer.deliver import Deliverer
from services.mailer.group_commit import GroupCommit
from shared.db.tables import attempts, write_orders
from tests.services.running import running, settings_for, until
from tests.services.setup_files import row
from tests.services.test_handing_over import deliverer_of, recorded
from tests.services.world import SETUP, World
from tests.smtp_oracle import SmtpOracle

FOUR = tuple(f"A{number},,Eins{number},a{number}@x.example,Neu," for number in range(4))


async def composed_and_cut_short(
    sending: Deliverer, orders: list[int], composed: Composed
) -> tuple[list[Holding], list[Holding], list[Holding]]:
    """What is composed, in hand and still only claimed when composing ends with enough composed."""
    found, writing = await sending.claim(orders)
    assert writing is not None
    claimed: asyncio.Queue[Holding] = asyncio.Queue()
    in_hand: deque[Holding] = deque()
    for order in found.orders:
        claimed.put_nowait(Holding(order, writing, lambda: None))
    composing = asyncio.create_task(compose_ahead(sending.letters, claimed, composed, in_hand))
    await turns()
    composing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await composing
    ready = [one for _ in range(composed.qsize()) if (one := composed.get_nowait()) is not None]
    return ready, list(in_hand), [claimed.get_nowait() for _ in range(claimed.qsize())]


async def test_i19_composing_ahead_stops_when_there_is_no_room_and_loses_no_letter_at_the_end(
    world: World, tmp_path: Path
) -> None:
    orders = await world.queued(*FOUR)
    async with deliverer_of(world, tmp_path) as (sending, _, _oracle):
        ready, in_hand, rest = await composed_and_cut_short(sending, orders, always_waited_for(1))
        # Two for each sender.
        assert [len(ready), len(in_hand), len(rest)] == [2, 1, 1]
        assert [one.order.id for one in (*ready, *in_hand, *rest)] == sorted(orders)
        # The same bytes as a sender would have composed (I12).
        assert ready[0].mail == sending.letters.write(ready[0].order, ready[0].writing)


async def test_a_second_letter_for_each_sender_is_composed_only_while_t2_is_committed(
    world: World, tmp_path: Path
) -> None:
    orders = await world.queued(*FOUR, *(line.replace("A", "B").replace("Eins", "Zwei") for line in FOUR[:2]))
    async with deliverer_of(world, tmp_path) as (sending, _, _oracle):
        found, writing = await sending.claim(orders)
        assert writing is not None
        claimed: asyncio.Queue[Holding] = asyncio.Queue()
        for order in found.orders:
            claimed.put_nowait(Holding(order, writing, lambda: None))
        committed = asyncio.Event()

        async def commit(items: Sequence[int]) -> list[int]:
            await committed.wait()
            return list(items)

        intents: GroupCommit[int, int] = GroupCommit(commit, 0)
        composed = Composed(1, intents)
        tasks = [asyncio.create_task(intents.run())]
        tasks.append(asyncio.create_task(compose_ahead(sending.letters, claimed, composed, deque())))
        await turns()
        assert composed.qsize() == 1
        # One that is taken is replaced at once.
        composed.get_nowait()
        await turns()
        assert composed.qsize() == 1
        waiting = intents.enqueue(1)
        await turns()
        assert composed.qsize() == 2
        committed.set()
        await waiting
        # The one that was in hand comes yet.
        for left in (2, 1):
            composed.get_nowait()
            await turns()
            assert composed.qsize() == left
        assert claimed.qsize() == 2
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def always_waited_for(senders: int) -> Composed:
    """For senders that always wait for T2."""
    intents: GroupCommit[int, int] = GroupCommit(AsyncMock(), 0)
    composed = Composed(senders, intents)
    intents.under_way = True
    return composed


async def turns() -> None:
    """Enough turns of the loop for whoever waits for nothing but room."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_of_large_letters_one_at_most_is_composed_ahead_and_all_are_sent(world: World, tmp_path: Path) -> None:
    long = "Zeile " * (MOST_BYTES // 6 + 1)
    orders = await world.queued(*FOUR, setup=SETUP.replace("Guten Tag {{", f"{long} {{{{"))
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        ready, _, _ = await composed_and_cut_short(sending, orders, always_waited_for(2))
        assert [one.mail is not None for one in ready] == [True, False, False, False]
        for one in ready:
            await recorded(sending, one)
        assert len(oracle.mails) == 4 and all(len(mail.content) > MOST_BYTES for mail in oracle.mails)


async def test_i15_a_letter_that_cannot_be_composed_ahead_fails_at_its_sender_with_its_reason(
    world: World, tmp_path: Path
) -> None:
    orders = await world.queued(*FOUR, setup=SETUP.replace("applicant.last_name", "applicant.title"))
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        ready, _, _ = await composed_and_cut_short(sending, orders, always_waited_for(2))
        assert [one.mail for one in ready] == [None, None, None, None]
        settling = asyncio.create_task(sending.settlements.run())
        await recorded(sending, ready[0])
        await sending.settlements.idle()
        settling.cancel()
        assert oracle.mails == []
    failed = await row(world.database, write_orders, id=orders[0])
    assert failed["state"] == "failed" and "applicant.title" in failed["reason"]


async def test_i1_i2_a_mailer_with_many_connections_claims_more_at_a_time_and_sends_each_once(
    world: World, tmp_path: Path
) -> None:
    await world.begin(*(f"A{number},,Nr{number},a{number}@x.example,Neu," for number in range(450)))
    await world.run()
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        settings = settings_for(tmp_path, oracle.url, KP_SMTP_CONNECTIONS=50, KP_LEASE_SECONDS=60)
        async with running(world, settings):
            await until(world, lambda found: set(found.values()) == {"sent"})
        wanted = sorted(f"a{number}@x.example" for number in range(450))
        assert sorted(mail.recipient for mail in oracle.mails) == wanted
    together = select(func.count()).select_from(attempts).group_by(attempts.c.claimed_at)
    async with world.database.read() as connection:
        assert max((await connection.execute(together)).scalars()) > 200
