"""A restored backup sends nothing until a person has looked (C56), nor does a database replaced in mid-run (C27)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import holds
from shared.db.holds import hold_in_force, load_hold, release_hold
from shared.db.tables import attempts, contact_entries, events, system_settings, write_orders
from shared.db.write_orders.intents import Intent
from tests.services.running import running, settings_for, until
from tests.services.test_handing_over import deliverer_of
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle

PEOPLE = ("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")


async def restore(world: World) -> None:
    """What a backup from before the sending looks like: the orders wait, nothing is known of any attempt."""
    async with world.database.begin() as connection:
        await connection.execute(delete(attempts))
        await connection.execute(delete(contact_entries))
        empty = dict.fromkeys(("sent_at", "message_id", "subject", "handed_over_at", "lease_token", "letter_version"))
        waiting = {"state": "queued", "attempts": 0, "ring_at": world.clock.now(), **empty}
        await connection.execute(update(write_orders).values(waiting))


@asynccontextmanager
async def sending(world: World, folder: Path) -> AsyncIterator[SmtpOracle]:
    async with SmtpOracle(folder / "ledger") as oracle, running(world, settings_for(folder, oracle.url)):
        yield oracle


async def hold_of(world: World) -> object:
    async with world.database.read() as connection:
        return await load_hold(connection)


async def test_c56_after_a_restore_nothing_is_sent_until_a_person_releases_it(world: World, tmp_path: Path) -> None:
    await world.begin(*PEOPLE)
    await world.run()
    async with sending(world, tmp_path) as oracle:
        await until(world, lambda found: set(found.values()) == {"sent"})
        assert len(oracle.mails) == 2
    await restore(world)
    async with sending(world, tmp_path) as oracle:
        while not await hold_of(world):
            await until(world, lambda found: set(found.values()) == {"queued"})
        assert oracle.mails == [] and await world.orders() == {"A1": "queued", "A2": "queued"}
        assert await world.count(attempts) == 0
        assert await release_hold(world.database, author="anna", now=world.clock.now()) == 2
        # A person said so: they get it again.
        await until(world, lambda found: set(found.values()) == {"sent"})
        assert len(oracle.mails) == 2
    async with world.database.read() as connection:
        released = select(events.c.author).where(events.c.action == "release", events.c.record_name == "hold")
        assert (await connection.execute(released)).scalars().all() == ["anna"]
    assert await hold_of(world) is None


async def test_c27_a_database_replaced_in_mid_run_is_noticed_at_the_next_claim(world: World, tmp_path: Path) -> None:
    first, second = await world.queued(*PEOPLE)
    async with deliverer_of(world, tmp_path) as (mailer, _, oracle):
        found, writing = await mailer.claim([first])
        (held,) = found.orders
        assert writing is not None and await mailer.intents.submit(Intent(held.id, held.token, held.job_id, 1, ""))
        await restore(world)
        found, writing = await mailer.claim([first, second])
        assert found.orders == [] and writing is None
        assert [reason.partition(":")[0] for reason in found.others] == ["held"]
        assert oracle.mails == []
    assert await world.orders() == {"A1": "queued", "A2": "queued"}


@pytest.mark.parametrize(
    "value", [{}, None, 7, "x", [], {"since": 7, "marks": 7, "reason": 7}, {"since": "9999-12-31", "marks": ["x"]}]
)
async def test_s17_a_hold_with_anything_in_it_holds_and_can_be_released(world: World, value: Any) -> None:
    """As the role of the candidates' page can write it."""
    await world.begin(*PEOPLE)
    async with world.database.begin() as connection:
        await connection.execute(insert(system_settings).values(name="hold", value=value))
        assert await hold_in_force(connection, None, world.clock.now())
    hold: Any = await hold_of(world)
    assert hold["since"].startswith("1970-01-01") and hold["reason"]
    async with world.database.begin() as connection:
        assert await hold_in_force(connection, 7, world.clock.now())
    assert await release_hold(world.database, author="anna", now=world.clock.now()) == 0
    async with world.database.begin() as connection:
        assert await hold_in_force(connection, 7, world.clock.now()) is None


async def take_over_without_the_last_hand_over(world: World, order: int) -> None:
    """A replica became the primary that had the claims and not what was committed after them."""
    await world.database.close()  # every connection is lost
    async with world.database.begin() as connection:
        await connection.execute(update(attempts).where(attempts.c.order_id == order).values(handed_over_at=None))
        claimed = {"phase": "claimed", "handed_over_at": None}
        await connection.execute(update(write_orders).where(write_orders.c.id == order).values(claimed))


async def test_c27_a_replica_with_the_claim_and_without_the_hand_over_is_noticed_at_the_next_claim(
    world: World, tmp_path: Path
) -> None:
    first, second = await world.queued(*PEOPLE)
    async with deliverer_of(world, tmp_path) as (mailer, _, _):
        (held,) = (await mailer.claim([first]))[0].orders
        assert await mailer.intents.submit(Intent(held.id, held.token, held.job_id, 1, ""))
        await take_over_without_the_last_hand_over(world, first)
        found, _ = await mailer.claim([second])
        assert found.orders == [] and [reason.partition(":")[0] for reason in found.others] == ["held"]


async def test_c27_a_replica_without_the_last_hand_over_is_noticed_before_the_next_one(
    world: World, tmp_path: Path
) -> None:
    orders = await world.queued(*PEOPLE)
    async with deliverer_of(world, tmp_path) as (mailer, _, _):
        one, other = (await mailer.claim(orders))[0].orders
        assert await mailer.intents.submit(Intent(one.id, one.token, one.job_id, 1, ""))
        await take_over_without_the_last_hand_over(world, one.id)
        # Its claim stands there too, and would make this hand-over the last one that the mailer remembers.
        assert await mailer.intents.submit(Intent(other.id, other.token, other.job_id, 1, "")) is False
    assert await hold_of(world)


async def test_c27_a_database_that_went_away_and_forgot_nothing_holds_nothing(world: World, tmp_path: Path) -> None:
    orders = await world.queued(*PEOPLE)
    async with deliverer_of(world, tmp_path) as (mailer, _, _):
        for one in (await mailer.claim(orders))[0].orders:
            await world.database.close()
            assert await mailer.intents.submit(Intent(one.id, one.token, one.job_id, 1, ""))
    assert await hold_of(world) is None


async def test_c56_a_machine_that_has_sent_nothing_from_this_database_holds_nothing(
    world: World, tmp_path: Path
) -> None:
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (mailer, _, _):
        found, _ = await mailer.claim([order])
        assert [one.id for one in found.orders] == [order]
    assert await hold_of(world) is None


async def test_c56_a_mailer_asks_without_a_letter_that_is_due(world: World, tmp_path: Path) -> None:
    (order,) = await world.queued()
    async with deliverer_of(world, tmp_path) as (mailer, _, _):
        (held,) = (await mailer.claim([order]))[0].orders
        assert await mailer.intents.submit(Intent(held.id, held.token, held.job_id, 1, ""))
        await mailer.remember()
        await world.database.close()  # every connection is lost
        await restore(world)
        await mailer.remember()
        assert await hold_of(world)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # on SQLite one writes at a time
async def test_c56_what_was_released_meanwhile_is_not_held_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.begin(*PEOPLE)
    now, known = world.clock.now(), holds._KNOWN

    class Released:
        """Another mailer begins the hold, and a person releases it, before this one has looked for the mark."""

        async def fetch(self, connection: AsyncConnection, **values: Any) -> Any:
            monkeypatch.setattr(holds, "_KNOWN", known)
            async with world.database.begin() as other:
                assert await hold_in_force(other, 7, now)
            await release_hold(world.database, author="anna", now=now)
            return await known.fetch(connection, **values)

    monkeypatch.setattr(holds, "_KNOWN", Released())
    async with world.database.begin() as connection:
        assert await hold_in_force(connection, 7, now) is None
    assert await hold_of(world) is None
