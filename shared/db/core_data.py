"""Reduction to core data (D42): everything that is not core data is erased for good.

Kept are first and last name, birth date, postal address, what `core_data_keeps` lists, external id, kind, duplicate
key, status, receipt and vacancy; contact entries as time, medium, direction; orders as ids, times, states, job's name,
hashes of address and Message-ID. Salutation and title are no part of the name: they go.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Text, and_, bindparam, case, cast, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Instant, PlainText
from shared.db.history_seals import erase_words
from shared.db.person_tables import earlier_persons
from shared.db.suppression_keys import KEPT_ADDRESS, Keys, load_keys
from shared.db.suppressions import note_wishes
from shared.db.system_settings import SystemSettings
from shared.db.tables import (
    applications,
    attempts,
    blocks,
    candidate_requests,
    contact_entries,
    custom_fields,
    events,
    form_letter_versions,
    write_orders,
)
from shared.db.write_orders.applications import REDUCED, withdraw_orders_of_reduced

#: What is erased unless `core_data_keeps` lists it.
ERASED = ("phone", "email", "salutation", "title", "language", "department", "location", "source", "recruiter")
_FOLDED = ("language", "department", "location", "source", "recruiter")
_A, _O, _C, _E = applications.c, write_orders.c, contact_entries.c, events.c
_R, _B = candidate_requests.c, earlier_persons.c
#: Of which import and line an entry came, and what it said.
_CONTENT: dict[str, Any] = dict.fromkeys(("subject", "body", "author", "import_id", "import_line"))


async def reduce_to_core_data(
    connection: AsyncConnection,
    application_ids: Sequence[int],
    settings: SystemSettings,
    now: datetime,
    author: str = "system",
) -> None:
    """Reduces applications, which are locked with their persons, and withdraws what was still to be sent to them.

    What belongs to the person goes with the last of its applications (D26), and what these had before a merger.
    """
    if not application_ids:
        return
    ids = list(application_ids)
    theirs = select(_A.person_id).where(_A.id.in_(ids))
    # While they can be recognised by what is about to be erased (S29).
    await note_wishes(connection, list((await connection.execute(theirs.distinct())).scalars()))
    await withdraw_orders_of_reduced(connection, ids, now, author)
    erased = erased_columns(settings)
    values: dict[str, Any] = dict.fromkeys(erased) | {f"{name}_folded": None for name in _FOLDED if name in erased}
    if "email" in erased:
        values["usable_email"] = None
    values |= {"returned_email": None, "returned_at": None}
    values |= {"in_pool": False, "pool_since": None, "import_id": None, "import_line": None, "reduced_at": now}
    await connection.execute(update(applications).where(_A.id.in_(ids)).values(values))
    await connection.execute(delete(custom_fields).where(custom_fields.c.application_id.in_(ids)))
    await connection.execute(update(candidate_requests).where(_R.application_id.in_(ids)).values(words=None))
    await erase_traces(connection, ids, now, author)
    await _erase_persons(connection, ids, now, author)
    await _record(connection, ids, now, author)


def erased_columns(settings: SystemSettings) -> list[str]:
    """The columns of an application that a reduction empties under these settings."""
    return [name for name in ERASED if name not in settings.core_data_keeps]


async def erase_traces(connection: AsyncConnection, application_ids: Sequence[int], now: datetime, author: str) -> None:
    """Contents of contact entries, orders, attempts and history of reduced applications.

    Again after a letter that was being handed over while its application was reduced is settled.
    """
    await _empty_entries(connection, _C.application_id.in_(application_ids))
    await _reduce_orders(connection, application_ids, now, author)
    theirs = and_(_E.noun == "application", _E.record_id.in_(application_ids))
    await erase_words(connection, theirs, now=now, author=author)


async def _empty_entries(connection: AsyncConnection, whose: Any) -> None:
    # A given id may say anything, and the hash of a content could be guessed. An order's entry is made once by its id.
    anonymous = literal("reduced:", PlainText) + cast(_C.id, Text)
    identity = case((_C.identity.startswith("order:"), _C.identity), else_=anonymous)
    await connection.execute(update(contact_entries).where(whose).values(**_CONTENT, identity=identity))


async def _reduce_orders(
    connection: AsyncConnection, application_ids: Sequence[int], now: datetime, author: str
) -> None:
    version = form_letter_versions.c
    written = select(_O.id, _O.email, _O.message_id, _O.subject, version.subject.label("template"))
    join = write_orders.outerjoin(
        form_letter_versions, (version.letter_id == _O.letter_id) & (version.version == _O.letter_version)
    )
    rows = (await connection.execute(written.select_from(join).where(_O.application_id.in_(application_ids)))).all()
    if not rows:
        return
    # A reason may quote the address or an answer to it; that there is one is kept.
    given = _O.reason.is_not(None) & (_O.state != "sent")
    reason = case((_O.state == "unclear", f"resend stopped: {REDUCED}"), (given, REDUCED))
    kept: dict[str, Any] = {name: bindparam(f"_{name}") for name in ("email", "message_id", "subject")}
    statement = update(write_orders).where(_O.id == bindparam("_id")).values(**kept, reason=reason, created_by=None)
    keys = await load_keys(connection)
    await connection.execute(statement, [_hashes(row, keys) for row in rows])
    ids = [row.id for row in rows]
    # The Message-ID stays on the order, hashed.
    erased = dict.fromkeys(("reply_text", "message_id", "body_hash"))
    await connection.execute(update(attempts).where(attempts.c.order_id.in_(ids)).values(erased))
    states = {name: case((_E.field == _O.state.name, _E[name])) for name in ("old", "new")}
    theirs = and_(_E.noun == "order", _E.record_id.in_(ids))
    await erase_words(connection, theirs, now=now, author=author, **states)


def _hashes(row: Any, keys: Keys) -> dict[str, Any]:
    # A subject without placeholders is the letter's text, not the person's data.
    subject = row.subject if row.subject == row.template else None
    message_id = _hashed(row.message_id)
    # Keyed as the notes of wishes are: what is said with the letter's link later holds for its address too (S29).
    email = row.email if is_kept_address(row.email) else keys.kept_address(row.email)
    return {"_id": row.id, "_email": email, "_message_id": message_id, "_subject": subject}


def is_kept_address(email: str | None) -> bool:
    """Whether an order's address is what a reduction left of it, or there is none."""
    return email is None or email.startswith((KEPT_ADDRESS, "sha256:"))


def _hashed(value: str | None) -> str | None:
    if value is None or value.startswith("sha256:"):
        return value
    return "sha256:" + sha256(value.encode()).hexdigest()


async def _erase_persons(
    connection: AsyncConnection, application_ids: Sequence[int], now: datetime, author: str
) -> None:
    """Entries, blocks' reasons and history of persons all of whose applications are reduced; the blocks stand."""
    mine = select(_A.person_id).where(_A.id.in_(application_ids))
    unreduced = func.count().filter(_A.reduced_at.is_(None))
    whole = select(_A.person_id).where(_A.person_id.in_(mine)).group_by(_A.person_id).having(unreduced == 0)
    people = list((await connection.execute(whole)).scalars())
    if not people:
        return
    people += await _left_behind(connection, people)
    await _empty_entries(connection, _C.person_id.in_(people))
    await connection.execute(update(blocks).where(blocks.c.person_id.in_(people)).values(reason=REDUCED))
    await erase_words(connection, and_(_E.noun == "person", _E.record_id.in_(people)), now=now, author=author)


async def _left_behind(connection: AsyncConnection, people: Sequence[int]) -> list[int]:
    """Persons whose applications became these people's (D24), once nothing that is or was theirs is unreduced.

    An application that went from there to somebody else still needs what the person had.
    """
    moved = select(_B.person_id).join(applications, _A.id == _B.application_id).where(_A.person_id.in_(people))
    left = set((await connection.execute(moved)).scalars()) - set(people)
    if not left:
        return []
    went = select(_B.person_id, _A.person_id).join(applications, _A.id == _B.application_id)
    ways = [(one, one) for one in left]
    ways += [(row[0], row[1]) for row in await connection.execute(went.where(_B.person_id.in_(left)))]
    living = select(_A.person_id).where(_A.person_id.in_({to for _, to in ways}), _A.reduced_at.is_(None))
    alive = set((await connection.execute(living)).scalars())
    return sorted(left - {one for one, to in ways if to in alive})


async def _record(connection: AsyncConnection, application_ids: Sequence[int], now: datetime, author: str) -> None:
    names = ["at", "author", "action", "noun", "record_id", "record_name"]
    given = (literal(now, Instant()), literal(author), literal("reduce"), literal("application"))
    row = select(*given, _A.id, _A.external_id).where(_A.id.in_(application_ids)).order_by(_A.id)
    await connection.execute(insert(events).from_select(names, row))
