"""Brings a database to the newest schema, and tells which schema it has."""

from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from shared.db.engine import Database
from shared.db.role_grants import Share, grant
from shared.db.suppressions import note_earlier_wishes
from shared.db.system_settings import ensure_instance_id
from shared.errors import InvalidInput, KontaktpflegeError


class SchemaOutdated(KontaktpflegeError):
    """The database does not have the schema of this release: run `kontaktpflege migrate`."""


class SchemaTooNew(KontaktpflegeError):
    """The database was migrated by a newer release: run that release, there is no way back."""


async def migrate(database: Database, grants: Sequence[tuple[Share, str]] = ()) -> tuple[str | None, str]:
    """Upgrades in one transaction; returns the revisions before and after. Running it twice is harmless.

    `grants`: roles that are given their share of the rights (PostgreSQL). Raises SchemaTooNew for a newer release's
    schema, Unavailable if nothing answers, InvalidInput for a role that is not there.
    """
    if grants and database.dialect != "postgresql":
        raise InvalidInput("--grant", "=".join(grants[0]), "only for PostgreSQL; SQLite knows no roles")
    await database.check()
    async with database.begin() as connection:
        before = await connection.run_sync(_current)
        _refuse_newer(before, database.address)
        await connection.run_sync(_upgrade)
        await ensure_instance_id(connection)
        await note_earlier_wishes(connection)
        for share, role in grants:
            await grant(connection, share, role)
        after = await connection.run_sync(_current)
    return before, str(after)


async def require_schema(database: Database) -> None:
    """Raises SchemaOutdated or SchemaTooNew unless the schema is this release's; Unavailable if nothing answers."""
    await database.check()
    async with database.read() as connection:
        current = await connection.run_sync(_current)
    _refuse_newer(current, database.address)
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if current != head:
        raise SchemaOutdated(
            f"database {database.address} has schema {current or 'none'}, this release needs {head}: "
            "run `kontaktpflege migrate`"
        )


def _refuse_newer(revision: str | None, address: str) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision and revision not in known:
        raise SchemaTooNew(f"database {address} has schema {revision}, unknown to this release: run the newer release")


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection), "head")
