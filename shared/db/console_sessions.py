"""Who is signed in at the console: a row for each session, found by the hash of a token that only the browser has."""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import ColumnElement, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.service_tables import console_sessions
from shared.db.tables import users
from shared.db.transactions import in_transaction
from shared.domain.text import fold
from shared.passwords import hash_password, is_password

_S = console_sessions.c
#: A session ends when nobody used it for so long, and after a working day in any case (S19).
IDLE, LONGEST = timedelta(minutes=30), timedelta(hours=12)
#: The last use is written down this often at most: reading a page is to write nothing.
_SEEN = timedelta(minutes=1)
#: Passwords that are hashed at a time: each takes memory and a thread, and anybody may ask.
_HASHING = asyncio.Semaphore(3)


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """A signed-in person with their present role, and the token that their forms carry."""

    token_hash: str
    user_id: int
    user_name: str
    display_name: str
    role: str
    csrf: str
    #: Without one a person signs in with a company account only.
    has_password: bool


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that has begun, with the token that nobody but the browser gets."""

    user_id: int
    token: str = field(repr=False)


async def sign_in(database: Database, name: str, password: str, now: datetime) -> NewSession | None:
    """A new session; None if name and password do not fit together, or the user is locked."""
    user_id = await _who_knows(database, name, password)
    return None if user_id is None else await _begin(database, user_id, now)


async def sign_in_vouched(database: Database, name: str, now: datetime) -> NewSession | None:
    """A new session for whom a sign-in service has vouched; None if no user who may act has just this name.

    A name that only looks alike lets nobody in: but for the case of ASCII letters it has to be the very same.
    """
    async with database.read() as connection:
        found = (await connection.execute(select(users).where(users.c.name_folded == fold(name)))).mappings().first()
    if found is None or found["locked_at"] is not None or not _is_same(found["name"], name):
        return None
    return await _begin(database, int(found["id"]), now)


def _is_same(name: str, other: str) -> bool:
    return name == other or (name.isascii() and other.isascii() and name.lower() == other.lower())


async def _begin(database: Database, user_id: int, now: datetime) -> NewSession:
    token = secrets.token_urlsafe(32)
    row = {
        "token_hash": _hashed(token),
        "user_id": user_id,
        "csrf": secrets.token_urlsafe(24),
        "created_at": now,
        "seen_at": now,
    }

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(delete(console_sessions).where(ended_before(now)))
        await connection.execute(insert(console_sessions).values(**row))

    await in_transaction(database, work)
    return NewSession(user_id, token)


def ended_before(now: datetime) -> ColumnElement[bool]:
    """Sessions that let nobody in any more."""
    return or_(_S.seen_at < now - IDLE, _S.created_at < now - LONGEST)


async def knows_password(database: Database, name: str, password: str) -> bool:
    """Whether a user's password is this one."""
    return await _who_knows(database, name, password) is not None


async def _who_knows(database: Database, name: str, password: str) -> int | None:
    async with database.read() as connection:
        found = (await connection.execute(select(users).where(users.c.name_folded == fold(name)))).mappings().first()
    stored = found["password_hash"] if found is not None and found["locked_at"] is None else None
    # Hashing takes long on purpose; it does so too where there is no such user, and beside the other requests.
    async with _HASHING:
        fits = await asyncio.to_thread(is_password, password, stored or _nobodys_hash())
    return int(found["id"]) if fits and found is not None and stored is not None else None


async def load_session(database: Database, token: str, now: datetime, *, is_use: bool = True) -> ConsoleSession | None:
    """The session of a token, with the user's role as it is now; None if there is none (any more).

    `is_use`: somebody does something; a page that comes anew by itself does not keep a session alive.
    """
    columns = (_S.token_hash, _S.user_id, _S.csrf, _S.seen_at)
    has_password = users.c.password_hash.is_not(None).label("has_password")
    theirs = (users.c.name.label("user_name"), users.c.display_name, users.c.role, has_password)
    statement = (
        select(*columns, *theirs)
        .join(users, users.c.id == _S.user_id)
        .where(_S.token_hash == _hashed(token), _S.seen_at >= now - IDLE, _S.created_at >= now - LONGEST)
        # Their sessions end with the lock; one that began in the same moment does not outlive it.
        .where(users.c.locked_at.is_(None))
    )
    async with database.read() as connection:
        row = (await connection.execute(statement)).mappings().first()
    if row is None:
        return None
    if is_use and now - row["seen_at"] > _SEEN:
        async with database.begin() as connection:
            seen = update(console_sessions).where(_S.token_hash == row["token_hash"])
            await connection.execute(seen.values(seen_at=now))
    return ConsoleSession(**{key: value for key, value in row.items() if key != "seen_at"})


async def sign_out(database: Database, token_hash: str) -> None:
    """Ends one session."""
    async with database.begin() as connection:
        await connection.execute(delete(console_sessions).where(_S.token_hash == token_hash))


async def end_sessions(connection: AsyncConnection, user_id: int, but: str | None = None) -> None:
    """Ends a user's sessions (a new password, another role), all or all but one."""
    which = [_S.user_id == user_id, *([_S.token_hash != but] if but else [])]
    await connection.execute(delete(console_sessions).where(*which))


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@cache
def _nobodys_hash() -> str:
    return hash_password(secrets.token_urlsafe(32))
