"""The check before an import changes nothing; what the list of applications finds."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from shared.db.application_list import application_rows, search_applications
from shared.db.engine import Database
from shared.db.row_counts import estimated_count
from shared.db.tables import applications, contact_entries, events, persons
from shared.importing.applications import import_applications
from shared.importing.contacts import import_contacts

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


async def _counts(database: Database) -> list[int]:
    async with database.read() as connection:
        tables = (applications, persons, contact_entries, events)
        return [(await connection.execute(select(func.count()).select_from(one))).scalar_one() for one in tables]


async def test_a_check_reports_what_the_import_then_does(database: Database, tmp_path: Path) -> None:
    people, contacts = tmp_path / "people.csv", tmp_path / "contacts.csv"
    people.write_text("external_id,kind,last_name,birth_date\nA-1,application,Ott,1990-02-03\nA-2,pool,Bo,3.2.1990\n")
    contacts.write_text("application,at,medium,direction\nA-1,2026-11-20T08:00:00+01:00,mail,outgoing\n")
    before = await _counts(database)
    for work, file, bad in ((import_applications, people, 1), (import_contacts, contacts, 0)):
        checked = await work(database, file, author="test", now=NOW, check=True)
        assert (checked.inserted, checked.bad_count) == (1, bad)
        assert await _counts(database) == before
        done = await work(database, file, author="test", now=NOW)
        assert (done.inserted, done.bad_rows) == (1, checked.bad_rows)
        before = await _counts(database)
    async with database.read() as connection:
        for text, found in (("A-1", 1), ("ott", 1), ("%", 0), ("", 1)):
            searched = await search_applications(connection, text)
            assert len((await connection.execute(application_rows(searched if text else None))).all()) == found
        assert (await estimated_count(connection, applications) or 0) >= 0
