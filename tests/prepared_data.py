"""What many tests begin with, loaded once for each stack and copied from then on."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from tests.servers.fresh import at_path

#: By what was loaded: a file, or the name of a database on the server of an address.
_FILES: dict[tuple[str, ...], Path] = {}
_DATABASES: dict[tuple[str, ...], str] = {}


def fill(database_url: str, what: tuple[str, ...], load: Callable[[], None]) -> None:
    """Fills an empty database as `load` does: by it the first time, from a copy of what it left afterwards."""
    if database_url.startswith("sqlite"):
        _fill_file(Path(urlsplit(database_url).path.removeprefix("/")), what, load)
    else:
        _fill_database(database_url, what, load)


def _fill_file(path: Path, what: tuple[str, ...], load: Callable[[], None]) -> None:
    if (kept := _FILES.get(what)) is not None:
        shutil.copy(kept, path)
        return
    load()
    assert not path.with_name(f"{path.name}-wal").exists()
    folder = Path(tempfile.mkdtemp(prefix="kontaktpflege-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _FILES[what] = Path(shutil.copy(path, folder))


def _fill_database(url: str, what: tuple[str, ...], load: Callable[[], None]) -> None:
    name, server = unquote(urlsplit(url).path.removeprefix("/")), at_path(url, "postgres")
    kept = _DATABASES.get((server, *what))
    if kept is not None:
        _copy(server, kept, name)
        return
    load()
    kept = f"kp_prepared_{os.getpid()}_{len(_DATABASES)}"
    _copy(server, name, kept)
    _DATABASES[server, *what] = kept
    atexit.register(_drop, server, kept)


def _copy(server: str, from_name: str, to_name: str) -> None:
    _drop(server, to_name)
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(to_name), sql.Identifier(from_name)))


def _drop(server: str, name: str) -> None:
    try:
        with closing(psycopg.connect(server, autocommit=True)) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    except psycopg.OperationalError:
        # Servers of the tests themselves may have ended before this process does.
        pass
