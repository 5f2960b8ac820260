"""A letter of the evidence file is the one that was handed over, byte for byte, or is said not to be (S28).

And who had set it up and let it go, however it came about.
"""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from shared.db.jobs import delete_job, set_job
from shared.db.manual_orders import Wish, create_order
from shared.db.order_commands import decide_resend, settle
from shared.db.run_commands import release_held
from shared.db.tables import application_queries, attempts, write_orders
from shared.domain.text import fold
from shared.setup import apply_setup
from tests.services.evidence_world import Contents, about, everything, listed, made
from tests.services.running import running, settings_for, until
from tests.services.setup_files import read, row, rows
from tests.services.test_dispatch import TOMORROW, held_dispatch
from tests.services.test_four_eyes import EYES, approved, unclear
from tests.services.test_reduction import reduce_now
from tests.services.world import JOB, MORNING, SETUP, World
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import well_behaved

OLD, NEW = "the-old-secret-of-links-for-the-tests-only", "the-new-secret-of-links-for-the-tests-only"
LINKS = {"KP_PUBLIC_URL": "https://firma.example/pflege"}
PERSON = "A1,,Eins,a1@x.example,Neu,"


@pytest.fixture(scope="module")
def dkim(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings that sign."""
    file = tmp_path_factory.mktemp("dkim") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", file, "2048"], check=True, capture_output=True, timeout=60)
    return {"KP_DKIM_DOMAIN": "firma.example", "KP_DKIM_SELECTOR": "k1", "KP_DKIM_KEY_FILE": file}


async def sent(world: World, folder: Path, setup: str = SETUP, **given: Any) -> bytes:
    """What the mail server took, by a mailer with these settings."""
    await world.begin(PERSON, setup=setup)
    async with SmtpOracle(folder / "ledger", well_behaved) as oracle:
        async with running(world, settings_for(folder, oracle.url, **given)):
            await world.run()
            await until(world, lambda states: states == {"A1": "sent"})
        (mail,) = oracle.mails
    return mail.content


async def letter_of(world: World, out: Path, application: str = "A1", **given: Any) -> tuple[dict[str, Any], Contents]:
    _, files = await made(world, out, application, **given)
    (letter,) = listed(files, "letters")
    return letter, files


def restored(letter: dict[str, Any], files: Contents) -> bytes | None:
    """The mail, if the file says that it is the one that was sent; and only then is there one."""
    is_there = [name for name in files if name.endswith(".eml")]
    assert (letter["letter_is"] == "same") is bool(is_there)
    return files[letter["file"]] if is_there else None


@pytest.mark.timeout(120)
async def test_s28_links_of_an_older_key_are_in_it_as_long_as_that_key_is_believed(
    world: World, tmp_path: Path
) -> None:
    mail = await sent(world, tmp_path, **LINKS, KP_LINK_KEYS=OLD)
    both = {**LINKS, "KP_LINK_KEYS": f"{NEW} {OLD}"}
    letter, files = await letter_of(world, tmp_path / "a.zip", **both)
    assert restored(letter, files) == mail and letter["why"] is None
    assert about(files)["letters_written_again_with"] == {
        "public_url": "https://firma.example/pflege",
        "link_keys": 2,
        "dkim": None,
    }
    assert OLD not in everything(files) and NEW not in everything(files)
    for given in ({**LINKS, "KP_LINK_KEYS": NEW}, {}):
        letter, files = await letter_of(world, tmp_path / "b.zip", **given)
        assert restored(letter, files) is None and letter["why"] == "differs"
        assert letter["file"].endswith(".version.json") and letter["tries"][0]["why"] == "differs"
        assert "keys changed since" in files["index.html"].decode()


@pytest.mark.timeout(120)
async def test_s28_a_letter_from_before_there_were_links_or_signatures(
    world: World, tmp_path: Path, dkim: dict[str, Any]
) -> None:
    mail = await sent(world, tmp_path)
    letter, files = await letter_of(world, tmp_path / "a.zip", **LINKS, KP_LINK_KEYS=NEW, **dkim)
    assert restored(letter, files) == mail and letter["signed"] is False
    assert about(files)["letters_written_again_with"]["dkim"] == "k1._domainkey.firma.example"


@pytest.mark.timeout(120)
async def test_s28_a_signed_letter_is_in_it_with_its_signature_or_not_at_all(
    world: World, tmp_path: Path, dkim: dict[str, Any]
) -> None:
    mail = await sent(world, tmp_path, **LINKS, KP_LINK_KEYS=OLD, **dkim)
    assert mail.startswith(b"DKIM-Signature: ")
    letter, files = await letter_of(world, tmp_path / "a.zip", **LINKS, KP_LINK_KEYS=f"{NEW} {OLD}", **dkim)
    assert restored(letter, files) == mail and letter["signed"] is True
    # Without the key it could be written without its signature: that is not what was sent.
    letter, files = await letter_of(world, tmp_path / "b.zip", **LINKS, KP_LINK_KEYS=OLD)
    assert restored(letter, files) is None and (letter["why"], letter["signed"]) == ("differs", None)


@pytest.mark.timeout(120)
async def test_s28_each_attempt_is_told_for_itself(world: World, tmp_path: Path) -> None:
    mail = await sent(world, tmp_path)
    (last,) = await rows(world.database, attempts)
    others = [
        # Handed over with what is not known any more; not noted by an older release; not handed over.
        {**last, "attempt_no": 2, "lease_token": 2, "body_hash": "0" * 64},
        {**last, "attempt_no": 3, "lease_token": 3, "body_hash": None},
        {**last, "attempt_no": 4, "lease_token": 4, "body_hash": None, "handed_over_at": None},
        {**last, "attempt_no": 5, "lease_token": 5},
    ]
    async with world.database.begin() as connection:
        await connection.execute(insert(attempts), others)
    letter, files = await letter_of(world, tmp_path / "a.zip")
    assert restored(letter, files) == mail
    told = [(one["attempt_no"], one["letter_is"], one["why"]) for one in letter["tries"]]
    assert told == [
        (1, "same", None),
        (2, "version", "differs"),
        (3, "version", "not_noted"),
        (4, "not_sent", None),
        (5, "same", None),
    ]
    assert {one["file"] for one in letter["tries"]} == {
        letter["file"],
        letter["file"].replace("eml", "version.json"),
        None,
    }


@pytest.mark.timeout(120)
async def test_s28_a_letter_that_cannot_be_written_any_more(world: World, tmp_path: Path) -> None:
    await sent(world, tmp_path)
    async with world.database.begin() as connection:
        await connection.execute(update(write_orders).values(email="no address"))
    letter, files = await letter_of(world, tmp_path / "a.zip")
    assert restored(letter, files) is None and letter["why"] == "not_writable"
    async with world.database.begin() as connection:
        await connection.execute(update(attempts).values(handed_over_at=None, body_hash=None))
    letter, files = await letter_of(world, tmp_path / "b.zip")
    assert letter["why"] == "not_noted" and letter["file"] in files


async def test_s28_what_is_set_up_later_does_not_count_for_an_earlier_letter(world: World, tmp_path: Path) -> None:
    await approved(world, PERSON)
    await world.run()
    await world.send(*await world.turn())
    later = MORNING + timedelta(days=1)
    by_eva: dict[str, Any] = {"author": "eva", "now": later}
    await apply_setup(world.database, read(EYES.replace("Guten Tag {{", "Hallo {{")), **by_eva)
    await set_job(world.database, JOB, {"note": "anders", "query": "Geburtstag"}, **by_eva)
    letter, _ = await letter_of(world, tmp_path / "a.zip")
    assert letter["configured_by"] == {"job": "anna", "query": "anna", "letter": "anna"}
    assert letter["released_by"]["author"] == "bert"
    assert [one["of"] for one in letter["approvals"]] == ["job"] and letter["approvals"][0]["decided_by"] == "bert"
    # The job is gone: the history still knows.
    await delete_job(world.database, JOB, author="eva", now=later)
    letter, _ = await letter_of(world, tmp_path / "b.zip")
    assert (letter["job_name"], letter["configured_by"]["job"]) == (JOB, "anna")
    assert letter["released_by"]["author"] == "bert"
    async with world.database.begin() as connection:
        renamed = update(application_queries).where(application_queries.c.name == "Neue")
        await connection.execute(renamed.values(name="Andere", name_folded=fold("Andere")))
    letter, _ = await letter_of(world, tmp_path / "c.zip")
    assert "query" not in letter["configured_by"]  # better not told than told wrongly


async def test_s28_without_four_eyes_who_switched_it_on_has_released_it(world: World, tmp_path: Path) -> None:
    await world.begin(PERSON)
    for author, status in (("anna", "Aus"), ("dora", "An")):
        await set_job(world.database, JOB, {"status": status}, author=author, now=MORNING)
    await world.run()
    await world.send(*await world.turn())
    letter, files = await letter_of(world, tmp_path / "a.zip")
    assert letter["released_by"]["author"] == "dora" and letter["configured_by"]["job"] == "anna"
    assert letter["approvals"] == [] and "dora" in files["index.html"].decode()


async def test_s28_a_held_dispatch_tells_who_let_it_go(world: World, tmp_path: Path) -> None:
    await held_dispatch(world)
    await release_held(world.database, JOB, author="clara", now=world.clock.now())
    world.clock.advance(timedelta(seconds=1))
    await world.turn()
    (order,) = [one["id"] for one in await world.rows(TOMORROW) if one["external_id"] == "B7"]
    await world.send(order)
    letter, _ = await letter_of(world, tmp_path / "a.zip", "B7")
    assert letter["released_by"]["held_dispatch_released_by"] == "clara"
    assert letter["released_by"]["author"] == "anna"


async def test_s28_a_letter_by_hand_tells_who_wrote_it_also_when_it_is_reduced(world: World, tmp_path: Path) -> None:
    await world.begin(PERSON)
    await world.change(status="Aus")
    wish = Wish("manual", "A1", "Brief", None)
    made_by_hand = await create_order(world.database, wish, author="dora", now=MORNING)
    await world.turn()
    await world.send(made_by_hand["id"])
    for name in ("a", "b"):
        letter, _ = await letter_of(world, tmp_path / f"{name}.zip")
        assert letter["released_by"]["author"] == "dora" and letter["configured_by"] == {"letter": "anna"}
        assert [(one["action"], one["author"]) for one in letter["decisions"]] == [("create", "dora")]
        await reduce_now(world, "A1")


async def test_s28_s23_a_letter_that_was_sent_again_tells_who_asked_and_who_approved(
    world: World, tmp_path: Path
) -> None:
    order = await unclear(world)
    await settle(world.database, order, "resend", now=MORNING, author="anna")
    letter, _ = await letter_of(world, tmp_path / "a.zip")
    assert letter["state"] == "unclear" and letter["letter_is"] == "version"
    assert [(one["of"], one["state"]) for one in letter["approvals"]] == [("job", "approved"), ("order", "waiting")]
    await decide_resend(world.database, order, approve=True, now=MORNING, author="bert")
    world.clock.advance(timedelta(minutes=20))
    await world.sweep()
    await world.send(order)
    letter, files = await letter_of(world, tmp_path / "b.zip")
    assert letter["state"] == "sent" and len(letter["tries"]) == 2
    again = letter["approvals"][-1]
    assert (again["of"], again["asked_by"], again["decided_by"], again["state"]) == (
        "order",
        "anna",
        "bert",
        "approved",
    )
    decided = [(one["action"], one["author"]) for one in letter["decisions"]]
    assert ("ask_approval", "anna") in decided and ("approve", "bert") in decided
    told = [(one["action"], one["record_id"]) for one in listed(files, "history") if one["noun"] == "order"]
    assert ("approve", order) in told


async def test_s28_of_more_letters_than_are_asked_for_at_once_each_is_in_it_once(world: World, tmp_path: Path) -> None:
    await world.queued(PERSON)
    await world.send((await world.order("A1"))["id"])
    one = await row(world.database, write_orders)
    tried = await row(world.database, attempts)
    many = [
        {
            **one,
            "id": one["id"] + n,
            "lineage_id": None,
            "job_id": None,
            "type": "manual",
            "run_id": None,
            "job_name": None,
        }
        for n in range(1, 500)
    ]
    async with world.database.begin() as connection:
        await connection.execute(insert(write_orders), many)
        await connection.execute(
            insert(attempts), [{**tried, "order_id": each["id"], "lease_token": each["id"]} for each in many]
        )
    counts, files = await made(world, tmp_path / "a.zip")
    assert counts["letters"] == 500 == len(listed(files, "letters"))
    assert len({letter["id"] for letter in listed(files, "letters")}) == 500
