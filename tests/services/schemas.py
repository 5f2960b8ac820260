"""The newest schema in a database without making it anew for each test, which takes longer than most of them."""

import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, text

from shared.db.engine import Database
from shared.db.tables import metadata
from tests.services import triggers  # noqa: F401 - tables are made with them

#: An empty SQLite file, by its tables: a module that is imported later may bring more.
_EMPTY: dict[frozenset[str], bytes] = {}


async def open_with_schema(url: str, **given: Any) -> Database:
    """The database at `url` with the newest schema: a SQLite file as a copy, a PostgreSQL database as it was left."""
    parts, tables = make_url(url), frozenset(metadata.tables)
    if parts.get_backend_name() == "sqlite":
        if tables not in _EMPTY:
            _EMPTY[tables] = await _made()
        _write_anew(Path(str(parts.database)), _EMPTY[tables])
        return Database(url, **given)
    database = Database(url, **given)
    async with database.begin() as connection:
        there = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        if not tables <= set(there.scalars()):
            await connection.run_sync(metadata.create_all)
    return database


async def empty_again(database: Database) -> None:
    """Takes everything out of a PostgreSQL database that the next test is to have."""
    rows = " UNION ALL ".join(f"SELECT '{one}' WHERE EXISTS (SELECT FROM {one})" for one in sorted(metadata.tables))
    used = "SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false) FROM pg_sequences"
    async with database.begin() as connection:
        # Each table that is truncated gets new files, and most tests write into a few.
        if filled := (await connection.execute(text(rows))).scalars().all():
            await connection.execute(text(f"TRUNCATE {', '.join(filled)} CASCADE"))
        await connection.execute(text(f"{used} WHERE last_value IS NOT NULL"))


async def _made() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.sqlite3")
        async with database.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await database.close()
        return _only_file_of(Path(folder))


def _only_file_of(folder: Path) -> bytes:
    """Raises ValueError when part of the database is still in a file beside it."""
    (file,) = folder.iterdir()
    return file.read_bytes()


def _write_anew(file: Path, content: bytes) -> None:
    with file.open("xb") as out:
        out.write(content)
