"""How a mailer ends: at once, with nothing lost and nothing held (I19, C8), and not before its time (I18)."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog import get_logger

from services.mailer import deliver, service
from services.mailer.ahead import Holding
from services.mailer.deliver import Deliverer
from services.mailer.lane import Lanes
from shared.db.tables import attempts, write_orders
from shared.errors import Unavailable
from tests.services.running import run_all, running, settings_for, until
from tests.services.setup_files import row
from tests.services.test_handing_over import deliverer_of
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import Script, always, well_behaved


async def drained_before_it_is_done(sending: Deliverer, holding: Holding, begun: asyncio.Event) -> None:
    """A sender begins a letter and is cancelled at once: the grace period is over."""
    claimed: asyncio.Queue[Holding | None] = asyncio.Queue()
    sender = asyncio.create_task(service._send(sending, Lanes(claimed, 1).all[0], get_logger()))
    settling = asyncio.create_task(sending.settlements.run())
    await claimed.put(holding)
    await asyncio.wait_for(begun.wait(), 10)
    await service._drain(sending, claimed, [], [sender], 0.0, get_logger())
    assert await sending.finish(5)
    settling.cancel()


async def test_i19_c8_a_mailer_before_a_slow_relay_gives_back_at_once_what_it_has_not_begun(
    world: World, tmp_path: Path
) -> None:
    await world.begin(*(f"A{number},,Eins{number},a{number}@x.example,Neu," for number in range(30)))
    await world.run()
    async with SmtpOracle(tmp_path / "ledger", always("slow:0.2")) as oracle:
        settings = settings_for(tmp_path, oracle.url, KP_CLAIM_BATCH=5, KP_SMTP_CONNECTIONS=2, KP_GRACE_SECONDS=10)
        async with running(world, settings):
            await until(world, lambda found: list(found.values()).count("sent") >= 2)
            sent, stopped_at = len(oracle.mails), time.monotonic()
        assert time.monotonic() - stopped_at < 4
        assert len(oracle.mails) - sent <= 2  # one for each connection
        states = list((await world.orders()).values())
        assert sorted(set(states)) == ["queued", "sent"] and states.count("sent") == len(oracle.mails)


async def test_i19_c8_what_waits_behind_another_letter_is_given_back_at_the_end(world: World, tmp_path: Path) -> None:
    await world.begin(*(f"A{number},,Eins{number},a{number}@x.example,Neu," for number in range(6)))
    await world.run()
    async with SmtpOracle(tmp_path / "ledger", always("slow:0.3")) as oracle:
        settings = settings_for(tmp_path, oracle.url, KP_SMTP_CONNECTIONS=1, KP_GRACE_SECONDS=10)
        async with running(world, settings):
            # The next letter's envelope is written along with this dot, and its answer takes a while.
            await asyncio.wait_for(oracle.dot_arrived.wait(), 20)
        assert oracle.verbs.count("MAIL") == 2 and len(oracle.mails) == len(oracle.ledger) == 1
    assert sorted((await world.orders()).values()) == ["queued"] * 5 + ["sent"]


@pytest.mark.parametrize("at", ["its slot", "the envelope", "T2"])
async def test_i19_what_is_cut_short_before_the_dot_is_given_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    (order,) = await world.queued()
    begun = asyncio.Event()
    real = deliver.intend
    script: Script = always("slow:5") if at == "the envelope" else well_behaved

    async def waits(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def asks(*arguments: object) -> object:
        found = await real(*arguments)  # type: ignore[arg-type]
        begun.set()
        await asyncio.sleep(0.2)  # committed when its sender is gone
        return found

    if at == "its slot":
        monkeypatch.setattr(Deliverer, "_at_its_slot", waits)
    elif at == "T2":
        monkeypatch.setattr(deliver, "intend", asks)
    async with deliverer_of(world, tmp_path) as (sending, _, oracle):
        oracle.script = script
        found, writing = await sending.claim([order])
        assert writing is not None
        if at == "the envelope":
            asyncio.get_running_loop().call_later(0.3, begun.set)
        await drained_before_it_is_done(sending, Holding(found.orders[0], writing, lambda: None), begun)
        assert oracle.mails == [] and sending.held == {}
    ended = await row(world.database, write_orders, id=order)
    assert (ended["state"], ended["phase"], ended["lease_token"], ended["fruitless_claims"]) == (
        "queued",
        None,
        None,
        0,
    )
    assert ended["handed_over_at"] is None and (await row(world.database, attempts))["settled_at"] is not None


async def test_i18_what_breaks_at_one_letter_costs_no_sender_and_lets_the_claim_run_out(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = await world.queued("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")

    async def refused(*_: object) -> set[int]:
        return set()

    async def breaks(*_: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr(deliver, "intend", refused)
    monkeypatch.setattr(deliver, "give_back", breaks)
    async with deliverer_of(world, tmp_path) as (sending, _, _oracle):
        found, writing = await sending.claim(orders)
        assert writing is not None
        claimed: asyncio.Queue[Holding | None] = asyncio.Queue()
        for order in found.orders:
            await claimed.put(Holding(order, writing, lambda: None))
        await claimed.put(None)
        await asyncio.wait_for(service._send(sending, Lanes(claimed, 1).all[0], get_logger()), 10)
        # Not renewed any more: the lease runs out, and the sweep rings for the order again.
        assert sending.held == {}


@pytest.mark.parametrize("part", ["acks", "a group's commits"])
async def test_i18_a_mailer_that_has_lost_a_part_of_itself_ends_so_that_it_is_started_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    await world.queued()

    async def breaks(*_: object) -> list[bool]:
        if part == "acks":
            raise ArithmeticError
        return []  # fewer answers than there were questions

    place = (service.Acks, "run") if part == "acks" else (Deliverer, "_commit_intents")
    monkeypatch.setattr(*place, breaks)
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        settings = settings_for(tmp_path, oracle.url, KP_GRACE_SECONDS=1, KP_RING_AGAIN_SECONDS=0.1)
        with pytest.raises(ExceptionGroup):
            await asyncio.wait_for(run_all(world, settings, asyncio.Event()), 20)
        assert part == "acks" or oracle.mails == []
    assert set((await world.orders()).values()) <= {"queued", "sent"}


async def test_i19_a_mailer_that_waits_for_its_database_at_the_start_ends_when_it_is_told_to(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def away(*_: object) -> None:
        asked.set()
        raise Unavailable("database", "somewhere", "connection refused")

    monkeypatch.setattr(service, "replay", away)
    stop = asyncio.Event()
    settings = settings_for(tmp_path, "smtp://127.0.0.1:1")
    mailer = asyncio.create_task(service.run_mailer(world.database, world.bus, world.clock, settings, world.log, stop))
    await asyncio.wait_for(asked.wait(), 10)
    stop.set()
    await asyncio.wait_for(mailer, 5)
    assert list((tmp_path / "state").glob("*.journal")) == []
