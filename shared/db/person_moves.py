"""What goes with an application that becomes another person's (D24, D26)."""

from collections.abc import Collection

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import blocks, persons

_P, _B = persons.c, blocks.c
_WHAT = ("lineage_id", "scope", "until", "reason", "author", "created_at")


async def carry_over(connection: AsyncConnection, moves: Collection[tuple[int, int]]) -> None:
    """Opt-out and blocks of the old person hold for the new one too (old id, new id): the stricter wins.

    The old person keeps them: after a split both do.
    """
    old_ids = sorted({old for old, _ in moves})
    opted_out = await connection.execute(
        select(_P.id, _P.opted_out_at, _P.opted_out_by).where(_P.id.in_(old_ids), _P.opted_out_at.is_not(None))
    )
    choices = {row.id: {"opted_out_at": row.opted_out_at, "opted_out_by": row.opted_out_by} for row in opted_out}
    for old, new in sorted(moves):
        if old in choices:
            silent = update(persons).where(_P.id == new, _P.opted_out_at.is_(None))
            await connection.execute(silent.values(choices[old]))
    await _copy_blocks(connection, moves, old_ids)


async def _copy_blocks(connection: AsyncConnection, moves: Collection[tuple[int, int]], old_ids: list[int]) -> None:
    columns = (_B.person_id, *(_B[name] for name in _WHAT))
    rows = await connection.execute(select(*columns).where(_B.person_id.in_(old_ids), _B.lifted_at.is_(None)))
    theirs = [dict(row) for row in rows.mappings()]
    wanted = [
        {**block, "person_id": new} for old, new in sorted(moves) for block in theirs if block["person_id"] == old
    ]
    if not wanted:
        return
    held = select(_B.person_id, _B.created_at).where(_B.person_id.in_([block["person_id"] for block in wanted]))
    there = {tuple(row) for row in await connection.execute(held)}
    missing = [block for block in wanted if (block["person_id"], block["created_at"]) not in there]
    if missing:
        await connection.execute(insert(blocks), missing)
