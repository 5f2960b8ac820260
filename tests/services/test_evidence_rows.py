"""The evidence file has every column of every row about the person, also from before a merger (S28, D24)."""

import re
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from shared.db.audit_tables import approvals
from shared.db.candidate_requests import finish
from shared.db.candidate_wishes import Wish, say
from shared.db.core_data import reduce_to_core_data
from shared.db.duplicates import assign_persons
from shared.db.person_commands import OfOrder, block, opt_out, unblock
from shared.db.system_settings import SystemSettings
from shared.db.tables import applications, candidate_requests, custom_fields, events, metadata, persons
from shared.evidence.contents import LEFT_OUT, LISTS
from tests.services.audit_world import fault, seal
from tests.services.consent_world import answer, asked
from tests.services.evidence_world import about, everything, listed, made
from tests.services.import_files import Files, lines
from tests.services.setup_files import apply, row, rows
from tests.services.test_returned_mails import take
from tests.services.world import MORNING, World

WHO = {"author": "anna", "now": MORNING}
CONTACTS = "external_id,application,person,at,medium,direction,subject,body,user"


async def all_kinds(world: World) -> int:
    """A person with a row in every table that is in the file; returns the order of a consent letter."""
    (order,) = await asked(world, "A1,S1,Eins,a1@x.example,Neu,1990-01-02")
    now = world.clock.now()
    await say(world.database, OfOrder(order), Wish.CORRECT, "Ich heiße Zwei", now=now)
    await say(world.database, OfOrder(order), Wish.NO_BIRTHDAY, None, now=now)
    await say(world.database, OfOrder(order), Wish.PAUSE, None, now=now)
    (request,) = await rows(world.database, candidate_requests)
    await finish(world.database, request["id"], author="clara", now=now)
    await take(world, "hard.qmail-no-mailbox", order)
    await answer(world, order, "stay")
    await Files(world.database, world.folder).contacts(
        lines(CONTACTS, "K1,,S1,2026-01-01T10:00:00Z,phone,incoming,Anruf,Umzug,c")
    )
    found = await row(world.database, applications, external_id="A1")
    field = {"application_id": found["id"], "name_folded": "hobby", "name": "Hobby", "value": "Tanz"}
    approval = {"order_id": order, "seal": "s", "asked_by": "anna", "asked_at": now, "state": "waiting"}
    async with world.database.begin() as connection:
        await connection.execute(insert(custom_fields).values({**field, "value_folded": "tanz"}))
        await connection.execute(insert(approvals).values(approval))
    await seal(world.database)
    return order


async def test_s28_every_column_of_every_row_about_the_person_is_in_it(world: World, tmp_path: Path) -> None:
    order = await all_kinds(world)
    counts, files = await made(world, tmp_path / "a.zip")
    # Another one is planned.
    letter, _ = listed(files, "letters")
    assert (letter["id"], letter["state"]) == (order, "sent")
    found: dict[str, Any] = {
        "persons": about(files)["person"],
        "attempts": letter["tries"][0],
        "approvals": letter["approvals"][0],
        "write_orders": letter,
        "events": listed(files, "history")[0],
        "event_seals": listed(files, "history")[0],
    }
    for table in set(LISTS) - set(found) - {"custom_fields", "earlier_persons", "wishes_to_note"}:
        found[table] = listed(files, LISTS[table])[0]
    for name, one in found.items():
        columns = set(metadata.tables[name].columns.keys())
        assert columns - set(LEFT_OUT.get(name, {})) - set(one) == set(), name
    assert listed(files, "applications")[0]["custom"] == {"Hobby": "Tanz"}
    (request,) = listed(files, "requests")
    assert (request["words"], request["application"], request["done_by"]) == ("Ich heiße Zwei", "A1", "clara")
    (consent,) = listed(files, "consents")
    assert (consent["order_id"], consent["answer"], consent["status"]) == (order, "stay", "Absage")
    (returned,) = listed(files, "returned")
    assert (returned["order_id"], returned["kind"], returned["effect"]) == (order, "hard", "given_up")
    assert about(files)["person"]["no_birthday_since"]
    # The address is given up, and what was noted under it is still there.
    wishes = {one["noted_under"]: one for one in listed(files, "wishes")}
    assert set(wishes) == {"identity", "a1@x.example"}
    assert all(one["no_birthday_since"] and one["paused_until"] for one in wishes.values())
    assert {one["subject"] for one in listed(files, "contacts")} >= {"Anruf", "undeliverable: a1@x.example"}
    assert counts["requests"] == counts["consents"] == counts["returned"] == 1
    page = files["index.html"].decode()
    for words in ("Ich heiße Zwei", "möchte bleiben / wants to stay", "unzustellbar / undeliverable", "Anruf", "Tanz"):
        assert words in page


async def test_s28_names_in_the_zip_are_ours(world: World, tmp_path: Path) -> None:
    await world.queued("../../etc/passwd,,../x,a1@x.example,Neu,")
    await world.send((await world.order("../../etc/passwd"))["id"])
    _, files = await made(world, tmp_path / "a.zip", "../../etc/passwd")
    ours = re.compile(r"(letters/)?[a-z0-9-]+(\.version)?\.[a-z]+|README\.txt")
    assert [name for name in files if not ours.fullmatch(name)] == []
    assert "letters/" in "".join(files)


async def test_s28_what_is_left_of_a_reduced_person_is_told_as_it_is(world: World, tmp_path: Path) -> None:
    await all_kinds(world)
    found = await row(world.database, applications, external_id="A1")
    async with world.database.begin() as connection:
        await reduce_to_core_data(connection, [found["id"]], SystemSettings(core_data_keeps=()), MORNING)
    counts, files = await made(world, tmp_path / "a.zip")
    (application,) = listed(files, "applications")
    assert application["reduced_at"] and application["email"] is None and application["last_name"] == "Eins"
    assert [one["words"] for one in listed(files, "requests")] == [None] and counts["contacts"] > 1
    letter, _ = listed(files, "letters")
    assert letter["email"].startswith("hmac:") and (letter["letter_is"], letter["why"]) == ("version", "erased")
    # By the person, who is still known, and by what is kept of the address that a letter went to.
    assert [one["noted_under"] for one in listed(files, "wishes")] == ["identity", "an address that was erased"]
    assert about(files)["person"]["no_birthday_since"] and await fault(world.database) == ""
    for erased in ("Ich heiße Zwei", "a1@x.example", "Tanz", "Umzug"):
        assert erased not in everything(files)


async def merged(world: World) -> int:
    """A1 was a person of its own with a history, and is one with A2 now; returns the earlier person."""
    await world.begin("A1,S1,Eins,a1@x.example,Neu,", "A2,S2,Eins,a2@x.example,Pool,")
    earlier = (await row(world.database, applications, external_id="A1"))["person_id"]
    await opt_out(world.database, "A1", reason="QKreason", **WHO)
    await block(world.database, "A1", job=None, until=None, reason="QKblock", **WHO)
    await unblock(world.database, "A1", job=None, **WHO)
    await Files(world.database, world.folder).contacts(
        lines(CONTACTS, "K1,,S1,2026-01-01T10:00:00Z,phone,incoming,QKsubject,QKbody,c")
    )
    await world.applicants("A1,S2,Eins,a1@x.example,Neu,")
    return int(earlier)


async def test_d24_s28_what_was_recorded_before_a_merger_is_in_it(world: World, tmp_path: Path) -> None:
    earlier = await merged(world)
    for application in ("A1", "A2"):
        _, files = await made(world, tmp_path / f"{application}.zip", application)
        assert [one["id"] for one in about(files)["earlier_records"]] == [earlier]
        assert about(files)["records_shared_with_others"] == []
        told = [(one["action"], one["reason"]) for one in listed(files, "history") if one["record_id"] == earlier]
        assert ("opt_out", "QKreason") in told and ("unblock", None) in told
        (move,) = [one for one in listed(files, "history") if one["action"] == "move"]
        assert (move["record_name"], move["author"], move["noun"]) == ("A1", "anna", "person")
        # Lifted before the merger, so it was not carried over.
        assert [one["reason"] for one in listed(files, "blocks")] == ["QKblock"]
        assert "QKbody" in {one["body"] for one in listed(files, "contacts")}


async def test_d24_s28_also_over_several_mergers_and_by_the_nightly_pass(world: World, tmp_path: Path) -> None:
    first = await merged(world)
    second = (await row(world.database, applications, external_id="A2"))["person_id"]
    await world.applicants("A1,S3,Eins,a1@x.example,Neu,", "A2,S3,Eins,a2@x.example,Pool,")
    _, files = await made(world, tmp_path / "a.zip", "A2")
    assert [one["id"] for one in about(files)["earlier_records"]] == [first, second]
    assert "QKreason" in everything(files)
    # By keys that are changed, people become one without an import.
    await world.applicants("B1,,Neun,b@x.example,Neu,1990-01-02", "B2,,Neun,b@x.example,Neu,1990-01-02")
    await opt_out(world.database, "B1", reason="QKnight", **WHO)
    await apply(world.database, "settings: {duplicate_keys: [last_name, birth_date]}")
    async for _ in assign_persons(world.database, **WHO):
        pass
    _, files = await made(world, tmp_path / "b.zip", "B2")
    assert "QKnight" in everything(files)


async def test_d24_s28_what_two_people_were_together_is_in_neithers(world: World, tmp_path: Path) -> None:
    await world.begin("A1,S1,Eins,a1@x.example,Neu,", "B1,S1,Zwei,b1@x.example,Pool,")
    together = (await row(world.database, applications, external_id="A1"))["person_id"]
    await opt_out(world.database, "A1", reason="QKreason", **WHO)
    await world.applicants("A1,S2,Eins,a1@x.example,Neu,", "B1,S3,Zwei,b1@x.example,Pool,")
    for application in ("A1", "B1"):
        _, files = await made(world, tmp_path / f"{application}.zip", application)
        assert about(files)["records_shared_with_others"] == [together]
        assert about(files)["earlier_records"] == [] and "QKreason" not in everything(files)
        # What still holds does so for both, and is told.
        assert about(files)["person"]["opted_out_at"]
        assert "Records of others too" in files["index.html"].decode()


async def test_d42_what_a_person_was_before_a_merger_is_reduced_too(world: World) -> None:
    earlier = await merged(world)
    ids = [(await row(world.database, applications, external_id=name))["id"] for name in ("A1", "A2")]
    for number, some in enumerate((ids[:1], ids[1:])):
        left = str(await rows(world.database, events, noun="person", record_id=earlier))
        assert "QKreason" in left, f"erased with application {number}"
        async with world.database.begin() as connection:
            await reduce_to_core_data(connection, some, SystemSettings(core_data_keeps=()), MORNING)
    for table in metadata.sorted_tables:
        assert "QK" not in str(await rows(world.database, table)), table.name
    await seal(world.database)
    assert await fault(world.database) == ""
    assert (await row(world.database, persons, id=earlier))["opted_out_at"]


async def test_d42_what_two_people_were_together_stays_for_who_is_not_reduced(world: World) -> None:
    await world.begin("A1,S1,Eins,a1@x.example,Neu,", "B1,S1,Zwei,b1@x.example,Pool,")
    together = (await row(world.database, applications, external_id="A1"))["person_id"]
    await opt_out(world.database, "A1", reason="QKreason", **WHO)
    await world.applicants("A1,S2,Eins,a1@x.example,Neu,", "B1,S3,Zwei,b1@x.example,Pool,")
    for name, left in (("A1", True), ("B1", False)):
        found = await row(world.database, applications, external_id=name)
        async with world.database.begin() as connection:
            await reduce_to_core_data(connection, [found["id"]], SystemSettings(core_data_keeps=()), MORNING)
        assert ("QKreason" in str(await rows(world.database, events, record_id=together))) is left
