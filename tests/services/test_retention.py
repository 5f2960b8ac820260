"""What is removed when its time is over: by the night's chores, without anybody's doing (docs/retention.md)."""

import asyncio
import os
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from structlog.testing import capture_logs

from services.mailbox import delivery
from services.mailbox.delivery import KEPT_DAYS, MOST_BYTES_OF_ALL, deliver
from services.mailbox.reading import Folder, Reader
from services.scheduler.chores import do_chores
from shared.db.candidate_requests import WORDS_KEPT
from shared.db.history_seals import load_head
from shared.db.service_tables import console_sessions, daily_chores, service_instances
from shared.db.tables import applications, candidate_requests, contact_entries, metadata
from tests.architecture import ROOT
from tests.returned_mails import returned_mail
from tests.services.audit_world import seal
from tests.services.setup_files import row, rows
from tests.services.test_returned_mails import sent
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


async def test_d42_s27_words_of_requests_go_90_days_after_they_were_dealt_with(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,")
    application = (await row(world.database, applications, external_id="A1"))["id"]
    async with world.database.begin() as connection:
        for words, days in (("long done", 91), ("done", 89), ("open", None)):
            done = None if days is None else MORNING - timedelta(days=days)
            asked = {"application_id": application, "kind": "correction", "words": words, "done_at": done}
            await connection.execute(insert(candidate_requests).values(asked | {"made_at": MORNING - 100 * 24 * HOUR}))
    await do_chores(world.database, world.clock, world.log, asyncio.Event())
    assert [one["words"] for one in await rows(world.database, candidate_requests)] == [None, "done", "open"]
    text = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    assert f"{WORDS_KEPT.days} days after it was done" in text


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


def files_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


async def handed_over(world: World, *mails: bytes) -> None:
    """What a mail server's pipe brings."""
    reader = Reader(world.database, world.clock, None, world.log)
    for mail in mails:
        await deliver(reader, mail, world.folder)


async def test_s27_a_mail_is_kept_for_90_days_wherever_it_was_put(world: World) -> None:
    mails = [b"From: a@b.example\nMessage-ID: <%d@b.example>\n\nQKword\n" % number for number in range(4)]
    await handed_over(world, *mails[:3])
    new = world.folder / "mailbox" / Folder.NOT_UNDERSTOOD.value / "new"
    read, old, young = sorted(new.iterdir())
    read = read.rename(new.parent / "cur" / f"{read.name}:2,S")  # as mail programs do
    for file, days in ((read, 91), (old, 91), (young, 89)):
        moment = time.time() - days * 86400
        os.utime(file, (moment, moment))
    await handed_over(world, mails[3])
    assert len(files_in(world.folder / "mailbox")) == 2 and young.exists()
    text = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    assert f"{KEPT_DAYS} days; {MOST_BYTES_OF_ALL >> 20} MB in all" in text


async def test_s27_s32_strangers_do_not_fill_the_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = [b"From: a@b.example\nMessage-ID: <%d@b.example>\n\n" % number for number in range(4)]
    large = [head + b"x" * (3 << 20) for head in heads[:3]]
    await handed_over(world, large[0])
    mailbox = world.folder / "mailbox"
    assert list(files_in(mailbox).values()) == [1 << 20]
    # Room for one more, and for no small one after it.
    monkeypatch.setattr(delivery, "MOST_BYTES_OF_ALL", (2 << 20) + 2 * 4096)
    with capture_logs() as logs:
        await handed_over(world, large[1], large[2], heads[3])
    assert len(files_in(mailbox)) == 2
    said = [one["action"] for one in logs if "action" in one]
    # Read and told all the same.
    assert said.count("mail_returned") == 3 and said.count("mail_not_kept") == 2
    assert "a@b.example" not in str(logs)


async def test_s32_an_answer_that_is_not_kept_counts_as_contact(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await sent(world)
    monkeypatch.setattr(delivery, "MOST_BYTES_OF_ALL", 0)
    letter = (await world.rows())[0]["message_id"]
    await handed_over(world, returned_mail("reply.thunderbird-german", letter=letter))
    assert files_in(world.folder / "mailbox") == {}
    assert await world.count(contact_entries, contact_entries.c.direction == "incoming") == 1


def test_s27_every_table_is_in_the_table_of_retention() -> None:
    text = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert sorted(set(metadata.tables) - named) == []
