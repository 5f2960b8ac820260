"""Words that stand in one field of a person each, and where they are looked for after the reduction (D42)."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import insert, select, update

from shared.db.candidate_wishes import Wish, say
from shared.db.engine import Database
from shared.db.person_commands import OfOrder
from shared.db.returned_addresses import give_up_address, restore_address
from shared.db.returned_mails import Effect, TakenIn, take_in
from shared.db.tables import applications, blocks, events, metadata, write_orders
from shared.domain.returned_mail import understand
from shared.settings import Settings
from tests.returned_mails import returned_mail
from tests.services.import_files import Files, lines
from tests.services.running import run_all
from tests.services.setup_files import row
from tests.services.test_returned_mails import PATHS
from tests.services.world import MORNING, SETUP, World
from tests.smtp_oracle import SmtpOracle

DEADLINE = 30
#: Words that stand in one field each.
ERASED = {
    "title": "QKtitle", "salutation": "QKsalutation", "phone": "QKphone", "email": "qkmail@x.example",
    "language": "QKlanguage", "department": "QKdepartment", "location": "QKlocation", "source": "QKsource",
    "recruiter": "QKrecruiter", "custom.QKname": "QKvalue",
}  # fmt: skip
KEPT = {
    "first_name": "QLfirst", "last_name": "QLlast", "birth_date": "1987-06-05", "street": "QLstreet",
    "postal_code": "QL123", "city": "QLcity", "country": "QLcountry", "vacancy": "QLvacancy", "kind": "pool",
    "received_on": "2019-08-07", "duplicate_set": "QLset",
}  # fmt: skip
#: What the person says and what comes back, as recorded by what the product does with it.
SAID = ("QKwords", "QKanswer", "QKbounced")
REJECTING = SETUP.replace("sync_minutes: 5", "sync_minutes: 5, reduce_core_data: at_once, core_data_keeps: []").replace(
    'subject: "Absage"', 'subject: "Absage {{ applicant.title }} {{ applicant.phone | default(1) }}"'
) + SETUP.partition("jobs:\n")[2].replace("Gruß", "Absagen").replace("Brief", "Ende").replace("An,", "Aus,")


def settings_for(folder: Path, oracle: SmtpOracle) -> Settings:
    values = {"smtp_url": oracle.url, "kp_state_dir": folder / "state", "kp_tick_seconds": 0.1}
    return Settings.model_validate(values | {"kp_backoff_seconds": 0.2})


async def plant(world: World) -> None:
    """Everything that can be said about a person, and an order that ended without an address."""
    columns = ["external_id", "status", "in_pool", *KEPT, *ERASED]
    values = ["A1", "Neu", "true", *KEPT.values(), *ERASED.values()]
    files = Files(world.database, world.folder)
    without = ["qkbad@" if value == ERASED["email"] else value for value in values]
    assert not (await files.applications(lines(",".join(columns), ",".join(without)))).bad_rows
    await world.run()
    (order,) = await world.turn()
    await world.claim(order)
    assert "qkbad" in (await world.order("A1"))["reason"]
    assert not (await files.applications(lines(",".join(columns), ",".join(values)))).bad_rows
    contacts = "external_id,application,person,at,medium,direction,subject,body,user"
    said = "2026-11-01T10:00:00Z,note,incoming,QKsubject,QKbody,QKuser"
    await files.contacts(lines(contacts, f"QKid1,A1,,{said}", f",A1,,{said}", f"QKid2,,QLset,{said}"))
    await _plant_rows(world, order)
    await plant_what_was_said(world, order)
    person = (await row(world.database, applications, external_id="A1"))["person_id"]
    when = {"author": "anna", "now": world.clock.now()}
    async with world.database.begin() as connection:
        assert await give_up_address(connection, person, ERASED["email"], "QKbounced", **when)
    # The rejection has to reach the address; what was told of it stays.
    assert await restore_address(world.database, "A1", **when) == ["A1"]


async def plant_what_was_said(world: World, order: int) -> None:
    """The candidate asks for a correction on the page, and answers a letter."""
    now = world.clock.now()
    await say(world.database, OfOrder(order), Wish.CORRECT, "QKwords", now=now)
    answer = returned_mail("reply.thunderbird-german").replace(b"danke der Nachfrage", b"QKanswer")
    mail = f"Delivered-To: {PATHS.of(order)}\r\n".encode() + answer
    assert await take_in(world.database, understand(mail), PATHS, now) == TakenIn(Effect.CONTACT, order)


async def _plant_rows(world: World, order: int) -> None:
    found = await row(world.database, applications, external_id="A1")
    event = {"at": MORNING, "author": "anna", "old": "QKold", "new": "QKnew", "reason": "QKreason"}
    block = {"scope": "letter", "reason": "QKblock", "author": "anna", "created_at": MORNING}
    nouns = {"application": found["id"], "person": found["person_id"], "order": order}
    async with world.database.begin() as connection:
        for noun, number in nouns.items():
            one = {**event, "noun": noun, "record_id": number, "action": "change", "field": "phone"}
            await connection.execute(insert(events).values(one))
        await connection.execute(insert(blocks).values(person_id=found["person_id"], **block))
        await connection.execute(update(write_orders).values(created_by="QKcreator"))


async def send_the_rejection(world: World, settings: Settings, broker_url: str = "memory://") -> None:
    await world.change("Absagen", status="An")
    await world.run("Absagen")
    stop = asyncio.Event()
    services = asyncio.create_task(run_all(world, settings, stop, broker_url=broker_url))
    end = time.monotonic() + DEADLINE
    while (await row(world.database, applications, external_id="A1"))["reduced_at"] is None:
        assert time.monotonic() < end and not services.done(), await world.rows()
        await asyncio.sleep(0.05)
    stop.set()
    await services


async def texts_of(database: Database) -> list[tuple[str, str]]:
    """(table, row) of every row of every table, as text."""
    found = []
    async with database.read() as connection:
        for table in metadata.sorted_tables:
            rows = (await connection.execute(select(table))).mappings()
            found += [(table.name, repr(dict(one))) for one in rows]
    return found


def canaries_in(text: str) -> set[str]:
    lowered = text.casefold()
    return {word for word in ("qk", "<order-") if word in lowered}


def stored_in(folder: Path) -> list[Path]:
    """The files of the database, if it is one."""
    return list(folder.glob("test.sqlite3*"))


def contents(paths: Iterable[Path]) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in paths if path.is_file())
