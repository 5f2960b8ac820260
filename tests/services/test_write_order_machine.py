"""Whatever happens in whatever order, nobody is written to twice and orders move as documented (I2-I5, I8, I11, D37).

People, mailers that die and a relay whose answers get lost act at random; the model knows only who may have got a
letter, and who decided that another may go out.
"""

import asyncio
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
                max_examples=examples,
                stateful_step_count=40,
                # Without shrinking: an example takes a second, and a short one is no easier to read than its moves.
                phases=(Phase.explicit, Phase.generate),
                deadline=None,
                # The same examples each time: what a new one finds is to be found by whoever looks for it.
                derandomize=True,
                database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
        runner.run(database.close())


def test_i3_d37_nobody_gets_a_second_letter_whatever_happens_on_sqlite(tmp_path: Path) -> None:
    _try(f"sqlite:///{tmp_path / 'machine.sqlite3'}", tmp_path, 20)


def test_i3_d37_nobody_gets_a_second_letter_whatever_happens_on_postgresql(
    servers: Mapping[str, str], tmp_path: Path
) -> None:
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        _try(url, tmp_path, 4)
