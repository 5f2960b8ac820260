"""What a mail that came back does: an address is given up, an answer counts as contact, a repetition does nothing.

One transaction a mail, with the person locked. The mail's fingerprint is kept with its effect, so a crash between the
commit and what a mailbox remembers of it doubles nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.last_contacts import recompute_applications, recompute_persons
from shared.db.returned_addresses import give_up_address
from shared.db.system_settings import load_system_settings
from shared.db.tables import applications, contact_entries, persons, returned_mails, users, write_orders
from shared.db.transactions import in_transaction
from shared.domain.mail_addresses import compared_address, split_sender, usable_address
from shared.domain.return_paths import ReturnPaths
from shared.domain.returned_mail import Kind, ReturnedMail

_A, _P, _O, _R = applications.c, persons.c, write_orders.c, returned_mails.c
AUTHOR = "mailbox"
#: So many letters in a row that came back for reasons that may pass, the first at least so many days before the last,
#: all within so many days: then the reason does not pass.
SOFT_LETTERS, SOFT_SPREAD, SOFT_WITHIN = 3, timedelta(days=7), timedelta(days=180)
#: Mails of one kind about one letter that are recorded. More are no answers: somebody sends them on purpose. Of one
#: kind, so that no number of notices about a delay hides the bounce that follows them.
MOST_MAILS = 20

_ORDER_OF = re.compile(r"<order-(\d{1,18})\.")


class Effect(StrEnum):
    """What became of it; kept with the mail."""

    RECORDED = "recorded"
    #: The address counts as none from now on.
    GIVEN_UP = "given_up"
    #: The letter went to an address that the application has no more.
    OTHER_ADDRESS = "other_address"
    CONTACT = "contact"
    #: The application is reduced to core data: nothing is written to it.
    REDUCED = "reduced"
    #: Not kept: the same mail as before, no letter of ours, or too many.
    REPEATED = "repeated"
    NO_LETTER = "no_letter"
    TOO_MANY = "too_many"

    @property
    def is_understood(self) -> bool:
        """False: people should see the mail."""
        return self not in (Effect.NO_LETTER, Effect.TOO_MANY)


@dataclass(frozen=True, slots=True)
class TakenIn:
    """One mail's effect, and the order it is about."""

    effect: Effect
    order_id: int | None = None


async def take_in(database: Database, mail: ReturnedMail, return_paths: ReturnPaths | None, now: datetime) -> TakenIn:
    """Finds the letter that a mail is about and does what its kind asks for; twice is as once.

    Only a signed return path or the Message-ID itself, which nobody can guess, says which letter it is. A mail does
    something once: read again as if about another letter, it is a repetition.
    """

    async def once(connection: AsyncConnection) -> TakenIn:
        signed = await _signed_letter(connection, mail, return_paths)
        order_id = signed if signed is not None else await _named_letter(connection, mail)
        if order_id is None:
            return TakenIn(Effect.NO_LETTER)
        order = await _locked(connection, order_id)
        known = select(_R.id).where(_R.identity == mail.fingerprint)
        if (await connection.execute(known)).scalar() is not None:
            return TakenIn(Effect.REPEATED, order_id)
        believed = mail if signed is not None else _believed(mail, order["email"])
        alike = select(func.count()).where(_R.order_id == order_id, _R.kind == believed.kind.value)
        if (await connection.execute(alike)).scalar_one() >= MOST_MAILS:
            return TakenIn(Effect.TOO_MANY, order_id)
        row = {"identity": mail.fingerprint, "order_id": order_id, "at": now, "kind": believed.kind.value}
        recorded = insert(returned_mails).values(row | {"status": mail.status, "effect": Effect.RECORDED.value})
        await connection.execute(recorded)
        effect = Effect.REDUCED if order["reduced_at"] else await _act(connection, order, believed, now)
        if effect is not Effect.RECORDED:
            mine = update(returned_mails).where(_R.identity == mail.fingerprint)
            await connection.execute(mine.values(effect=effect.value))
        return TakenIn(effect, order_id)

    if mail.kind is Kind.UNKNOWN:
        return TakenIn(Effect.NO_LETTER)
    return await in_transaction(database, once)


async def _signed_letter(
    connection: AsyncConnection, mail: ReturnedMail, return_paths: ReturnPaths | None
) -> int | None:
    for address in mail.recipients if return_paths else ():
        order_id = return_paths.order_of(address) if return_paths else None
        if order_id is not None and order_id < 1 << 63:
            found = await connection.execute(select(_O.id).where(_O.id == order_id))
            if (known := found.scalar()) is not None:
                return int(known)
    return None


async def _named_letter(connection: AsyncConnection, mail: ReturnedMail) -> int | None:
    is_bounce = mail.kind in (Kind.HARD, Kind.SOFT)
    for message_id in filter(None, (mail.returned,)) if is_bounce else mail.letters:
        if named := _ORDER_OF.match(message_id):
            same = (_O.id == int(named[1]), _O.message_id == message_id)
            if (known := (await connection.execute(select(_O.id).where(*same))).scalar()) is not None:
                return int(known)
    return None


def _believed(mail: ReturnedMail, email: str) -> ReturnedMail:
    """Without a signed return path: what could not be delivered to others says nothing about the letter's address."""
    if mail.kind not in (Kind.HARD, Kind.SOFT) or not mail.failed:
        return mail
    is_named = compared_address(email) in map(compared_address, mail.failed)
    return mail if is_named else replace(mail, kind=Kind.REFUSED)


async def _is_ours(connection: AsyncConnection, author: str, email: str) -> bool:
    """Whether a user or somebody at the sender's own domain wrote it: a colleague's answer is none of the person's."""
    written_by = compared_address(author)
    if not author or written_by == compared_address(email):
        return False
    _, sender = split_sender((await load_system_settings(connection)).sender)
    if written_by.rpartition("@")[2] == compared_address(sender).rpartition("@")[2]:
        return True
    known = (await connection.execute(select(users.c.email).where(users.c.email.is_not(None)))).scalars()
    return written_by in map(compared_address, known)


async def _locked(connection: AsyncConnection, order_id: int) -> Mapping[str, Any]:
    """The order with its application, whose present person is locked first: the house's order."""
    mine = select(_O.application_id).where(_O.id == order_id).scalar_subquery()
    owner = select(_A.person_id).where(_A.id == mine).scalar_subquery()
    await connection.execute(select(_P.id).where(_P.id == owner).with_for_update())
    statement = (
        select(_O.id, _O.application_id, _O.email, _O.sent_at, _O.created_at, _A.person_id, _A.reduced_at)
        .join(applications, _A.id == _O.application_id)
        .where(_O.id == order_id)
        .with_for_update(of=applications)
    )
    return dict((await connection.execute(statement)).mappings().one())


async def _act(connection: AsyncConnection, order: Mapping[str, Any], mail: ReturnedMail, now: datetime) -> Effect:
    said = " ".join(filter(None, (mail.status, mail.words)))
    if mail.kind is Kind.HARD:
        return await _give_up(connection, order, mail, f"letter came back: {said}", now)
    if mail.kind is Kind.SOFT and await _does_not_pass(connection, order, now):
        return await _give_up(connection, order, mail, f"{SOFT_LETTERS} letters in a row came back: {said}", now)
    if mail.kind is Kind.REPLY and not await _is_ours(connection, mail.author, order["email"]):
        written = min(now, mail.date) if mail.date and mail.date >= (order["sent_at"] or order["created_at"]) else now
        entry = {"at": written, "medium": "mail", "direction": "incoming", "subject": mail.subject}
        # Who answered on one application is not forgotten on another, as with our letters (D20).
        await _log(connection, order, mail, {**entry, "body": mail.text, "counts_for_person": True})
        return Effect.CONTACT
    return Effect.RECORDED


async def _give_up(
    connection: AsyncConnection, order: Mapping[str, Any], mail: ReturnedMail, reason: str, now: datetime
) -> Effect:
    # An order keeps the address as it was given; it went to its normal form, in which addresses are used.
    given_up: list[int] = []
    if address := usable_address(order["email"]):
        given_up = await give_up_address(connection, order["person_id"], address, reason, now=now, author=AUTHOR)
    entry = {"at": now, "medium": "note", "direction": "internal", "subject": f"undeliverable: {order['email']}"}
    await _log(connection, order, mail, {**entry, "body": reason, "counts_for_person": False})
    return Effect.GIVEN_UP if given_up else Effect.OTHER_ADDRESS


async def _does_not_pass(connection: AsyncConnection, order: Mapping[str, Any], now: datetime) -> bool:
    """Whether the last letters to this address, this one among them, all came back softly, and nobody answered one."""
    since = (now - SOFT_WITHIN).date()
    theirs = select(_A.id).where(_A.person_id == order["person_id"])
    handed_over = (_O.state.in_(("sending", "sent", "unclear")), _O.occasion_day >= since, _O.email.is_not(None))
    latest = select(_O.id, _O.occasion_day, _O.email).where(_O.application_id.in_(theirs), *handed_over)
    letters_of = await connection.execute(latest.order_by(_O.occasion_day.desc(), _O.id.desc()))
    # In Python: however it was spelled when each of them was written.
    here = compared_address(order["email"])
    rows = [row for row in letters_of if compared_address(row.email) == here][:SOFT_LETTERS]
    ids = [row.id for row in rows]
    if len(rows) < SOFT_LETTERS or order["id"] not in ids or rows[0].occasion_day - rows[-1].occasion_day < SOFT_SPREAD:
        return False
    kinds = select(_R.kind, func.count(_R.order_id.distinct()).label("letters"))
    of_them = await connection.execute(kinds.where(_R.order_id.in_(ids)).group_by(_R.kind))
    letters = {row.kind: row.letters for row in of_them}
    return letters.get(Kind.SOFT, 0) == SOFT_LETTERS and Kind.REPLY not in letters


async def _log(
    connection: AsyncConnection, order: Mapping[str, Any], mail: ReturnedMail, entry: Mapping[str, Any]
) -> None:
    owner = {"identity": f"mail:{mail.fingerprint}", "application_id": order["application_id"], "author": AUTHOR}
    await connection.execute(insert(contact_entries).values(owner | dict(entry)))
    await recompute_persons(connection, [order["person_id"]])
    await recompute_applications(connection, [order["application_id"]])
