"""The evidence file (Art. 15 GDPR): everything about one person, as sent, and nothing about anybody else."""

import json
import zipfile
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from shared.db.audit_tables import event_seals
from shared.db.core_data import reduce_to_core_data
from shared.db.jobs import approve_job
from shared.db.order_commands import block as block_order
from shared.db.person_commands import block, opt_out
from shared.db.system_settings import SystemSettings
from shared.db.tables import applications, custom_fields, events
from shared.errors import NotFound
from tests.services.audit_world import seal
from tests.services.command_line import CommandLine
from tests.services.evidence_world import about, listed, made
from tests.services.import_files import Files, lines
from tests.services.running import running, settings_for, until
from tests.services.setup_files import row, rows
from tests.services.world import EYES, JOB, MORNING, World
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import well_behaved

#: Two people of one name and birthday, and of two duplicate sets. Whatever is the other one's has ZZ in it.
COLUMNS = "external_id,duplicate_set,salutation,first_name,last_name,birth_date,email,status,phone,custom.Hobby"
PEOPLE = (
    "A1,S1,Frau,Ana,Eins,1990-01-02,a1@x.example,Neu,+49 1,Tanz",
    "A2,S1,Frau,Ana,Eins,1990-01-02,a2@x.example,Pool,,",
    "ZZ1,ZZS,Frau,Ana,Eins,1990-01-02,zz@x.example,Neu,ZZ1,ZZHobby",
)
WRITING = EYES.replace(
    '"Guten Tag {{ applicant.last_name }}"', '"{{ salutation_line }} {{ application.custom.hobby | default(1) }}"'
)


async def sent(world: World, folder: Path) -> dict[str, bytes]:
    """The mails of a dispatch by the real mailer, by recipient."""
    await world.begin(setup=WRITING)
    assert not (await Files(world.database, world.folder).applications(lines(COLUMNS, *PEOPLE))).bad_rows
    entry = "external_id,application,person,at,medium,direction,subject,body,user"
    contacts = (
        "K1,A2,,2026-01-01T10:00:00Z,phone,outgoing,Anruf,Nichts,c",
        "K2,,S1,2025-01-01T10:00:00Z,note,internal,Notiz,,",
    )
    await Files(world.database, world.folder).contacts(
        lines(entry, *contacts, "K3,ZZ1,,2025-01-01T10:00:00Z,note,internal,ZZsubject,ZZbody,ZZuser")
    )
    await approve_job(world.database, JOB, author="bert", now=MORNING)
    async with SmtpOracle(folder / "ledger", well_behaved) as oracle:
        async with running(world, settings_for(folder, oracle.url)):
            await world.run()
            await until(world, lambda states: states == {"A1": "sent", "ZZ1": "sent"})
        return {one.recipient: one.content for one in oracle.mails}


@pytest.mark.timeout(120)
async def test_s28_letters_are_in_it_byte_for_byte_and_nobody_else_is(world: World, tmp_path: Path) -> None:
    mails = await sent(world, tmp_path)
    assert len(mails) == 2
    await opt_out(world.database, "A2", reason="will nicht", author="anna", now=MORNING)
    await block(world.database, "A1", job=JOB, until=None, reason="Pause", author="anna", now=MORNING)
    await block(world.database, "ZZ1", job=JOB, until=None, reason="ZZreason", author="ZZanna", now=MORNING)
    await seal(world.database)
    counts, files = await made(world, tmp_path / "a.zip", "A2")
    few = {"letters": 1, "applications": 2, "blocks": 1, "contacts": 3, "wishes": 3}
    assert counts == {**few, "requests": 0, "consents": 0, "returned": 0, "history": counts["history"]}
    (letter,) = listed(files, "letters")
    assert files[letter["file"]] == mails["a1@x.example"]
    mail = message_from_bytes(files[letter["file"]], policy=policy.SMTP)
    assert "Sehr geehrte Frau Eins Tanz" in mail.get_body().get_content()  # type: ignore[union-attr]
    assert (letter["state"], letter["letter_is"], letter["letter_version"]) == ("sent", "same", 1)
    assert letter["tries"][0]["reply_code"] == 250 and letter["tries"][0]["body_hash"]
    assert letter["configured_by"] == {"job": "anna", "query": "anna", "letter": "anna"}
    assert letter["released_by"]["author"] == "bert"
    data = {"salutation_line": "Sehr geehrte Frau Eins", "application.custom.hobby": "Tanz"}
    assert letter["data_used"] == letter["tries"][0]["data_used"] == data
    (approval,) = letter["approvals"]
    assert (approval["asked_by"], approval["decided_by"]) == ("anna", "bert")
    assert [one["external_id"] for one in listed(files, "applications")] == ["A1", "A2"]
    assert listed(files, "applications")[0]["custom"] == {"Hobby": "Tanz"}
    assert [one["reason"] for one in listed(files, "blocks")] == ["Pause"]
    assert {one["subject"] for one in listed(files, "contacts")} >= {"Anruf", "Notiz"}
    said = about(files)
    assert said["person"]["opted_out_at"] and said["made_by"] == "chef" and said["counts"] == counts
    assert b"ZZ" not in b"".join(files.values()).replace(b"ZZ==", b"")
    assert "Art. 15 DSGVO" in files["README.txt"].decode() and "Art. 15 GDPR" in files["README.txt"].decode()
    assert letter["file"] in files["index.html"].decode()


@pytest.mark.timeout(120)
async def test_s28_a_letter_with_links_to_an_address_not_in_normal_form_is_in_it(world: World, tmp_path: Path) -> None:
    given = {"KP_PUBLIC_URL": "https://firma.example/pflege", "KP_LINK_KEYS": "a-secret-of-links-for-the-tests-only"}
    given |= {"KP_BOUNCE_ADDRESS": "bounce@mail.firma.example"}
    await world.begin("A1,,Eins,Max.Muster@GMX.de,Neu,")
    async with SmtpOracle(tmp_path / "ledger", well_behaved) as oracle:
        async with running(world, settings_for(tmp_path, oracle.url, **given)):
            await world.run()
            await until(world, lambda states: states == {"A1": "sent"})
        (mail,) = oracle.mails
    assert mail.recipient == "Max.Muster@gmx.de" and b"List-Unsubscribe: " in mail.content
    _, files = await made(world, tmp_path / "a.zip", **given)
    (letter,) = listed(files, "letters")
    assert letter["letter_is"] == "same" and files[letter["file"]] == mail.content


@pytest.mark.timeout(120)
async def test_s28_what_is_not_kept_any_more_is_said(world: World, tmp_path: Path) -> None:
    await sent(world, tmp_path)
    async with world.database.begin() as connection:
        a1 = update(applications).where(applications.c.external_id == "A1")
        await connection.execute(a1.values(last_name="Neu-Eins"))
    _, files = await made(world, tmp_path / "b.zip")
    (letter,) = listed(files, "letters")
    assert (letter["letter_is"], letter["why"], letter["subject"]) == ("version", "differs", "Guten Tag")
    assert letter["tries"][0]["body_hash"] and letter["signed"] is letter["data_used"] is None
    version = json.loads(files[letter["file"]])
    assert "{{ salutation_line }}" in version["text"] and not [one for one in files if one.endswith(".eml")]
    found = await row(world.database, applications, external_id="A1")
    async with world.database.begin() as connection:
        await reduce_to_core_data(connection, [found["id"]], SystemSettings(core_data_keeps=()), MORNING)
    _, files = await made(world, tmp_path / "c.zip")
    (letter,) = listed(files, "letters")
    assert (letter["letter_is"], letter["why"]) == ("version", "erased") and letter["tries"][0]["body_hash"] is None
    assert "erased with the reduction" in files["index.html"].decode()
    assert listed(files, "applications")[0]["reduced_at"]
    assert b"Tanz" not in b"".join(files.values())


async def test_s28_each_export_is_in_the_history_and_in_itself(world: World, tmp_path: Path) -> None:
    await world.queued()
    order = (await world.order("A1"))["id"]
    await block_order(
        world.database, order, scope="letter", reason="so", until=None, now=MORNING + timedelta(1), author="anna"
    )
    await seal(world.database)
    for number in (1, 2):
        _, files = await made(world, tmp_path / f"{number}.zip")
        told = listed(files, "history")
        assert [one["author"] for one in told if one["action"] == "evidence"] == ["chef"] * number
        assert [one["seal"] for one in told if one["action"] == "evidence"][-1] is None  # not sealed yet
    numbers = {one["event_id"]: one["number"] for one in await rows(world.database, event_seals)}
    (blocked,) = [one for one in told if one["action"] == "block" and one["noun"] == "order"]
    assert blocked["seal"] == numbers[blocked["id"]] and len(blocked["link"]) == 64
    (letter,) = listed(files, "letters")
    assert (letter["state"], letter["letter_is"], letter["file"]) == ("blocked", "not_sent", None)
    with pytest.raises(NotFound):
        await made(world, tmp_path / "x.zip", "nobody")
    async with world.database.read() as connection:
        made_ones = await connection.execute(select(events.c.id).where(events.c.action == "evidence"))
        assert len(made_ones.all()) == 2


async def test_s28_names_cannot_break_the_index(world: World, tmp_path: Path) -> None:
    await world.begin('A1,,"<script>alert(1)</script>",a1@x.example,Neu,')
    found = await row(world.database, applications, external_id="A1")
    field = {"application_id": found["id"], "name_folded": "x", "name": "</script>", "value": "<b>", "value_folded": ""}
    async with world.database.begin() as connection:
        await connection.execute(insert(custom_fields).values(field))
    await world.run()
    _, files = await made(world, tmp_path / "a.zip")
    assert b"<script" not in files["index.html"] and b"<b>" not in files["index.html"]


def test_s28_on_the_command_line(cli: CommandLine) -> None:
    answer = cli("person", "evidence", "A1", "--out", "a.zip")
    assert answer.code == 0 and "1 applications" in answer.out
    assert zipfile.ZipFile(cli.folder / "a.zip").testzip() is None
    assert "needs 'admin'" in cli.says_one_line("person", "evidence", "A1", "--out", "b.zip", KP_USER="a.weber")
    assert "is a .zip" in cli.says_one_line("person", "evidence", "A1", "--out", "b.txt")
    assert "there is no application" in cli.says_one_line("person", "evidence", "A7", "--out", "b.zip")
    assert not (cli.folder / "b.zip").exists()
    # What is in it is nobody else's to read, and there is none that is half made.
    assert (cli.folder / "a.zip").stat().st_mode & 0o777 == 0o600
    said = cli.says_one_line("person", "evidence", "A1", "--out", "no/such/folder/b.zip")
    assert "cannot be written" in said and "database" not in said
    assert list(cli.folder.glob("**/*.part")) == []
