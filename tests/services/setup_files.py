"""A small setup, and the reading and applying of one from text."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Table, select

from shared.db.engine import Database
from shared.setup import Difference, Setup, apply_setup, read_setup

#: 10:00 in Berlin; the day's dispatch of the jobs below (08:00) has passed.
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SETUP = """
settings: {time_zone: Europe/Berlin, catch_up_hours: 6, sender: "HR <hr@firma.example>"}
statuses:
  - {name: Neu, meta: new}
  - {name: Absage, meta: rejected}
users:
  - {name: a.weber, display_name: Anna Weber, email: a.weber@firma.example, role: edit}
queries:
  - name: Geburtstag heute
    filters:
      - {field: status, not_in: [Absage]}
      - {field: birthday_in_days, from: 0, to: 0}
  - name: Pool
    filters: [{field: in_pool, is: true}]
letters:
  - {name: Geburtstag, subject: "Alles Gute", html: "<p>{{ salutation_line }}</p>"}
  - {name: Ende, subject: "Absage", text: "Leider nein", sets_status: Absage}
jobs:
  - {name: Grüße, status: An, query: Geburtstag heute, letter: Geburtstag, dispatch: rolling, time: "08:00",
     sender: "user:a.weber"}
"""


def read(text: str) -> Setup:
    """The setup that a file of this text holds."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "setup.yaml"
        path.write_text(text, encoding="utf-8")
        return read_setup(path)


async def apply(
    database: Database, text: str, *, now: datetime = NOW, role: str = "admin", dry_run: bool = False
) -> Difference:
    """Applies a file of this text as anna."""
    return await apply_setup(database, read(text), author="anna", role=role, now=now, dry_run=dry_run)


async def rows(database: Database, table: Table, **where: Any) -> list[dict[str, Any]]:
    """The rows of a table with these values, oldest first."""
    conditions = [table.c[name] == value for name, value in where.items()]
    async with database.read() as connection:
        statement = select(table).where(*conditions).order_by(*table.primary_key.columns)
        return [dict(row) for row in (await connection.execute(statement)).mappings()]


async def row(database: Database, table: Table, **where: Any) -> dict[str, Any]:
    """The one row of a table with these values."""
    (found,) = await rows(database, table, **where)
    return found
