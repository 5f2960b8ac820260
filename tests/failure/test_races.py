"""Eight people who block, opt out, switch, edit and delete while mailers send: nothing goes out after its answer.

The long run: RACES=2000 pytest tests/failure/test_races.py -s
"""

import asyncio
import os
import random
import re
import time
from datetime import datetime
from typing import Any

from sqlalchemy import select

from shared.clock import ShiftedClock
from shared.db.dispatch import run_now
from shared.db.engine import Database
from shared.db.tables import write_orders
from tests.failure.racing_clients import Client, Race, a_setup, violations, write_applicants
from tests.mail_server import MailServer
from tests.services.setup_files import apply
from tests.sizes import size
from tests.stacks import QUIET_MOMENT, Stack

RACES = int(os.environ.get("RACES", size(160, 240)))
SEED = int(os.environ.get("SEED", "1"))
CLIENTS = 8
#: Letters that each client's job has for one race: enough that some are on their way until the end.
LETTERS_PER_RACE = 2.5
_ORDER = re.compile(rb"^x-kontaktpflege-order:\s*(\d+)", re.IGNORECASE | re.MULTILINE)


async def race(stack: Stack, smtp: MailServer, races: int) -> list[Race]:
    """Releases everybody's letters and lets the clients loose on them."""
    clock = ShiftedClock(datetime.fromisoformat(QUIET_MOMENT))
    databases = [Database(stack.environment["DATABASE_URL"], pool_size=2) for _ in range(CLIENTS)]
    try:
        for number in range(CLIENTS):
            async with databases[0].begin() as connection:
                await run_now(connection, f"J{number}", None, clock.now(), "test")
        await asyncio.to_thread(stack.wait_for, lambda: len(smtp.accepted) > 10, 60, "the first letters")
        clients = [
            Client(number, database, clock, random.Random(f"{SEED} {number}"))
            for number, database in enumerate(databases)
        ]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.work(races // CLIENTS))
        return [one for client in clients for one in client.races]
    finally:
        for database in databases:
            await database.close()


async def final_rows(stack: Stack) -> dict[int, Any]:
    """The orders, once nothing moves any more."""
    database = Database(stack.environment["DATABASE_URL"])
    statement = select(write_orders)
    try:
        deadline = time.monotonic() + 120
        while True:
            async with database.read() as connection:
                rows = {row["id"]: row for row in (await connection.execute(statement)).mappings()}
            if not any(row["state"] in ("queued", "sending", "planned") for row in rows.values()):
                return rows
            assert time.monotonic() < deadline, "letters are still on their way"
            await asyncio.sleep(0.3)
    finally:
        await database.close()


async def prepare(stack: Stack, races: int) -> None:
    stack.cli("migrate")
    database = Database(stack.environment["DATABASE_URL"])
    await apply(database, a_setup(CLIENTS), now=datetime.fromisoformat(QUIET_MOMENT))
    await database.close()
    write_applicants(stack.folder / "a.csv", CLIENTS, int(races / CLIENTS * LETTERS_PER_RACE))
    stack.cli("import", "applications", str(stack.folder / "a.csv"))


async def test_d4_d32_d33_i8_i9_c50_c51_c52_nothing_is_sent_after_its_confirmed_stop(
    stack: Stack, smtp: MailServer
) -> None:
    races = RACES // 4 if stack.embedded else RACES
    await prepare(stack, races)
    # As many letters a second as the clients need to stay in the race.
    smtp.oracle.rate = 60.0 if stack.embedded else 150.0
    stack.start("scheduler", "evaluator", "mailer", "mailer")
    done = await race(stack, smtp, races)
    rows = await final_rows(stack)
    sent: dict[int, float] = {}
    for mail in smtp.accepted:
        order = _ORDER.search(mail.content)
        assert order is not None
        assert sent.setdefault(int(order[1]), mail.at) == mail.at, f"order {order[1]} was sent twice"
    assert violations(done, sent, rows) == []
    assert {order_id for order_id, row in rows.items() if row["state"] == "sent"} == sent.keys()
    assert all(row["reason"] for row in rows.values() if row["state"] in ("blocked", "withdrawn"))
    answers = [f"{one.action}: {one.answer}" for one in done]
    print(f"{len(done)} races, {len(sent)} of {len(rows)} letters sent, 0 violations;", _counted(answers))
    assert len(done) >= races // CLIENTS * CLIENTS and sent and any(one.answer == "blocked" for one in done)


def _counted(answers: list[str]) -> dict[str, int]:
    return {answer: answers.count(answer) for answer in sorted(set(answers))}
