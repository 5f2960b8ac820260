"""What happened to a person: contacts, letters, blocks, opt-outs, statuses - each with its moment and its author."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.consent_answers import CONSENT_ACTS
from shared.db.person_file import job_names
from shared.db.tables import applications, blocks, contact_entries, events, persons, write_orders

_A, _P, _B, _C, _E, _O = applications.c, persons.c, blocks.c, contact_entries.c, events.c, write_orders.c
#: Entries, newest first.
SHOWN = 200
#: What a person wants of contact care, by the names of the events.
_CHOICES = ("opt_out", "opt_in")
#: Further wishes, and what is asked for on the candidates' page.
WISHED = (
    *("no_birthday", "birthday", "yearly", "not_yearly", "ask_correction", "ask_deletion"),
    *("take_back_correction", "take_back_deletion", "done_correction", "done_deletion"),
)
#: What else happened about a letter.
_OF_LETTERS = ("status_not_set", *CONSENT_ACTS)
_LETTER = (_O.id, _O.type, _O.task, _O.job_name.label("job"), _O.state, _O.reason)


async def person_timeline(connection: AsyncConnection, person_id: int) -> list[dict[str, Any]]:
    """The newest entries of all applications of a person, each with `kind`, `at` (UTC) and `author` (None: nobody).

    Kinds: contact, letter, block, lift, opt_out, opt_in, those of WISHED, status, status_not_set, reduce,
    give_up_address, restore_address, those of CONSENT_ACTS. What the person had before it was merged with this one is
    told as far as it was carried over (D24).
    """
    # As values: within an OR a subquery would have PostgreSQL read the whole table.
    theirs = list((await connection.execute(select(_A.id).where(_A.person_id == person_id))).scalars())
    letters = await _rows(connection, _letters(theirs), "letter")
    found = [
        *letters,
        *await _rows(connection, _contacts(person_id, theirs), "contact"),
        *await _blocks(connection, person_id),
        *await _events(connection, person_id, theirs, [one["id"] for one in letters]),
    ]
    return sorted(found, key=lambda one: one["at"], reverse=True)[:SHOWN]


async def _rows(connection: AsyncConnection, statement: Select[Any], kind: str) -> list[dict[str, Any]]:
    rows = (await connection.execute(statement.limit(SHOWN))).mappings()
    return [{"kind": kind, **row} for row in rows]


def _contacts(person_id: int, application_ids: list[int]) -> Select[Any]:
    whose = or_(_C.application_id.in_(application_ids), _C.person_id == person_id)
    columns = (_C.at, _C.author, _C.medium, _C.direction, _C.subject)
    # An answer to a consent letter is told by its event.
    return select(*columns).where(whose, ~_C.identity.startswith("consent:")).order_by(_C.at.desc())


def _letters(application_ids: list[int]) -> Select[Any]:
    # A letter that was not sent has no other moment than the one that it was planned for.
    at = func.coalesce(_O.sent_at, _O.planned_for)
    columns = (at.label("at"), _O.created_by.label("author"), *_LETTER)
    return select(*columns).where(_O.application_id.in_(application_ids)).order_by(at.desc())


async def _blocks(connection: AsyncConnection, person_id: int) -> list[dict[str, Any]]:
    rows = (
        (await connection.execute(select(blocks).where(_B.person_id == person_id).order_by(_B.id.desc())))
        .mappings()
        .all()
    )
    names = await job_names(connection, {row["lineage_id"] for row in rows})
    found = []
    for row in rows:
        said = {"scope": row["scope"], "jobs": names.get(row["lineage_id"], []), "until": row["until"]}
        if row["lifted_at"] is not None:
            found.append({"kind": "lift", "at": row["lifted_at"], "author": row["lifted_by"], **said})
        block = {"kind": "block", "at": row["created_at"], "author": row["author"], "reason": row["reason"]}
        found.append(block | said)
    return found


async def _events(
    connection: AsyncConnection, person_id: int, application_ids: list[int], order_ids: list[int]
) -> list[dict[str, Any]]:
    whose = or_(
        # Blocks are rows of their own, which say more.
        and_(_E.noun == "person", _E.record_id == person_id, _E.action.in_((*_CHOICES, *WISHED))),
        and_(
            *(_E.noun == "application", _E.record_id.in_(application_ids)),
            or_(_E.field == "status", _E.action.in_(("reduce", "give_up_address", "restore_address"))),
        ),
        and_(_E.noun == "order", _E.record_id.in_(order_ids), _E.action.in_(_OF_LETTERS)),
    )
    columns = (_E.at, _E.author, _E.action, _E.noun, _E.record_name, _E.old, _E.new, _E.reason)
    rows = (await connection.execute(select(*columns).where(whose).order_by(_E.id.desc()).limit(SHOWN))).mappings()
    found = [_event(row) for row in rows]
    carried = (await connection.execute(select(_P.opted_out_at, _P.opted_out_by).where(_P.id == person_id))).one()
    newest = next((one["kind"] for one in found if one["kind"] in _CHOICES), None)
    if carried.opted_out_at is not None and newest != "opt_out":
        # Recorded with the person whom this one was merged with.
        found.append({"kind": "opt_out", "at": carried.opted_out_at, "author": carried.opted_out_by, "reason": None})
    return found


def _event(row: Mapping[Any, Any]) -> dict[str, Any]:
    kind = "status" if row["action"] == "change" else row["action"]
    application = row["record_name"] if row["noun"] == "application" else None
    return {"kind": kind, **{name: row[name] for name in ("at", "author", "old", "new", "reason")}} | {
        "application": application
    }
