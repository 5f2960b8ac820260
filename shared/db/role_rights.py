"""What the database lets its user do (PostgreSQL); SQLite knows no users."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.role_grants import GRANTS, Share
from shared.db.tables import metadata

_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_ROLE = text(
    "SELECT current_user AS role, current_database() AS database, rolsuper AS superuser,"
    " has_database_privilege(current_database(), 'TEMPORARY') AS temporary,"
    " current_setting('transaction_read_only') = 'on' AS read_only"
    " FROM pg_roles WHERE rolname = current_user"
)
#: Of these rights on tables and columns, those that it has, or has not. DELETE is never a column's.
_HELD = text(
    "SELECT DISTINCT name, privilege FROM unnest(CAST(:names AS text[]), CAST(:privileges AS text[]),"
    " CAST(:columns AS text[])) AS asked (name, privilege, part)"
    " WHERE to_regclass(quote_ident(name)) IS NOT NULL AND CAST(:held AS boolean) = CASE"
    " WHEN part = '*' THEN has_table_privilege(quote_ident(name), privilege)"
    " ELSE coalesce(has_column_privilege(quote_ident(name), (SELECT attnum FROM pg_attribute"
    "   WHERE attrelid = to_regclass(quote_ident(name)) AND attname = part AND NOT attisdropped), privilege),"
    "   NOT CAST(:held AS boolean))"
    " END ORDER BY name"
)


@dataclass(frozen=True, slots=True)
class RoleRights:
    """The role of this connection in its database."""

    role: str
    database: str
    superuser: bool
    #: Whether it may make temporary tables: every plan needs one.
    temporary: bool
    #: A standby, or switched so.
    read_only: bool
    #: Rights that it lacks, and those beyond its share, each with the tables concerned; of tables that exist.
    lacking: dict[str, list[str]]
    beyond: dict[str, list[str]]


async def load_role_rights(connection: AsyncConnection, share: Share) -> RoleRights | None:
    """Asked of the catalog, which everybody may read, and compared with a share of the rights; None on SQLite."""
    if connection.dialect.name != "postgresql":
        return None
    row = (await connection.execute(_ROLE)).one()
    needed = list(_needed(share))
    lacking = await _asked(connection, needed, held=False)
    beyond = await _asked(connection, list(_others(share)), held=True)
    return RoleRights(row.role, row.database, row.superuser, row.temporary, row.read_only, lacking, beyond)


_Asked = tuple[str, str, str]


def _needed(share: Share) -> Iterator[_Asked]:
    for table, rights in GRANTS[share].items():
        for right, columns in rights.items():
            for column in columns.split():
                yield table, right, column


def _others(share: Share) -> Iterator[_Asked]:
    """All that there is besides, column by column."""
    for table in metadata.sorted_tables:
        given = GRANTS[share].get(table.name, {})
        for right in ("SELECT", "INSERT", "UPDATE"):
            columns = given.get(right, "").split()
            yield from (
                (table.name, right, one.name) for one in table.c if columns != ["*"] and one.name not in columns
            )
        if "DELETE" not in given:
            yield table.name, "DELETE", "*"


async def _asked(connection: AsyncConnection, asked: list[_Asked], *, held: bool) -> dict[str, list[str]]:
    names, privileges, columns = ([one[place] for one in asked] for place in range(3))
    values = {"names": names, "privileges": privileges, "columns": columns, "held": held}
    found: dict[str, list[str]] = {right: [] for right in _RIGHTS}
    for name, right in await connection.execute(_HELD, values):
        found[right].append(name)
    return {right: tables for right, tables in found.items() if tables}
