"""Never faster than allowed, to the relay and to one recipient domain, also after an outage (I16)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.mailer import deliver
from services.mailer.pace import LATE, Pace
from services.mailer.service import _prefetch
from shared.clock import ShiftedClock
from shared.db.send_slots import AHEAD, take_domain_slots, take_relay_slots
from shared.db.service_tables import send_slots
from shared.db.write_orders.intents import intend
from shared.errors import Unavailable
from shared.settings import load_settings
from tests.services.running import running, settings_for, until
from tests.services.world import MORNING, World
from tests.smtp_oracle import SmtpOracle


def people(count: int, domain: str = "x.example") -> list[str]:
    return [f"{domain}{number},,Nr{number},a{number}@{domain},Neu," for number in range(count)]


async def relay_slots(world: World, wanted: int, after: float = 0.0) -> tuple[float, int]:
    now = MORNING + timedelta(seconds=after)
    async with world.database.begin() as connection:
        first, taken = await take_relay_slots(connection, "r:25", 10.0, wanted, now)
    return (first - MORNING).total_seconds(), taken


async def test_i16_slots_of_the_relay_are_handed_out_once_and_two_seconds_ahead(world: World) -> None:
    assert await relay_slots(world, 5) == (0.0, 5)
    assert await relay_slots(world, 200) == (0.5, 15)
    assert await relay_slots(world, 200) == (2.0, 0)
    assert await relay_slots(world, 200, after=1.0) == (2.0, 10)
    # What nobody took is gone: after an outage nothing is made up for at once.
    assert await relay_slots(world, 200, after=3600.0) == (3600.0, 20)


async def test_i16_a_slow_rate_gives_one_slot_at_a_time(world: World) -> None:
    async def take(after: float) -> tuple[Any, int]:
        now = MORNING + timedelta(seconds=after)
        async with world.database.begin() as connection:
            first, taken = await take_relay_slots(connection, "r:25", 0.1, 9, now)
        return (first - MORNING).total_seconds(), taken

    assert [await take(after) for after in (0, 5, 10)] == [(0, 1), (10, 0), (10, 1)]


async def test_i16_one_domain_does_not_hold_up_another(world: World) -> None:
    domains = ["slow.example"] * 8 + ["other.example"]
    async with world.database.begin() as connection:
        found = await take_domain_slots(connection, domains, 2.0, MORNING)
        again = await take_domain_slots(connection, ["slow.example"], 2.0, MORNING)
    free = [(at - MORNING).total_seconds() for at, now in found if now]
    assert free == [0.0, 0.5, 1.0, 1.5, 0.0]
    later = [(at - MORNING).total_seconds() for at, now in [*found, *again] if not now]
    # Those who must ask again come one after another, not all at once.
    assert later == sorted(set(later)) and len(later) == 5 and later[0] >= AHEAD.total_seconds()


async def test_i16_without_limits_nothing_is_counted(world: World) -> None:
    (order,) = await world.queued()
    assert len((await world.claim(order)).orders) == 1
    assert await world.count(send_slots) == 0


@pytest.mark.parametrize("limit", ["KP_RELAY_RATE", "KP_DOMAIN_RATE"])
async def test_i16_two_mailers_together_keep_the_rate_after_an_outage(world: World, tmp_path: Path, limit: str) -> None:
    await world.begin(*people(40))
    await world.run()  # all due at the same moment
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        # Small batches, so that both mailers get some.
        settings = settings_for(tmp_path, oracle.url, KP_CLAIM_BATCH=5, **{limit: 10})
        async with running(world, settings, mailers=2):
            await until(world, lambda found: set(found.values()) == {"sent"})
        times = sorted(mail.at for mail in oracle.mails)
    assert len(times) == 40
    # Four seconds' worth: with a limit of its own for each mailer it would be two, and twenty in a second.
    assert times[-1] - times[0] > 3.0
    assert max(sum(at <= one < at + 1.0 for one in times) for at in times) <= 15


async def test_i16_letters_that_wait_for_a_database_that_stands_still_keep_the_rate(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still_until = 0.0

    async def slow(*arguments: Any) -> set[int]:
        nonlocal still_until
        still_until = still_until or time.monotonic() + 1.2
        await asyncio.sleep(max(0.0, still_until - time.monotonic()))
        return await intend(*arguments)

    monkeypatch.setattr(deliver, "intend", slow)
    await world.begin(*people(60))
    await world.run()
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        settings = settings_for(tmp_path, oracle.url, KP_CLAIM_BATCH=5, KP_RELAY_RATE=20)
        async with running(world, settings, mailers=2):
            await until(world, lambda found: set(found.values()) == {"sent"})
        times = [mail.at for mail in oracle.mails]
    assert len(times) == 60
    assert max(sum(at <= one < at + 1.0 for one in times) for at in times) <= 30


@asynccontextmanager
async def paces(database: Any, world: World, count: int) -> AsyncIterator[list[Pace]]:
    """So many mailers' sense of when letters may go: twenty a second to the relay, and to a domain."""
    clock = ShiftedClock(MORNING)
    made = [Pace(database, clock, "r:25", 20.0, 20.0, world.log) for _ in range(count)]
    working = [asyncio.create_task(pace.fresh.run()) for pace in made]
    try:
        yield made
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


@pytest.mark.parametrize("limit", ["relay", "domain"])
async def test_i16_mailers_that_stood_still_do_not_catch_up_side_by_side(world: World, limit: str) -> None:
    went: list[float] = []

    async def one(pace: Pace, number: int) -> None:
        slot = MORNING + timedelta(seconds=number / 20)
        await pace.wait(*((slot, "", None) if limit == "relay" else (None, "x.example", slot)))
        went.append(time.monotonic())

    # Slots of one second, taken in turns by two mailers; both stand still meanwhile, some with letters that wait.
    async with paces(world.database, world, 2) as (first, second):
        letters = [one((first, second)[number % 2], number) for number in range(20)]
        waiting = [asyncio.create_task(letter) for letter in letters[10:]]
        await asyncio.sleep(0)
        time.sleep(1.4)  # noqa: ASYNC251 - this is the standstill
        waiting += [asyncio.create_task(letter) for letter in letters[:10]]
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
    # Each mailer at the full rate would need half a second.
    assert len(went) == 20 and max(went) - min(went) > 0.8


async def test_i16_a_letter_whose_slot_passed_waits_for_a_database_that_is_away(world: World) -> None:
    class Away:
        """Comes back at the third try."""

        tries = 0

        def begin(self) -> Any:
            self.tries += 1
            if self.tries < 3:
                raise Unavailable("database", "x", "away")
            return world.database.begin()

    database = Away()
    async with paces(database, world, 1) as (pace,):
        await asyncio.wait_for(pace.wait(MORNING - 2 * LATE, "", None), 10)
    # Once more where this process stood still for so long that the fresh slot passed too.
    assert database.tries >= 3 and await world.count(send_slots) == 1


async def test_i16_a_slot_just_passed_is_used(world: World) -> None:
    async with paces(world.database, world, 1) as (pace,):
        await pace.wait(MORNING - LATE / 3, "x.example", MORNING - LATE / 3)
    assert await world.count(send_slots) == 0


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({}, 800),
        ({"KP_SMTP_CONNECTIONS": "50"}, 1600),
        ({"KP_RELAY_RATE": "10"}, 800),
        ({"KP_RELAY_RATE": "1"}, 600),
        ({"KP_RELAY_RATE": "0.1", "KP_SMTP_CONNECTIONS": "50"}, 60),
        ({"KP_RELAY_RATE": "0.001"}, 1),
    ],
)
def test_i18_messages_are_not_held_for_longer_than_a_broker_waits_for_acks(given: dict[str, str], held: int) -> None:
    assert _prefetch(load_settings(given)) == held
