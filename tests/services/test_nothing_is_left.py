"""After reduction to core data (D42) nothing else of the person is left: canaries in every field, searched everywhere.

The rejection goes the real way: all services in one process, a mail server that defers once, the mailer's journal.
"""

from datetime import timedelta
from pathlib import Path

import pytest

from shared.db.reduction import reduce_due
from shared.db.returned_mails import Effect
from shared.db.tables import applications, candidate_requests, contact_entries, returned_mails
from tests.services.canaries import (
    ERASED,
    KEPT,
    REJECTING,
    SAID,
    canaries_in,
    contents,
    plant,
    plant_what_was_said,
    send_the_rejection,
    settings_for,
    stored_in,
    texts_of,
)
from tests.services.setup_files import row, rows
from tests.services.test_reduction import with_setting
from tests.services.test_returned_mails import take
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import REPLIES, first


async def test_d42_s27_nothing_but_core_data_is_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REPLIES, "defer_rcpt_450", ("RCPT", "450 4.2.0 QKreply: greylisted"))
    await world.begin(setup=REJECTING)
    await plant(world)
    planted = "".join(text for _, text in await texts_of(world.database)).casefold()
    assert [word for word in (*ERASED.values(), *SAID) if word.casefold() not in planted] == []
    async with SmtpOracle(tmp_path / "ledger", first(1, "defer_rcpt_450")) as oracle:
        await send_the_rejection(world, settings_for(tmp_path, oracle))
        (mail,) = oracle.mails
    assert b"QKtitle" in mail.content
    (order,) = [one for one in await world.rows() if one["job_name"] == "Absagen"]
    assert (order["state"], order["attempts"], order["subject"]) == ("sent", 2, None)
    assert order["message_id"].startswith("sha256:") and order["email"].startswith("sha256:")
    left = await texts_of(world.database)
    assert [(table, text) for table, text in left if canaries_in(text)] == []
    (kept,) = [text for table, text in left if table == "applications"]
    words = [word for word in KEPT.values() if "-" not in word and word != "QLset"]
    assert [word for word in words if word not in kept] == []
    assert "QLset" in "".join(text for table, text in left if table == "persons")
    assert canaries_in(contents((tmp_path / "state").rglob("*"))) == set()
    await world.database.close()
    files = stored_in(tmp_path)
    assert bool(files) == (world.database.dialect == "sqlite")
    stored = contents(files)
    assert canaries_in(stored) == set(), stored[stored.casefold().index("qk") - 80 :][:200]


async def test_d42_s27_of_an_address_that_was_given_up_and_what_was_said_nothing_is_left(world: World) -> None:
    applicant = f"A1,,Muster,{ERASED['email']},Neu,"
    (order,) = await world.queued(applicant, setup=with_setting("{after_months: 1}, core_data_keeps: []"))
    await world.send(order)
    await plant_what_was_said(world, order)
    assert (await take(world, "hard.qmail-no-mailbox", order)).effect is Effect.GIVEN_UP
    found = await row(world.database, applications, external_id="A1")
    assert (found["usable_email"], found["returned_email"]) == (None, ERASED["email"])
    now = world.clock.now() + timedelta(days=40)
    assert [done async for done in reduce_due(world.database, now=now, author="system")] == [1]
    assert [(table, text) for table, text in await texts_of(world.database) if canaries_in(text)] == []
    # That they asked, answered and could not be reached is still known.
    found = await row(world.database, applications, external_id="A1")
    assert (found["returned_email"], found["returned_at"], found["last_name"]) == (None, None, "Muster")
    assert [one["words"] for one in await rows(world.database, candidate_requests)] == [None]
    assert {one["kind"] for one in await rows(world.database, returned_mails)} == {"reply", "hard"}
    said = await rows(world.database, contact_entries)
    assert {one["direction"] for one in said} == {"outgoing", "incoming", "internal"}
