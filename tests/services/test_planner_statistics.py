"""Right after a large release, before autovacuum has looked at the orders, a claim reads what it claims (D4)."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from services.cli.jobs import _run
from services.mailer.letters import Letters
from shared.db import planner_statistics
from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.db.tables import metadata
from shared.db.write_orders.claims import Claimant, claim
from tests.services.test_dispatch import EIGHT
from tests.services.test_sweep_cost import rows_read
from tests.services.world import DAY, JOB, World

RELEASED, CLAIMED = 2000, 20
#: Rows of orders read for each that is claimed.
ENOUGH = 20


@pytest.fixture
async def postgres_world(postgres_url: str, tmp_path: Path) -> AsyncIterator[World]:
    database = Database(postgres_url)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield World(database, tmp_path)
    await database.close()


async def test_d4_after_a_large_release_a_claim_reads_its_own_orders_on_postgresql(
    postgres_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = postgres_world
    monkeypatch.setattr(planner_statistics, "MANY_ORDERS", RELEASED)
    await world.begin(*(f"A{number},,Eins{number},a{number}@x.example,Neu," for number in range(RELEASED)))
    async with world.database.begin() as connection:  # nobody else looks just while the test does
        await connection.execute(text("ALTER TABLE write_orders SET (autovacuum_enabled = off)"))
    world.clock.set(EIGHT)
    orders = (await world.turn())[:CLAIMED]
    async with world.database.begin() as connection:
        settings = await load_system_settings(connection)
        who = Claimant("m1", 60, world.clock.now(), settings, Letters(None).message_ids(settings))
        before = await rows_read(connection, by_index=True)
        assert len((await claim(connection, orders, who)).orders) == CLAIMED
        assert await rows_read(connection, by_index=True) - before <= CLAIMED * ENOUGH


@pytest.mark.parametrize("many", [1, 2])
async def test_d4_who_runs_a_job_by_hand_tells_the_planner_on_postgresql(
    postgres_world: World, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    world = postgres_world
    monkeypatch.setattr(planner_statistics, "MANY_ORDERS", many)
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    desk = SimpleNamespace(database=world.database, now=world.clock.now(), actor=SimpleNamespace(name="anna"))
    await _run(cast(Any, desk), JOB, DAY)
    async with world.database.begin() as connection:
        known = text("SELECT count(*) FROM pg_stats WHERE tablename = 'write_orders' AND schemaname = current_schema()")
        assert bool((await connection.execute(known)).scalar_one()) == (many == 1)
