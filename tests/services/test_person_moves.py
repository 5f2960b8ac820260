"""An application that becomes another person's by an import takes opt-out and blocks along (D24, D26)."""

from datetime import UTC, datetime

from sqlalchemy import func, insert, select, update

from shared.db.engine import Database
from shared.db.tables import blocks, persons
from tests.services.import_files import Files, applications_of, lines

NOW = datetime(2026, 11, 1, tzinfo=UTC)


async def restrict(database: Database, person_id: int) -> None:
    """The person opts out, is blocked for all jobs, and had a block that was lifted."""
    async with database.begin() as connection:
        silent = {"opted_out_at": NOW, "opted_out_by": "anna"}
        await connection.execute(update(persons).where(persons.c.id == person_id).values(silent))
        block = {"person_id": person_id, "scope": "all", "reason": "asked us not to", "author": "anna"}
        await connection.execute(
            insert(blocks),
            [{**block, "created_at": NOW, "lifted_at": None}, {**block, "created_at": NOW, "lifted_at": NOW}],
        )


async def restrictions(database: Database, application: str) -> tuple[str | None, int]:
    """Who opted the application's person out, and how many blocks hold for it."""
    person_id = (await applications_of(database))[application]["person_id"]
    held = select(func.count()).where(blocks.c.person_id == person_id, blocks.c.lifted_at.is_(None))
    who = select(persons.c.opted_out_by).where(persons.c.id == person_id)
    async with database.read() as connection:
        return (await connection.execute(who)).scalar_one(), (await connection.execute(held)).scalar_one()


async def test_d24_splitting_both_keep_everything(files: Files) -> None:
    await files.applications(lines("external_id,duplicate_set", "A1,S1", "A2,S1"))
    await restrict(files.database, (await applications_of(files.database))["A1"]["person_id"])
    await files.applications(lines("external_id,duplicate_set", "A2,S2"))
    assert await restrictions(files.database, "A1") == ("anna", 1)
    assert await restrictions(files.database, "A2") == ("anna", 1)


async def test_d24_merging_the_stricter_wins_and_nothing_doubles(files: Files) -> None:
    await files.applications(lines("external_id,duplicate_set", "A1,S1", "A2,S2", "A3,S3"))
    await restrict(files.database, (await applications_of(files.database))["A1"]["person_id"])
    await files.applications(lines("external_id,duplicate_set", "A1,S2"))
    assert await restrictions(files.database, "A2") == ("anna", 1)
    # There and back again.
    await files.applications(lines("external_id,duplicate_set", "A1,S1"))
    await files.applications(lines("external_id,duplicate_set", "A1,S2"))
    assert await restrictions(files.database, "A2") == ("anna", 1)
    assert await restrictions(files.database, "A3") == (None, 0)
