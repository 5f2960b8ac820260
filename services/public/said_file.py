"""What candidates said, on this machine's disk: for a database that is restored from a backup and does not know it.

A file for each database, of all processes of the machine: order, application's external id, wish and time; no names, no
addresses, no words. Of each letter it has every wish once, the last time it was said, and nothing older than asked for:
so it stays small.
"""

import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

#: Seconds to wait for another process of the machine.
_PATIENCE = 10.0
_TABLES = """
CREATE TABLE IF NOT EXISTS journal (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS said (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL, made_at TEXT NOT NULL, application TEXT NOT NULL, what TEXT NOT NULL, at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY);
"""
#: In the order of Said, its number first.
_COLUMNS = "order_id, made_at, application, what, at"


@dataclass(frozen=True, slots=True)
class Said:
    """One wish or answer, of whoever had the link of an order."""

    order_id: int
    #: When the order was made: after a restore its number may be another letter's.
    made_at: datetime
    #: The external id of the application that it was for: of a letter that the database does not know it is left.
    application: str
    #: A wish by its name, or `consent_stay`, `consent_delete`.
    what: str
    at: datetime
    #: Of the file; 0: not from there.
    number: int = field(default=0, compare=False)


class SaidFile:
    """The file; its functions block, for a sync at most."""

    def __init__(self, folder: Path, instance_id: str, keep: timedelta) -> None:
        """Raises OSError or sqlite3.Error where it cannot be written."""
        self._path, self._keep = folder / f"said-{instance_id}.sqlite3", keep
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._changing() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            if not (found := connection.execute("SELECT name FROM journal").fetchone()):
                found = (uuid.uuid4().hex,)
                connection.execute("INSERT INTO journal VALUES (?)", found)
            #: What the database knows this file by.
            self.name = str(found[0])

    def add(self, said: Said, *, changed: bool) -> None:
        """Written and synced when this returns. Raises OSError or sqlite3.Error.

        `changed`: whether it changed anything in the database. What did not, and was said last by this letter, is not
        written again. The same words may change something: another letter's, or a recruiter's, were in between.
        """
        row = (said.order_id, _text(said.made_at), said.application, said.what, _text(said.at))
        latest = "SELECT made_at, application, what FROM said WHERE order_id = ? ORDER BY number DESC LIMIT 1"
        same = "order_id = ? AND made_at = ? AND application = ? AND what = ?"
        with self._changing() as connection:
            if not changed and connection.execute(latest, row[:1]).fetchone() == row[1:4]:
                return
            connection.execute(f"DELETE FROM said WHERE {same}", row[:4])
            connection.execute(f"INSERT INTO said ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)
            _forget(connection, said.at - self._keep)

    def last_number(self, now: datetime) -> int:
        """Of what was said last; 0: nothing yet. What is too old to be kept goes."""
        with self._changing() as connection:
            _forget(connection, now - self._keep)
            found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'said'").fetchone()
            return int(found[0]) if found else 0

    def after(self, number: int) -> list[Said]:
        """What was said after this number, in that order."""
        return self._those("number > ?", number)

    def waiting(self) -> list[Said]:
        """What was to be given back, and nobody was known who had said it; in its order."""
        return self._those("number IN (SELECT number FROM waiting)")

    def let_wait(self, given: Sequence[Said], nobody: Sequence[Said]) -> None:
        """Of what was given back, what waits until somebody is known; the rest waits no more."""
        with self._changing() as connection:
            connection.executemany("DELETE FROM waiting WHERE number = ?", [(one.number,) for one in given])
            connection.executemany("INSERT INTO waiting VALUES (?)", [(one.number,) for one in nobody])

    def _those(self, which: str, *values: int) -> list[Said]:
        with closing(self._connect()) as connection:
            rows = connection.execute(f"SELECT number, {_COLUMNS} FROM said WHERE {which} ORDER BY number", values)
            return [
                Said(order, _moment(made), whose, what, _moment(at), number)
                for number, order, made, whose, what, at in rows
            ]

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
        # Each commit is on the disk, also the folder's entry of its rollback journal.
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA secure_delete = ON")
        return connection


def _forget(connection: sqlite3.Connection, before: datetime) -> None:
    connection.execute("DELETE FROM said WHERE at < ?", (_text(before),))
    connection.execute("DELETE FROM waiting WHERE number NOT IN (SELECT number FROM said)")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
