"""Services that hear strangers work in tests by the PostgreSQL role that they are to have (S17); SQLite has none."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import text

from shared.db.engine import Database
from shared.db.role_grants import SHARES, Share, grant

#: Roles belong to the whole server: each process of tests has its own.
ROLES: dict[Share, str] = {share: f"kp_test_{share}_{os.getpid()}" for share in SHARES}
_GRANTED: set[str] = set()


@asynccontextmanager
async def by_its_role(database: Database, share: Share) -> AsyncIterator[Database]:
    """The same database, with the rights of a share and no others."""
    if database.dialect == "sqlite":
        yield database
        return
    if str(database.url) not in _GRANTED:
        async with database.begin() as connection:
            # Where tables are made without migrations there is none.
            await connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32))"))
            for one, role in ROLES.items():
                known = await connection.execute(text("SELECT FROM pg_roles WHERE rolname = :role"), {"role": role})
                if known.first() is None:
                    await connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
                await grant(connection, one, role)
        _GRANTED.add(str(database.url))
    url = database.url.set(username=ROLES[share], password="x")
    own = Database(url.render_as_string(hide_password=False), pool_size=4)
    try:
        yield own
    finally:
        await own.close()


@contextmanager
def roles_until_the_end(server: str) -> Iterator[None]:
    """Takes the roles away when the databases in which they have rights are gone."""
    yield
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        for role in ROLES.values():
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
