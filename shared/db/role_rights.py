"""What the database lets its user do (PostgreSQL); SQLite knows no users."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.audit_tables import event_seals
from shared.db.tables import events, metadata

#: What the services do with every table; the schema's version they only read, and the history they only add to
#: (deploy/postgresql/service-role.sql): of its rows they may empty some columns, and delete none (S28).
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
ADDED_ONLY = (events.name, event_seals.name)
_ROLE = text(
    "SELECT current_user AS role, current_database() AS database, rolsuper AS superuser,"
    " has_database_privilege(current_database(), 'TEMPORARY') AS temporary,"
    " current_setting('transaction_read_only') = 'on' AS read_only"
    " FROM pg_roles WHERE rolname = current_user"
)
_LACKING = text(
    "SELECT name, privilege FROM unnest(CAST(:names AS text[])) AS name, unnest(CAST(:rights AS text[])) AS privilege"
    " WHERE (name <> 'alembic_version' OR privilege = 'SELECT')"
    " AND to_regclass(quote_ident(name)) IS NOT NULL AND NOT has_table_privilege(quote_ident(name), privilege)"
    " AND NOT (name = ANY (CAST(:added_only AS text[])) AND (privilege = 'DELETE'"
    "   OR privilege = 'UPDATE' AND has_any_column_privilege(quote_ident(name), privilege)))"
    " ORDER BY array_position(CAST(:rights AS text[]), privilege), name"
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
    #: Rights that it lacks, each with the tables concerned; of tables that exist.
    lacking: dict[str, list[str]]


async def load_role_rights(connection: AsyncConnection) -> RoleRights | None:
    """Asked of the catalog, which everybody may read; None on SQLite."""
    if connection.dialect.name != "postgresql":
        return None
    row = (await connection.execute(_ROLE)).one()
    given = {"names": ["alembic_version", *sorted(metadata.tables)], "rights": list(RIGHTS)}
    given["added_only"] = list(ADDED_ONLY)
    lacking: dict[str, list[str]] = {}
    for name, right in await connection.execute(_LACKING, given):
        lacking.setdefault(right, []).append(name)
    return RoleRights(row.role, row.database, row.superuser, row.temporary, row.read_only, lacking)
