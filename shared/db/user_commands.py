"""Users: who may act, with which rights (D5)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.actors import ROLES
from shared.db.console_sessions import end_sessions
from shared.db.engine import Database
from shared.db.history import record_changes
from shared.db.named_records import find_named
from shared.db.tables import users
from shared.db.transactions import in_transaction
from shared.domain.job_fields import one_of, read_name
from shared.domain.mail_addresses import usable_address
from shared.domain.text import fold
from shared.errors import InvalidInput, NotFound, Refused
from shared.passwords import hash_password


async def create_user(
    database: Database, name: str, *, display_name: str, email: str | None, role: str, author: str, now: datetime
) -> None:
    """A new user without a password; raises InvalidInput."""
    fields = {
        "name": read_name("user, name", name),
        "display_name": read_name("user, display name", display_name),
        "email": email,
        "role": one_of(*ROLES)("user, role", role),
    }
    if email is not None and usable_address(email) is None:
        raise InvalidInput("user, e-mail", email, "is not a valid e-mail address")

    async def work(connection: AsyncConnection) -> None:
        if await find_named(connection, users, name) is not None:
            raise InvalidInput("user, name", name, "exists already")
        statement = insert(users).values(**fields, name_folded=fold(name)).returning(users.c.id)
        user_id = (await connection.execute(statement)).scalar_one()
        changes = [(key, None, value) for key, value in fields.items()]
        await record_changes(connection, "user", user_id, name, "create", changes, author=author, now=now)

    await in_transaction(database, work)


async def set_password(database: Database, name: str, password: str, *, author: str, now: datetime) -> None:
    """Gives a user a password; the history tells that, not which. Raises NotFound, InvalidInput."""
    hashed = hash_password(password)

    async def work(connection: AsyncConnection) -> None:
        user = await find_named(connection, users, name)
        if user is None:
            raise NotFound("user", name)
        await connection.execute(update(users).where(users.c.id == user["id"]).values(password_hash=hashed))
        await record_changes(connection, "user", user["id"], user["name"], "password", [], author=author, now=now)

    await in_transaction(database, work)


async def change_user(
    database: Database,
    user_id: int,
    *,
    display_name: str,
    email: str | None,
    role: str,
    author: str,
    now: datetime,
    shown: Mapping[str, Any] | None = None,
) -> None:
    """Another display name, address or role; another role ends the user's sessions. Raises NotFound, InvalidInput.

    `shown`: these fields as they stood before the author: Refused if somebody else has changed them since, for a page
    of yesterday would give back a role that was taken away today.
    """
    wanted = {
        "display_name": read_name("user, display name", display_name),
        "email": email,
        "role": one_of(*ROLES)("user, role", role),
    }
    if email is not None and usable_address(email) is None:
        raise InvalidInput("user, e-mail", email, "is not a valid e-mail address")

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
        user = await load_user(connection, user_id)
        if shown is not None and any(user[key] != shown[key] for key in wanted):
            raise Refused("somebody else has changed this user meanwhile; please look at it again")
        changes = [(key, user[key], value) for key, value in wanted.items() if user[key] != value]
        if not changes:
            return
        await connection.execute(update(users).where(users.c.id == user_id).values(wanted))
        if user["role"] != role:
            await end_sessions(connection, user_id)
        await record_changes(connection, "user", user_id, user["name"], "change", changes, author=author, now=now)

    await in_transaction(database, work)


async def lock_user(database: Database, user_id: int, *, is_locked: bool, author: str, now: datetime) -> None:
    """Whether a user may act: one who is locked cannot sign in, by no way, and their sessions end at once (D5).

    Everything that they did keeps their name. Raises NotFound, and Refused for one's own lock.
    """

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
        user = await load_user(connection, user_id)
        if is_locked and user["name"] == author:
            raise Refused("you cannot lock yourself out; another administrator can")
        if is_locked == (user["locked_at"] is not None):
            return
        locked_at = now if is_locked else None
        await connection.execute(update(users).where(users.c.id == user_id).values(locked_at=locked_at))
        if is_locked:
            await end_sessions(connection, user_id)
        action = "lock" if is_locked else "unlock"
        await record_changes(connection, "user", user_id, user["name"], action, [], author=author, now=now)

    await in_transaction(database, work)


async def load_user(connection: AsyncConnection, user_id: int) -> Mapping[str, Any]:
    """A user's row without the password; raises NotFound."""
    u = users.c
    statement = select(u.id, u.name, u.display_name, u.email, u.role, u.locked_at).where(u.id == user_id)
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("user", user_id)
    return dict(row)


async def list_users(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every user by name; of the password only whether there is one."""
    u = users.c
    has_password, locked = u.password_hash.is_not(None), u.locked_at.is_not(None)
    columns = (u.name, u.display_name, u.email, u.role, has_password.label("has_password"), locked.label("locked"))
    rows = await connection.execute(select(*columns).order_by(u.name_folded))
    return [
        {**row, "has_password": bool(row["has_password"]), "locked": bool(row["locked"])} for row in rows.mappings()
    ]
