"""After reduction to core data (D42) nothing else of the person is left: canaries in every field, searched everywhere.

The rejection goes the real way: all services in one process, a mail server that defers once, the mailer's journal.
"""

from datetime import date, timedelta
from pathlib import Path

import pytest

from shared.db.core_data import reduce_to_core_data
from shared.db.person_commands import block, opt_out
from shared.db.reduction import reduce_due
from shared.db.returned_mails import Effect
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, blocks, candidate_requests, contact_entries, returned_mails
from tests.services.audit_world import fault, seal
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
from tests.services.import_files import Files, lines
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
    assert order["message_id"].startswith("sha256:") and order["email"].startswith("hmac:")
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


async def test_d24_d42_s27_under_an_earlier_person_nothing_is_left_either(world: World) -> None:
    files, when = Files(world.database, world.folder), {"author": "anna", "now": world.clock.now()}
    await files.applications(lines("external_id,duplicate_set,last_name", "A1,S1,Eins", "A2,S2,Eins", "A3,S1,Eins"))
    said = "2026-11-01T10:00:00Z,note,incoming,QKsubject,QKbody,QKuser"
    contact = lines("person,at,medium,direction,subject,body,user", f"S1,{said}")
    assert (await files.contacts(contact)).inserted == 1
    await block(world.database, "A1", job=None, until=None, reason="QKblock", **when)
    await opt_out(world.database, "A1", reason="QKreason", **when)
    # Merged with the other one, but for one application that becomes a third person's.
    await files.applications(lines("external_id,duplicate_set", "A1,S2", "A3,S3"))
    await block(world.database, "A2", job=None, until=date(2030, 1, 1), reason="QKlater", **when)
    people = {one["external_id"]: one["person_id"] for one in await rows(world.database, applications)}
    assert people["A1"] == people["A2"] != people["A3"] and await world.count(blocks) == 4

    async def reduce(application: str) -> set[str]:
        async with world.database.begin() as connection:
            ids = [(await row(world.database, applications, external_id=application))["id"]]
            await reduce_to_core_data(connection, ids, await load_system_settings(connection), world.clock.now())
        return {table for table, text in await texts_of(world.database) if canaries_in(text)}

    assert {"blocks", "events", "contact_entries"} <= await reduce("A1")
    # What the first person had is the third one's too.
    assert {"blocks", "events", "contact_entries"} <= await reduce("A2")
    standing = [one["reason"] for one in await rows(world.database, blocks, person_id=people["A2"])]
    assert standing == ["reduced to core data"] * 2
    later = contact.replace("-01T", "-02T")
    assert (await files.contacts(later)).inserted == 1  # the third one is still somebody
    assert await reduce("A3") == set()
    (refused,) = (await files.contacts(later.replace("-02T", "-03T"))).bad_rows
    assert "reduced to core data" in str(refused)
    assert {table for table, text in await texts_of(world.database) if canaries_in(text)} == set()
    assert await world.count(blocks, blocks.c.lifted_at.is_(None)) == 4
    await seal(world.database)
    assert await fault(world.database) == ""


async def test_d24_d42_s27_who_came_back_after_a_merger_keeps_what_is_theirs(world: World) -> None:
    files, when = Files(world.database, world.folder), {"author": "anna", "now": world.clock.now()}
    await files.applications(lines("external_id,duplicate_set", "A1,S1", "A2,S2", "A3,S3"))
    await block(world.database, "A1", job=None, until=None, reason="a reason", **when)
    for name in ("S2", "S1", "S3"):
        await files.applications(lines("external_id,duplicate_set", f"A1,{name}"))
    await files.applications(lines("external_id,duplicate_set", "A4,S1"))
    for applied in ("A2", "A3", "A1"):
        async with world.database.begin() as connection:
            ids = [(await row(world.database, applications, external_id=applied))["id"]]
            await reduce_to_core_data(connection, ids, await load_system_settings(connection), world.clock.now())
    person = (await row(world.database, applications, external_id="A4"))["person_id"]
    assert [one["reason"] for one in await rows(world.database, blocks, person_id=person)] == ["a reason"]
