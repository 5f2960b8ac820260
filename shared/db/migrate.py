"""Brings a database to the newest schema, and tells which schema it has."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from shared.db.engine import Database
from shared.db.system_settings import ensure_instance_id
from shared.errors import KontaktpflegeError


class SchemaOutdated(KontaktpflegeError):
    """The database does not have the schema of this release: run `kontaktpflege migrate`."""


async def migrate(database: Database) -> tuple[str | None, str]:
    """Upgrades in one transaction; returns the revisions before and after. Running it twice is harmless."""
    await database.check()
    async with database.begin() as connection:
        before = await connection.run_sync(_current)
        await connection.run_sync(_upgrade)
        await ensure_instance_id(connection)
        after = await connection.run_sync(_current)
    return before, str(after)


async def require_schema(database: Database) -> None:
    """Raises SchemaOutdated unless the schema is the one of this release; Unavailable if nothing answers."""
    await database.check()
    async with database.read() as connection:
        current = await connection.run_sync(_current)
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if current != head:
        raise SchemaOutdated(
            f"database {database.address} has schema {current or 'none'}, this release needs {head}: "
            "run `kontaktpflege migrate`"
        )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection), "head")
