"""The guards between a claim and its settlement, one by one: each test fails when its guard is taken out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog import get_logger

from services.evaluator import evaluate as evaluator
from services.mailer.ahead import Holding
from services.mailer.deliver import Deliverer, Timing
from services.mailer.high_water import HighWater
from services.mailer.journal import Journal
from services.mailer.letters import Letters
from services.mailer.outcome import Deferred
from services.mailer.service import _claimed, replay
from services.mailer.smtp import SmtpPool
from shared.bus.interface import Delivery
from shared.bus.messages import JobDue
from shared.db.column_types import lease_clock
from shared.db.engine import Database
from shared.db.tables import attempts, contact_entries, dispatch_runs, write_orders
from shared.errors import Unavailable
from tests.services.running import running, settings_for, until
from tests.services.setup_files import row
from tests.services.smtp_sending import pool_for
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle


async def deliver_one(sending: Deliverer, order: int) -> None:
    """Claims an order, delivers its letter and waits for the settlement."""
    found, writing = await sending.claim([order])
    assert writing is not None
    settling = asyncio.create_task(sending.settlements.run())
    await recorded(sending, Holding(found.orders[0], writing, lambda: None))
    await sending.settlements.idle()
    settling.cancel()


async def recorded(sending: Deliverer, holding: Holding) -> None:
    """Delivers a letter and waits until the journal has what became of it."""
    await sending.records.flushed(await sending.deliver(holding))


@asynccontextmanager
async def deliverer_of(world: World, folder: Path) -> AsyncIterator[tuple[Deliverer, Journal, SmtpOracle]]:
    """A mailer's sending path whose T2 and journal work, and whose T3 never comes."""
    journal = Journal.open(folder / "state", "first")
    async with SmtpOracle(folder / "ledger") as oracle:
        pool, timing = pool_for(oracle), Timing(60, 60, 1)
        mark = HighWater(folder / "state", "test")
        sending = Deliverer("m1", world.database, world.clock, pool, journal, Letters(None), timing, mark, get_logger())
        working = [asyncio.create_task(group.run()) for group in (sending.intents, sending.records)]
        try:
            yield sending, journal, oracle
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await pool.close()


async def test_i20_c26_what_was_accepted_is_in_the_journal_before_t3_and_sent_after_a_crash(
    world: World, tmp_path: Path
) -> None:
    (order,) = await world.queued()
    acked: list[int] = []
    async with deliverer_of(world, tmp_path) as (sending, journal, oracle):
        found, writing = await sending.claim([order])
        assert writing is not None
        await recorded(sending, Holding(found.orders[0], writing, lambda: acked.append(order)))
        assert len(oracle.mails) == 1
    # What a person needs when the mailer does not come back (D37).
    told = await row(world.database, attempts, order_id=order)
    assert told["relay"] == sending._pool.address and told["bytes"] == len(oracle.mails[0].content)
    assert told["body_hash"] == oracle.ledger[0].sha256 and told["message_id"] == oracle.ledger[0].message_id
    # Acked before T3, its doorbell would be gone and nobody would look at the order before its lease ran out.
    assert acked == [] and await world.state(order) == "sending"
    journal.close()
    await replay(world.database, Journal.open(tmp_path / "state", "second"), get_logger())
    found_again = await row(world.database, write_orders, id=order)
    assert (found_again["state"], found_again["subject"]) == ("sent", "Guten Tag")
    assert (await row(world.database, attempts, order_id=order))["outcome"] == "sent"


async def test_i3_i11_c6_of_two_claims_on_one_order_in_one_group_only_the_living_one_is_granted(
    world: World, tmp_path: Path
) -> None:
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        # A mailer stopped for longer than its lease goes on with both: what it held, and what it was given again.
        old, writing = await sending.claim([order])
        assert writing is not None
        await expire(world, order)
        await world.sweep()
        new, _ = await sending.claim([order])
        released: list[str] = []
        await asyncio.gather(
            *(
                sending.deliver(Holding(found.orders[0], writing, partial(released.append, name)))
                for name, found in (("old", old), ("new", new))
            )
        )
        assert len(oracle.mails) == 1
        assert released == ["old"]  # the other one waits for T3
    assert (await row(world.database, write_orders, id=order))["phase"] == "handed_over"


async def expire(world: World, order: int) -> None:
    """The lease of a claim runs out."""
    async with world.database.begin() as connection:
        mine = update(write_orders).where(write_orders.c.id == order)
        await connection.execute(mine.values(lease_until=lease_clock(-1)))


class Forgetful:
    """A database whose answer to the next COMMIT is lost on the way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.lost_answers = 0

    @property
    def connections_made(self) -> int:
        return self._database.connections_made

    @asynccontextmanager
    async def begin(self, *, at_once: bool = False) -> AsyncIterator[AsyncConnection]:
        async with self._database.begin(at_once=at_once) as connection:
            yield connection
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable("database", "somewhere", "connection lost")


async def test_i5_c25_a_lost_answer_to_t2_makes_no_letter_unclear(world: World, tmp_path: Path) -> None:
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        found, writing = await sending.claim([order])
        assert writing is not None
        sending._database = forgetful = Forgetful(world.database)  # type: ignore[assignment]
        forgetful.lost_answers = 1
        settling = asyncio.create_task(sending.settlements.run())
        await recorded(sending, Holding(found.orders[0], writing, lambda: None))
        await sending.settlements.idle()
        settling.cancel()
        assert oracle.mails == []
    waiting = await row(world.database, write_orders, id=order)
    # T2 was committed, but its mailer knows that it wrote no dot.
    assert (waiting["state"], waiting["phase"], waiting["handed_over_at"]) == ("queued", None, None)
    assert waiting["reason"] == "the database did not answer before the final dot"


async def test_i18_c25_a_lost_answer_to_t1_is_asked_for_again(world: World, tmp_path: Path) -> None:
    """Else the letters would wait for the lease, with a claim in vain."""
    ids = await world.queued("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        sending._database = forgetful = Forgetful(world.database)  # type: ignore[assignment]
        forgetful.lost_answers = 2
        # Waits of a fifth and of two fifths of a second.
        found = await _claimed(sending, ids, [], asyncio.Event(), get_logger())
        assert found is not None and [(order.id, order.attempt_no) for order, _ in found] == [(one, 1) for one in ids]
        assert sending.held == {order.id: order.token for order, _ in found}
        for order, writing in found:
            await recorded(sending, Holding(order, writing, lambda: None))
        assert {mail.recipient for mail in oracle.mails} == {"a1@x.example", "a2@x.example"}
    assert await world.count(attempts) == 2


async def test_i11_c25_a_claim_without_an_answer_whose_lease_ran_out_is_made_anew(world: World, tmp_path: Path) -> None:
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (sending, _, _oracle):
        sending._database = forgetful = Forgetful(world.database)  # type: ignore[assignment]
        forgetful.lost_answers = 1
        tries: list[int] = []
        with pytest.raises(Unavailable):
            await sending.claim([order], tries)
        await expire(world, order)
        assert (await sending.claim([order], tries))[0].orders == []
        await world.sweep()
        (again,) = (await sending.claim([order], tries))[0].orders
        assert again.attempt_no == 2 and await world.intend(again) == {order}


async def test_i17_c25_a_lost_answer_to_t3_is_asked_for_again_and_nothing_is_late(world: World) -> None:
    (order,) = await world.queued()
    (held,) = (await world.claim(order)).orders
    await world.intend(held)
    for _ in range(2):
        await world.settle(held, "sent")
    assert (await row(world.database, attempts, order_id=order))["outcome"] == "sent"
    assert await world.count(contact_entries) == 1


async def test_i20_while_the_journal_cannot_be_written_nothing_is_handed_over(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = await world.queued()
    monkeypatch.setattr(Journal, "writable", False)
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        found, writing = await sending.claim([order])
        assert writing is not None
        await recorded(sending, Holding(found.orders[0], writing, lambda: None))
        assert oracle.mails == []
    assert await world.state(order) == "queued"


async def test_i20_the_next_letter_s_intent_waits_for_the_last_one_s_record(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = await world.queued(*(f"A{n},,Name{n},a{n}@x.example,Neu," for n in (1, 2, 3)))
    async with deliverer_of(world, tmp_path) as (sending, journal, oracle):
        disk, append = asyncio.Event(), journal.append

        async def slow(entries: Any) -> None:
            await disk.wait()
            await append(entries)

        monkeypatch.setattr(journal, "append", slow)
        found, writing = await sending.claim(orders)
        assert writing is not None
        first, refused, second = (Holding(order, writing, lambda: None) for order in found.orders)
        written = await sending.deliver(first)
        # What is refused in between is no reason to wait no longer.
        oracle.script = lambda address, _: "refuse_rcpt_550" if address == "a2@x.example" else None
        written = await sending.deliver(refused, written)
        # A kill here makes one letter of this connection unclear, not two.
        going = asyncio.create_task(sending.deliver(second, written))
        await asyncio.sleep(0.5)
        assert await phases(world) == ["claimed", "claimed", "handed_over"] and len(oracle.mails) == 1
        disk.set()
        await going
        assert len(oracle.mails) == 2


async def phases(world: World) -> list[str]:
    return sorted(order["phase"] for order in await world.rows())


async def test_i16_c30_while_the_journal_cannot_be_written_nothing_is_claimed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    await world.run()
    writable = False
    monkeypatch.setattr(Journal, "writable", property(lambda _: writable))
    async with SmtpOracle(tmp_path / "ledger") as oracle, running(world, settings_for(tmp_path, oracle.url)):
        await asyncio.sleep(1)
        assert await world.orders() == {"A1": "queued"} and await world.count(attempts) == 0
        writable = True
        await until(world, lambda found: set(found.values()) == {"sent"})


async def test_i16_only_deferrals_that_count_make_the_back_off_grow(world: World, tmp_path: Path) -> None:
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (sending, _, _oracle):
        sending._random.uniform = lambda *_: 1.0  # type: ignore[method-assign]
        waits: list[float] = []
        greylisted = Deferred("RCPT TO: 450 later", 450)
        put_off = Deferred("the database did not answer", not_before_seconds=0.0, counts=False)
        for outcome in (None, put_off, None, put_off, greylisted, None, put_off, greylisted):
            (held,) = (await world.claim(order)).orders
            if outcome is None:
                sending.held[order] = held.token
                await sending.give_back_held([order], "not granted before the final dot")
                continue
            await world.intend(held)
            settlement = sending._settlement(held, None, outcome)
            await sending._settle([settlement])
            assert settlement.not_before is not None
            waits.append((settlement.not_before - world.clock.now()).total_seconds())
            told = await row(world.database, write_orders, id=order)
            # A definite no, counted or not: nothing was handed over (D37).
            assert (told["state"], told["handed_over_at"]) == ("queued", None)
            world.clock.set(settlement.not_before)
        assert waits == [0, 0, 1, 0, 2]


@pytest.mark.parametrize(
    ("breaks", "error", "state"),
    [
        (Letters, OSError(24, "Too many open files"), "queued"),
        (Letters, ZeroDivisionError(), "failed"),
        (SmtpPool, OSError(24, "Too many open files"), "unclear"),
    ],
)
async def test_i4_i14_c58_what_breaks_in_this_machine_is_no_refusal(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: type, error: Exception, state: str
) -> None:
    (order,) = await world.queued()
    put_back = "write" if breaks is Letters else "_put_back"

    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(breaks, put_back, broken)
    async with deliverer_of(world, tmp_path) as (sending, _, _oracle):
        await deliver_one(sending, order)
    ended = await row(world.database, write_orders, id=order)
    assert ended["state"] == state and ended["reason"]


async def test_i13_a_run_is_not_acked_before_it_is_committed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    class Recording:
        async def ack(self, _: Any) -> None:
            happened.append("acked")

    async def synchronised(*_: Any) -> None:
        happened.append("committed")

    monkeypatch.setattr(evaluator, "evaluate", synchronised)
    one, doorbells = Delivery(JobDue(1), 1), Recording()
    await evaluator._deal_with(world.database, world.bus, world.clock, one, doorbells, world.log)  # type: ignore[arg-type]
    assert happened == ["committed", "acked"]


async def test_i6_i7_the_database_itself_refuses_what_would_be_sent_twice(world: World) -> None:
    (order,) = await world.queued()
    made = {key: value for key, value in (await row(world.database, write_orders, id=order)).items() if key != "id"}
    run = {key: value for key, value in (await row(world.database, dispatch_runs)).items() if key != "id"}
    later = {**made, "occasion_day": made["occasion_day"].replace(day=24)}
    for table, twice in ((write_orders, {**made, "state": "planned"}), (write_orders, later), (dispatch_runs, run)):
        with pytest.raises(IntegrityError):
            async with world.database.begin() as connection:
                await connection.execute(insert(table).values(twice))
    # Of another day and not under way it is another letter.
    async with world.database.begin() as connection:
        await connection.execute(insert(write_orders).values({**later, "state": "planned"}))
        assert len((await connection.execute(select(write_orders.c.id))).all()) == 2


async def test_i20_a_database_that_is_away_at_the_replay_costs_no_entry_of_the_journal(
    world: World, tmp_path: Path
) -> None:
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (sending, journal, _oracle):
        found, writing = await sending.claim([order])
        assert writing is not None
        await recorded(sending, Holding(found.orders[0], writing, lambda: None))
    journal.close()
    second = Journal.open(tmp_path / "state", "second")

    class Away:
        def begin(self) -> Any:
            raise Unavailable("database", "somewhere", "connection refused")

    for _ in range(2):
        with pytest.raises(Unavailable):
            await replay(Away(), second, get_logger())  # type: ignore[arg-type]
    await replay(world.database, second, get_logger())
    assert await world.state(order) == "sent"


async def test_i5_a_deferral_at_the_dot_waits_for_no_other_settlement(world: World, tmp_path: Path) -> None:
    """It is in no journal: a kill before T3 would make the letter unclear."""
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (sending, _, _oracle):
        sending.settlements._linger = 60.0
        found, writing = await sending.claim([order])
        assert writing is not None
        (held,), told = found.orders, asyncio.Event()
        await world.intend(held)
        settling = asyncio.create_task(sending.settlements.run())
        sending._enqueue(
            sending._settlement(held, None, Deferred("DOT: 451 later", 451)), Holding(held, writing, told.set)
        )
        async with asyncio.timeout(10):
            await told.wait()
        settling.cancel()
    assert await world.state(order) == "queued"
