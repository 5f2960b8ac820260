"""Whatever happens in whatever order, orders go the documented ways and nobody is written to twice (I1-I6, I8-I12).

People, mailers that die and a relay whose answers get lost act at random; a model written from the document alone says
after each event where every order must be. `make model` tries many more examples than the suite does (docs/chaos.md).
"""

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from shared.db.engine import Database
from shared.db.tables import metadata
from tests.servers.fresh import fresh_database
from tests.services.delivery_machine import Delivery
from tests.services.state_moves import write_down_moves

#: How many examples are tried on each database, and how many steps each has.
EXAMPLES = os.environ.get("MODEL_EXAMPLES")
STEPS = int(os.environ.get("MODEL_STEPS", "40"))


async def _installed(url: str) -> Database:
    database = Database(url, pool_size=2)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await write_down_moves(connection)
    return database


def _try(url: str, folder: Path, examples: int) -> None:
    with asyncio.Runner() as runner:
        database = runner.run(_installed(url))
        run_state_machine_as_test(
            partial(Delivery, runner, database, folder),  # type: ignore[arg-type]
            settings=settings(
                max_examples=int(EXAMPLES or examples),
                stateful_step_count=STEPS,
                # Without shrinking: an example takes a second, and a short one is no easier to read than its moves.
                phases=(Phase.explicit, Phase.generate),
                deadline=None,
                # The same examples each time: what a new one finds is to be found by whoever looks for it.
                derandomize=EXAMPLES is None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
        runner.run(database.close())


def test_i3_d37_nobody_gets_a_second_letter_whatever_happens_on_sqlite(tmp_path: Path) -> None:
    _try(f"sqlite:///{tmp_path / 'machine.sqlite3'}", tmp_path, 14)


def test_i3_d37_nobody_gets_a_second_letter_whatever_happens_on_postgresql(
    servers: Mapping[str, str], tmp_path: Path
) -> None:
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        _try(url, tmp_path, 4)
