"""How far the database knows what candidates said: one restored from a backup knows less than was written down.

Each machine that answers candidates numbers what they say in a file of its own (services/public/said_file.py).
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.candidate_tables import said_journals

_J = said_journals.c


async def known_up_to(connection: AsyncConnection, journal: str) -> int:
    """The last number that is known of a journal; 0: none."""
    return int((await connection.execute(select(_J.number).where(_J.journal == journal))).scalar() or 0)


async def note_known(connection: AsyncConnection, journal: str, number: int, now: datetime) -> None:
    """All up to this number is in the database."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(said_journals).values(journal=journal, number=number, at=now)
    taken = {"number": new.excluded.number, "at": new.excluded.at}
    await connection.execute(
        new.on_conflict_do_update(index_elements=["journal"], set_=taken, where=_J.number < number)
    )
