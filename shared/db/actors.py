"""Who acts, and with which rights (D5): view < operate < edit < admin."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import users
from shared.domain.text import fold
from shared.errors import NotFound, Refused

ROLES = ("view", "operate", "edit", "admin")


@dataclass(frozen=True, slots=True)
class Actor:
    """An author with a role; each role includes the ones before it."""

    name: str
    role: str

    def require(self, role: str) -> None:
        """Raises Refused unless the actor's role reaches that far."""
        if ROLES.index(self.role) < ROLES.index(role):
            raise Refused(f"user {self.name!r} has the right {self.role!r}; this needs {role!r}")


async def load_actor(connection: AsyncConnection, name: str | None, login: str) -> Actor:
    """The named user; without a name whoever holds the database's address, with all rights.

    Raises NotFound, and Refused for one who is locked.
    """
    if not name:
        return Actor(f"os:{login}", "admin")
    row = (await connection.execute(select(users).where(users.c.name_folded == fold(name)))).mappings().first()
    if row is None:
        raise NotFound("user", name)
    if row["locked_at"] is not None:
        raise Refused(f"user {row['name']!r} is locked; an administrator can unlock them")
    return Actor(row["name"], row["role"])
