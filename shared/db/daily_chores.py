"""What is done once a day, exactly once with any number of schedulers: who holds a chore's lease does it.

A chore that breaks off is taken up again by whoever comes after its lease has run out; all chores may be done twice.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.service_tables import daily_chores
from shared.db.system_settings import load_system_settings
from shared.domain.schedule import local_instant

#: Not before this, in the system's time zone: the night's work, but after the change of clocks at most.
NOT_BEFORE = time(2)
#: A chore at work says so at least this often.
LEASE = timedelta(minutes=10)
_C = daily_chores.c
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class TakenChore:
    """A chore of a day in one scheduler's hands, until its lease runs out."""

    name: str
    day: date
    lease_until: datetime


async def chore_due(database: Database, name: str, now: datetime) -> date | None:
    """The local day for which the chore is still to be done, or None. Only reads."""
    async with database.read() as connection:
        zone = (await load_system_settings(connection)).zone
        today = now.astimezone(zone).date()
        if now < local_instant(today, NOT_BEFORE, zone) or await _is_done(connection, name, today):
            return None
    return today


async def take_chore(database: Database, name: str, day: date, now: datetime) -> TakenChore | None:
    """Takes the chore for `day`; None if somebody is at work on it or has done it."""
    lease = _lease(name)
    async with database.begin() as connection:
        await _ensure(connection, lease, day)
        free = update(daily_chores).where(_C.name == lease, _C.done_at <= now)
        if not (await connection.execute(free.values(done_on=day, done_at=now + LEASE))).rowcount:
            return None
        # Asked only now: whoever did it let go of the lease in the same transaction.
        if await _is_done(connection, name, day):
            await _let_go(connection, lease, now)
            return None
    return TakenChore(name, day, now + LEASE)


async def keep_chore(database: Database, chore: TakenChore, now: datetime) -> bool:
    """Renews the lease between two batches; False if another scheduler has taken the chore over."""
    later = now + LEASE
    async with database.begin() as connection:
        mine = update(daily_chores).where(_C.name == _lease(chore.name), _C.done_at == chore.lease_until)
        held = (await connection.execute(mine.values(done_at=later))).rowcount > 0
    chore.lease_until = later
    return held


async def end_chore(database: Database, chore: TakenChore, now: datetime, *, done: bool) -> None:
    """Lets go of the lease; `done` says that nothing is left to do on that day."""
    async with database.begin() as connection:
        if done:
            await _ensure(connection, chore.name, chore.day)
            values = {"done_on": chore.day, "done_at": now}
            earlier = update(daily_chores).where(_C.name == chore.name, _C.done_on <= chore.day)
            await connection.execute(earlier.values(values))
        await _let_go(connection, _lease(chore.name), now, chore.lease_until)


def _lease(name: str) -> str:
    return f"{name}: at work until"


async def _ensure(connection: AsyncConnection, name: str, day: date) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = dialect.insert(daily_chores).values(name=name, done_on=day, done_at=_NEVER)
    await connection.execute(row.on_conflict_do_nothing(index_elements=["name"]))


async def _let_go(connection: AsyncConnection, lease: str, now: datetime, until: datetime | None = None) -> None:
    mine = update(daily_chores).where(_C.name == lease, *([_C.done_at == until] if until else []))
    await connection.execute(mine.values(done_at=now))


async def _is_done(connection: AsyncConnection, name: str, day: date) -> bool:
    done = select(_C.name).where(_C.name == name, _C.done_on >= day, _C.done_at > _NEVER)
    return (await connection.execute(done)).first() is not None
