"""What comes back: addresses are given up and restored, answers count as contact, nothing is counted twice (S32)."""

import asyncio
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import select

from shared.db.engine import Database
from shared.db.returned_addresses import restore_address
from shared.db.returned_mails import MOST_MAILS, Effect, TakenIn, take_in
from shared.db.tables import applications, contact_entries, events, persons, returned_mails, users
from shared.domain.link_tokens import LinkTokens
from shared.domain.return_paths import ReturnPaths
from shared.domain.returned_mail import Kind, ReturnedMail, understand
from shared.errors import NotFound, Refused
from tests.returned_mails import BESIDE, NAMES, returned_mail
from tests.services.share_roles import by_its_role
from tests.services.world import DAY, JOB, World

TOKENS = LinkTokens(["a secret of return paths for tests only"])
PATHS = ReturnPaths("bounce@mail.firma.example", TOKENS)
ADDRESS = "a1@x.example"
SECOND = "A2,S,Zwei,a1@x.example,Pool,"


async def sent(world: World, *applicants: str) -> int:
    """The order of a letter that was accepted."""
    (first, *rest) = await world.queued(*(applicants or ("A1,S,Eins,a1@x.example,Neu,",)))
    await world.send(first, *rest)
    return first


async def take(world: World, name: str, order_id: int, **given: str) -> TakenIn:
    """Reads a mail of the corpus about an order's letter; by default both ways lead to it."""
    row = next(row for row in await world.rows() if row["id"] == order_id)
    ways = {"letter": row["message_id"], "bounce": PATHS.of(order_id), "address": row["email"]} | given
    async with by_its_role(world.database, "mailbox") as database:
        return await take_in(database, understand(returned_mail(name, **ways)), PATHS, world.clock.now())


async def application(database: Database, name: str) -> dict[str, object]:
    async with database.read() as connection:
        statement = select(applications).where(applications.c.external_id == name)
        return dict((await connection.execute(statement)).mappings().one())


async def test_s32_every_hard_bounce_of_the_corpus_gives_the_address_up(world: World) -> None:
    names = [name for name in NAMES if name.startswith("hard") and name not in BESIDE]
    await sent(world, *(f"H{number},,Eins,h{number}@x.example,Neu," for number in range(len(names))))
    for name, row in zip(names, await world.rows(), strict=True):
        assert await take(world, name, row["id"]) == TakenIn(Effect.GIVEN_UP, row["id"]), name
        found = await application(world.database, row["external_id"])
        assert (found["email"], found["usable_email"], found["returned_email"]) == (row["email"], None, row["email"])


async def test_s32_an_address_that_was_not_given_in_normal_form_is_given_up_too(world: World) -> None:
    order_id = await sent(world, "A1,S,Eins,Max.Muster@GMX.de,Neu,", "A2,S,Zwei,Max.Muster@gmx.DE,Pool,")
    assert (await world.rows())[0]["email"] == "Max.Muster@GMX.de"
    assert await take(world, "hard.qmail-no-mailbox", order_id) == TakenIn(Effect.GIVEN_UP, order_id)
    for name, given in (("A1", "Max.Muster@GMX.de"), ("A2", "Max.Muster@gmx.DE")):
        found = await application(world.database, name)
        addresses = (found["email"], found["usable_email"], found["returned_email"])
        assert addresses == (given, None, "Max.Muster@gmx.de")


async def test_s32_an_address_is_given_up_in_whatever_case_an_application_has_it(world: World) -> None:
    order_id = await sent(world, "A1,S,Eins,Max@x.example,Neu,", "A2,S,Zwei,max@X.example,Pool,")
    assert await take(world, "hard.qmail-no-mailbox", order_id) == TakenIn(Effect.GIVEN_UP, order_id)
    found = [await application(world.database, name) for name in ("A1", "A2")]
    assert [one["usable_email"] for one in found] == [None, None]
    assert [one["returned_email"] for one in found] == ["Max@x.example", "max@x.example"]


async def test_it_is_the_persons_address_that_is_given_up_and_nobody_elses(world: World) -> None:
    order_id = await sent(world, "A1,S,Eins,a1@x.example,Neu,", SECOND, "A3,,Drei,a1@x.example,Pool,")
    await take(world, "hard.qmail-no-mailbox", order_id)
    usable = {name: (await application(world.database, name))["usable_email"] for name in ("A1", "A2", "A3")}
    assert usable == {"A1": None, "A2": None, "A3": ADDRESS}
    assert await world.count(contact_entries, contact_entries.c.medium == "note") == 1
    assert await world.count(events, events.c.action == "give_up_address") == 2


async def test_s32_nothing_else_of_the_corpus_changes_a_person(world: World) -> None:
    names = [name for name in NAMES if name.partition(".")[0] not in ("hard", "reply", "unknown")]
    # A letter of its own for each: all are looked at, and none is one of several in a row.
    await sent(world, *(f"N{number},,Eins,n{number}@x.example,Neu," for number in range(len(names))))
    for name, row in zip(names, await world.rows(), strict=True):
        before = await application(world.database, row["external_id"])
        assert await take(world, name, row["id"]) == TakenIn(Effect.RECORDED, row["id"]), name
        assert await application(world.database, row["external_id"]) == before
    assert await world.count(contact_entries) == await world.count(returned_mails) == len(names)  # the letters


async def test_a_bounce_of_another_mail_that_names_the_letter_stays_for_people(world: World) -> None:
    order_id = await sent(world)
    assert await take(world, "hard.answer-in-the-thread", order_id) == TakenIn(Effect.NO_LETTER)
    assert (await application(world.database, "A1"))["usable_email"] == ADDRESS


async def test_what_did_not_reach_others_says_nothing_about_the_address(world: World) -> None:
    order_id = await sent(world)
    before = await application(world.database, "A1")
    assert await take(world, "hard.other-recipient", order_id) == TakenIn(Effect.RECORDED, order_id)
    assert await application(world.database, "A1") == before
    # Nor does it count as one of several in a row.
    assert await world.count(returned_mails, returned_mails.c.kind == Kind.REFUSED.value) == 1
    # Behind a forwarding the address is another; the signed return path says enough, the Message-ID does not.
    nowhere = {"bounce": "bounce@mail.firma.example"}
    row = (await world.rows())[0]
    ways = {"letter": row["message_id"], "address": ADDRESS}
    forwarded = understand(returned_mail("hard.forwarded-elsewhere", **ways, **nowhere))
    unsigned = replace(forwarded, fingerprint="without a return path")
    assert (await take_in(world.database, unsigned, PATHS, world.clock.now())).effect is Effect.RECORDED
    assert await take(world, "hard.forwarded-elsewhere", order_id) == TakenIn(Effect.GIVEN_UP, order_id)


async def test_a_bounce_without_a_return_path_is_believed_about_its_own_address(world: World) -> None:
    order_id = await sent(world)
    nowhere = {"bounce": "bounce@mail.firma.example", "address": ADDRESS.upper()}
    assert await take(world, "hard.postfix-user-unknown", order_id, **nowhere) == TakenIn(Effect.GIVEN_UP, order_id)


async def test_d20_what_colleagues_and_users_write_is_no_answer_of_the_person(world: World) -> None:
    order_id = await sent(world)
    async with world.database.begin() as connection:
        await connection.execute(users.update().values(email="c.extern@agentur.example"))
    before = await application(world.database, "A1")
    for name in ("reply.colleague-of-the-sender", "reply.user-elsewhere"):
        assert await take(world, name, order_id) == TakenIn(Effect.RECORDED, order_id), name
    assert await application(world.database, "A1") == before and await world.count(contact_entries) == 1


async def test_d20_the_answer_of_an_applicant_at_the_senders_own_domain_counts(world: World) -> None:
    order_id = await sent(world, "A1,S,Eins,b.kollege@firma.example,Neu,")
    assert (await take(world, "reply.colleague-of-the-sender", order_id)).effect is Effect.CONTACT


async def test_s32_one_mail_about_two_letters_counts_once(world: World) -> None:
    first = await sent(world, "A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    assert await take(world, "hard.postfix-user-unknown", first) == TakenIn(Effect.GIVEN_UP, first)
    assert await take(world, "hard.postfix-user-unknown", first + 1) == TakenIn(Effect.REPEATED, first + 1)
    assert (await application(world.database, "A2"))["usable_email"] == "a2@x.example"
    assert await world.count(returned_mails) == 1


async def test_a_bounce_after_many_notices_of_a_delay_is_looked_at(world: World) -> None:
    order_id = await sent(world)
    row = (await world.rows())[0]
    for name, last in (("delayed.postfix-warning", Effect.TOO_MANY), ("soft.postfix-mailbox-full", Effect.TOO_MANY)):
        ways = {"letter": row["message_id"], "bounce": PATHS.of(order_id), "address": ADDRESS}
        mail = understand(returned_mail(name, **ways))
        many = [replace(mail, fingerprint=f"{name} {number}") for number in range(MOST_MAILS + 1)]
        effects = [(await take_in(world.database, one, PATHS, world.clock.now())).effect for one in many]
        assert effects == [Effect.RECORDED] * MOST_MAILS + [last], name
    assert await take(world, "hard.postfix-user-unknown", order_id) == TakenIn(Effect.GIVEN_UP, order_id)


async def test_d34_the_next_letter_after_a_hard_bounce_has_no_address(world: World) -> None:
    order_id = await sent(world)
    await take(world, "hard.qmail-no-mailbox", order_id)
    await world.change(repeat_guard_days="0")
    world.clock.advance(timedelta(days=1))
    (again,) = await next_letters(world)
    assert (await world.claim(again)).orders == []
    found = next(row for row in await world.rows() if row["id"] == again)
    assert (found["state"], found["reason"]) == ("no_address", f"letters come back from {ADDRESS}")


async def next_letters(world: World) -> list[int]:
    before = {row["id"] for row in await world.rows()}
    await world.run(on=world.clock.now().date())
    await world.turn()
    return [row["id"] for row in await world.rows() if row["id"] not in before]


async def test_d33_a_bounce_stops_a_letter_that_is_claimed(world: World) -> None:
    order_id = await sent(world)
    await world.change(repeat_guard_days="0")
    world.clock.advance(timedelta(days=1))
    (again,) = await next_letters(world)
    (held,) = (await world.claim(again)).orders
    await take(world, "hard.qmail-no-mailbox", order_id)
    # The order itself was touched: a T2 that began before the commit meets it, where it would not see the address.
    assert next(row for row in await world.rows() if row["id"] == again)["claimed_epoch"] is None
    assert await world.intend(held) == set()


async def test_another_address_lifts_it_and_the_same_one_does_not(world: World) -> None:
    order_id = await sent(world)
    await take(world, "hard.qmail-no-mailbox", order_id)
    for row, usable, returned in (
        ("A1,S,Eins,a1@x.example,Neu,", None, ADDRESS),
        ("A1,S,Eins,,Neu,", None, ADDRESS),
        ("A1,S,Eins,a1@x.example,Neu,", None, ADDRESS),
        ("A1,S,Eins,neu@x.example,Neu,", "neu@x.example", None),
        ("A1,S,Eins,a1@x.example,Neu,", ADDRESS, None),
    ):
        await world.applicants(row)
        found = await application(world.database, "A1")
        assert (found["usable_email"], found["returned_email"]) == (usable, returned), row
    assert found["returned_at"] is None


async def test_a_bounce_of_an_older_address_leaves_the_new_one(world: World) -> None:
    order_id = await sent(world)
    await world.applicants("A1,S,Eins,neu@x.example,Neu,")
    assert (await take(world, "hard.qmail-no-mailbox", order_id)).effect is Effect.OTHER_ADDRESS
    assert (await application(world.database, "A1"))["usable_email"] == "neu@x.example"


async def test_a_person_who_knows_better_restores_the_address(world: World) -> None:
    order_id = await sent(world, "A1,S,Eins,a1@x.example,Neu,", SECOND)
    who = {"author": "anna", "now": world.clock.now()}
    with pytest.raises(Refused):
        await restore_address(world.database, "A1", **who)
    with pytest.raises(NotFound):
        await restore_address(world.database, "nobody", **who)
    await take(world, "hard.qmail-no-mailbox", order_id)
    assert await restore_address(world.database, "A2", **who) == ["A1", "A2"]
    row = await application(world.database, "A1")
    assert (row["usable_email"], row["returned_email"], row["returned_at"]) == (ADDRESS, None, None)
    assert await world.count(events, events.c.action == "restore_address", events.c.author == "anna") == 2


async def test_s32_the_same_mail_twice_and_at_once_is_one(world: World) -> None:
    order_id = await sent(world)
    for name in ("hard.qmail-no-mailbox", "reply.thunderbird-german"):
        found = await asyncio.gather(*(take(world, name, order_id) for _ in range(4)))
        assert sorted(one.effect == Effect.REPEATED for one in found) == [False, True, True, True]
    assert await world.count(returned_mails) == 2 and await world.count(contact_entries) == 3


async def test_s32_a_bounce_bomb_ends_after_a_few(world: World) -> None:
    order_id = await sent(world)
    row = (await world.rows())[0]
    mail = understand(returned_mail("reply.thunderbird-german", letter=row["message_id"]))
    bomb = [replace(mail, fingerprint=f"bomb {number}") for number in range(MOST_MAILS + 5)]
    effects = [(await take_in(world.database, one, PATHS, world.clock.now())).effect for one in bomb]
    assert effects == [Effect.CONTACT] * MOST_MAILS + [Effect.TOO_MANY] * 5
    assert not Effect.TOO_MANY.is_understood and await world.count(returned_mails) == MOST_MAILS
    assert order_id == row["id"]


async def test_s32_forged_swapped_and_truncated_addresses_change_nothing(world: World) -> None:
    order_id = await sent(world, "A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    genuine, other = PATHS.of(order_id), PATHS.of(order_id + 1)
    token = genuine.partition("+")[2].partition("@")[0]
    forged = ReturnPaths("bounce@mail.firma.example", LinkTokens(["another secret of return paths, also 32"]))
    for bounce in (
        forged.of(order_id),
        genuine.replace(token, token[:-1]),
        genuine.replace(token, token[1:]),
        genuine.replace(token, token[:20] + other.partition("+")[2][20:42]),
        genuine.replace("mail.firma.example", "mail.other.example"),
        genuine.replace("bounce+", "other+"),
        "bounce@mail.firma.example",
        PATHS.of(2**63 + 5),
        PATHS.of(order_id + 99),
    ):
        name = "hard.exchange-2003-no-code"  # it has nothing but the address
        assert await take(world, name, order_id, bounce=bounce) == TakenIn(Effect.NO_LETTER), bounce
    row = (await world.rows())[0]
    for letter in (
        row["message_id"].replace(f"order-{order_id}.", f"order-{order_id + 1}."),
        row["message_id"][:-3] + "x>",
    ):
        given = {"letter": letter, "bounce": "bounce@mail.firma.example"}
        assert await take(world, "hard.qmail-no-mailbox", order_id, **given) == TakenIn(Effect.NO_LETTER), letter
    assert await world.count(returned_mails) == 0
    assert await take(world, "hard.exchange-2003-no-code", order_id, bounce=genuine.upper()) == TakenIn(
        Effect.GIVEN_UP, order_id
    )
    assert (await application(world.database, "A2"))["usable_email"] == "a2@x.example"


async def test_d20_an_answer_is_a_contact_of_the_application_and_the_person(world: World) -> None:
    order_id = await sent(world, "A1,S,Eins,a1@x.example,Neu,", SECOND)
    world.clock.advance(timedelta(days=30))
    assert (await take(world, "reply.thunderbird-german", order_id)).effect is Effect.CONTACT
    async with world.database.read() as connection:
        found = select(contact_entries).where(contact_entries.c.direction == "incoming")
        entry = (await connection.execute(found)).mappings().one()
        person = (await connection.execute(select(persons.c.last_contact_at))).scalar_one()
    # Dated when it was written, for a mailbox may be read much later.
    assert entry["at"] == person == datetime.fromisoformat("2026-11-23T09:30:00+01:00")
    assert (entry["medium"], entry["subject"], entry["author"]) == ("mail", "Re: Sie sind nicht vergessen", "mailbox")
    assert entry["body"].startswith("Guten Tag Frau Weber") and "nicht vergessen" not in entry["body"]
    assert (await application(world.database, "A1"))["last_contact_at"] == entry["at"]


@pytest.mark.parametrize("written", [timedelta(days=-400), timedelta(days=400)])
async def test_d20_an_answer_that_lies_about_its_date_is_dated_when_it_was_read(
    world: World, written: timedelta
) -> None:
    await sent(world)
    row, now = (await world.rows())[0], world.clock.now()
    mail = understand(returned_mail("reply.thunderbird-german", letter=row["message_id"]))
    await take_in(world.database, replace(mail, date=now + written), PATHS, now)
    assert (await application(world.database, "A1"))["last_contact_at"] == now


FORGOTTEN = """
settings: {time_zone: Europe/Berlin, sender: "HR <hr@firma.example>"}
statuses: [{name: Neu, meta: new}, {name: Pool, meta: pool}]
queries: [{name: Vergessene, filters: [{field: days_since_last_contact, more_than: 60}]},
          {name: Neue, filters: [{field: status, in: [Neu]}]}]
letters: [{name: Brief, subject: Guten Tag, text: Guten Tag}]
jobs:
  - {name: Gruß, status: An, query: Neue, letter: Brief, dispatch: rolling, time: "08:00",
     sender: "address:a@firma.example"}
  - {name: Vergessen, status: An, query: Vergessene, letter: Brief, dispatch: rolling, time: "08:00",
     sender: "address:a@firma.example"}
"""


@pytest.mark.parametrize("answers", [False, True])
async def test_an_answer_postpones_the_letter_to_the_forgotten(world: World, answers: bool) -> None:
    """Scenario 2: who answered 30 days after the last letter is not forgotten 61 days after it."""
    await world.begin("A1,S,Eins,a1@x.example,Neu,", SECOND, setup=FORGOTTEN)
    await world.run(JOB)
    await world.send(*await world.turn())
    order_id = next(row["id"] for row in await world.rows() if row["state"] == "sent")
    world.clock.advance(timedelta(days=30))
    if answers:
        row = next(row for row in await world.rows() if row["id"] == order_id)
        mail = understand(returned_mail("reply.thunderbird-german", letter=row["message_id"]))
        await take_in(world.database, replace(mail, date=world.clock.now()), PATHS, world.clock.now())
    world.clock.advance(timedelta(days=31))
    await world.run("Vergessen", on=world.clock.now().date())
    letters = [row for row in await world.rows() if row["job_name"] == "Vergessen" and row["state"] != "withdrawn"]
    assert len(letters) == (0 if answers else 1)


async def test_d42_nothing_is_written_to_a_reduced_application(world: World) -> None:
    order_id = await sent(world)
    row = (await world.rows())[0]
    async with world.database.begin() as connection:
        await connection.execute(applications.update().values(reduced_at=world.clock.now()))
    for number, name in enumerate(("hard.qmail-no-mailbox", "reply.thunderbird-german")):
        assert await take(world, name, order_id) == TakenIn(Effect.REDUCED, order_id)
        assert await world.count(returned_mails) == number + 1
    assert await world.count(contact_entries) == 1 and row["id"] == order_id


def test_an_unknown_mail_asks_nothing_of_the_database() -> None:
    mail = ReturnedMail(Kind.UNKNOWN, "", (), (PATHS.of(1),))
    no_database: Database = None  # type: ignore[assignment]
    assert asyncio.run(take_in(no_database, mail, PATHS, datetime(2026, 11, 23))) == TakenIn(Effect.NO_LETTER)


assert date(2026, 11, 23) == DAY  # the corpus is dated so
