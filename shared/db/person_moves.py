"""What goes with an application that becomes another person's, by an import or by the nightly pass (D24, D26)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, insert, or_, select, union, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of
from shared.db.last_contacts import recompute_persons
from shared.db.person_tables import earlier_persons
from shared.db.suppressions import SINCE, note_wishes, take_over_notes
from shared.db.tables import applications, blocks, events, persons
from shared.db.write_orders.applications import follow_persons, name_blocks_of_person

_A, _P, _B = applications.c, persons.c, blocks.c
#: The event of the record that an application leaves: which one, and whose it is now.
MOVE = "move"
#: What a block says; a copy of it that the new person has says the same.
_WHAT = ("lineage_id", "scope", "until", "reason", "author", "created_at")


async def follow_moves(
    connection: AsyncConnection, persons_before: Mapping[int, int], *, now: datetime, author: str
) -> None:
    """After applications (id -> person before) got another person: the stricter wins, and nobody is written to twice.

    Wishes and blocks hold for the new person too, open orders are settled among all of the person's applications,
    last contacts are computed anew. The old person keeps what it had: after a split both do. It is noted whose the
    applications were: reduction erases that too (D42), the evidence file has it; and each move is an event of the old
    person. Guards and cap need nothing: they ask for the application's present person. The applications are locked,
    as are the old persons.
    """
    if not persons_before:
        return
    found = select(_A.id, _A.person_id, _A.external_id).where(_A.id.in_(persons_before)).order_by(_A.id)
    rows = [row for row in await connection.execute(found) if persons_before[row.id] != row.person_id]
    moves = {(persons_before[row.id], row.person_id) for row in rows}
    if rows:
        event = {"at": now, "author": author, "action": MOVE, "noun": "person", "field": "person", "old": None}
        told = [(persons_before[row.id], row.external_id, str(row.person_id)) for row in rows]
        made = [event | {"record_id": old, "record_name": name, "new": new} for old, name, new in told]
        await connection.execute(insert(events), made)
    both = sorted({person for move in moves for person in move})
    # A person joined by two transactions at once: the second sees the orders of the first.
    await connection.execute(select(_P.id).where(_P.id.in_(both)).order_by(_P.id).with_for_update(key_share=True))
    await _note_earlier(connection, [(row.id, persons_before[row.id]) for row in rows])
    await carry_over(connection, moves)
    await take_over_notes(connection, moves)
    await note_wishes(connection, both)
    await follow_persons(connection, sorted(persons_before), now, author)
    await recompute_persons(connection, both)


async def _note_earlier(connection: AsyncConnection, left: Collection[tuple[int, int]]) -> None:
    """Notes the persons that applications had (application, person): a reduction finds by it what they left there."""
    if left:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        rows = [{"application_id": application, "person_id": person} for application, person in sorted(left)]
        await connection.execute(dialect.insert(earlier_persons).on_conflict_do_nothing(), rows)


async def earlier_records(
    connection: AsyncConnection, person_id: int, application_ids: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The persons that a person's applications were before: those nobody else was, and those that others were too."""
    e = earlier_persons.c
    theirs = select(e.person_id).where(any_of(e.application_id, application_ids))
    before = set((await connection.execute(theirs)).scalars()) - {person_id}
    if not before:
        return [], []
    others = union(
        select(_A.person_id).where(any_of(_A.person_id, before)),
        select(e.person_id).where(any_of(e.person_id, before), ~any_of(e.application_id, application_ids)),
    )
    shared = set((await connection.execute(others)).scalars())
    return sorted(before - shared), sorted(shared)


async def carry_over(connection: AsyncConnection, moves: Collection[tuple[int, int]]) -> None:
    """Wishes and standing blocks of the old person hold for the new one too (old id, new id): the stricter wins."""
    old_ids = sorted({old for old, _ in moves})
    has_wish = or_(*(_P[name].is_not(None) for name in SINCE))
    rows = await connection.execute(select(persons).where(_P.id.in_(old_ids), has_wish))
    wishes = {row["id"]: row for row in rows.mappings()}
    for old, new in sorted(move for move in moves if move[0] in wishes):
        for name in SINCE:
            if (since := wishes[old][name]) is not None:
                values = {name: since} | (
                    {"opted_out_by": wishes[old]["opted_out_by"]} if name == "opted_out_at" else {}
                )
                await connection.execute(update(persons).where(_P.id == new, _P[name].is_(None)).values(values))
    await _copy_blocks(connection, moves, old_ids)


async def _copy_blocks(connection: AsyncConnection, moves: Collection[tuple[int, int]], old_ids: list[int]) -> None:
    columns = (_B.id, _B.person_id, *(_B[name] for name in _WHAT))
    rows = await connection.execute(select(*columns).where(_B.person_id.in_(old_ids), _B.lifted_at.is_(None)))
    standing: dict[int, list[RowMapping]] = {}
    for row in rows.mappings():
        standing.setdefault(row["person_id"], []).append(row)
    wanted = [(new, block) for old, new in sorted(moves) for block in standing.get(old, ())]
    if not wanted:
        return
    people = sorted({new for new, _ in wanted})
    copies = await _blocks_of(connection, people)
    missing = {(new, _said(block)): block for new, block in wanted if (new, _said(block)) not in copies}
    if missing:
        rows_to_add = [{**_plain(block), "person_id": new} for (new, _), block in missing.items()]
        await connection.execute(insert(blocks), rows_to_add)
        copies = await _blocks_of(connection, people)
    await name_blocks_of_person(connection, [(block["id"], new, copies[new, _said(block)]) for new, block in wanted])


async def _blocks_of(connection: AsyncConnection, people: list[int]) -> dict[tuple[int, tuple[Any, ...]], int]:
    """The blocks of persons, lifted ones too, by what they say: what was lifted there does not come back."""
    columns = (_B.id, _B.person_id, *(_B[name] for name in _WHAT))
    rows = await connection.execute(select(*columns).where(_B.person_id.in_(people)).order_by(_B.id))
    return {(row["person_id"], _said(row)): row["id"] for row in rows.mappings()}


def _said(block: RowMapping) -> tuple[Any, ...]:
    return tuple(block[name] for name in _WHAT)


def _plain(block: RowMapping) -> dict[str, Any]:
    return {name: block[name] for name in _WHAT}
