"""What is removed when its time is over: by the night's chores, without anybody's doing (docs/retention.md)."""

import asyncio
import re
from datetime import timedelta

from sqlalchemy import insert

from services.scheduler.chores import do_chores
from shared.db.history_seals import load_head
from shared.db.service_tables import console_sessions, daily_chores, service_instances
from shared.db.tables import metadata
from tests.architecture import ROOT
from tests.services.audit_world import seal
from tests.services.setup_files import row, rows
from tests.services.world import MORNING, World

HOUR = timedelta(hours=1)


async def test_s27_ended_sessions_and_processes_long_gone_go_at_night(world: World) -> None:
    await world.begin()
    user = (await row(world.database, metadata.tables["users"], name="a.weber"))["id"]
    moments = {
        "idle": (MORNING - HOUR, MORNING - HOUR),
        "long": (MORNING - 13 * HOUR, MORNING),
        "alive": (MORNING - HOUR, MORNING),
    }
    async with world.database.begin() as connection:
        for name, (created, seen) in moments.items():
            session = {"token_hash": name, "user_id": user, "csrf": "x", "created_at": created, "seen_at": seen}
            await connection.execute(insert(console_sessions).values(session))
        for name, days in (("gone", 8), ("quiet", 6)):
            seen = MORNING - timedelta(days=days)
            instance = {"service": "mailer", "instance": name, "started_at": seen, "seen_at": seen}
            await connection.execute(insert(service_instances).values(instance))
    await do_chores(world.database, world.clock, world.log, asyncio.Event())
    assert [one["token_hash"] for one in await rows(world.database, console_sessions)] == ["alive"]
    assert [one["instance"] for one in await rows(world.database, service_instances)] == ["quiet"]
    assert "retention" in {one["name"] for one in await rows(world.database, daily_chores)}


async def test_s28_the_head_is_told_every_night(world: World) -> None:
    told = []

    class Log:
        def info(self, event: str, **values: object) -> None:
            told.append((event, values))

    await world.begin()
    await seal(world.database)
    async with world.database.read() as connection:
        head = str(await load_head(connection))
    await do_chores(world.database, world.clock, Log(), asyncio.Event())
    results = {values["chore"]: values["result"] for event, values in told if event == "chore_done"}
    assert results["history head"] == head and re.fullmatch(r"\d+:[0-9a-f]{64}", head)


def test_s27_every_table_is_in_the_table_of_retention() -> None:
    text = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert sorted(set(metadata.tables) - named) == []
