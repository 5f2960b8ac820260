"""Whatever the batch size and the order of rows, an import leaves what a model that goes row by row leaves."""

import asyncio
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.db.engine import Database
from shared.importing import ImportReport, batches
from tests.services.import_files import Files, applications_of, entries_of
from tests.services.schemas import empty_again, open_with_schema
from tests.sizes import size

KEYS = ("salutation", "first_name", "last_name", "birth_date")
#: Columns and their few values, so that rows meet; the last birth date is none.
CELLS = {
    "salutation": ("", "Frau", "FRAU "),
    "first_name": ("", "Ada"),
    "last_name": ("", "Groß", "gross"),
    "birth_date": ("", "1990-01-01", "31.02.1990"),
    "email": ("", "ada@firma.example", "ada@"),
    "duplicate_set": ("S1", "", "S2"),
}
MEDIA = ("mail", "note", "in_person")
DIRECTIONS = ("outgoing", "incoming", "internal")
ALWAYS, IF_OUTGOING = {"in_person"}, {"mail"}

Table = list[dict[str, str]]


@st.composite
def application_files(draw: st.DrawFn) -> Table:
    columns = draw(st.lists(st.sampled_from(tuple(CELLS)), unique=True))
    names = draw(st.lists(st.sampled_from(("A1", "A2", "A3", "A4", "A5", "")), max_size=7))
    return [{"external_id": name, **{c: draw(st.sampled_from(CELLS[c])) for c in columns}} for name in names]


#: What the first file brings, so that contacts have owners.
PEOPLE = [{"external_id": f"A{n}", "duplicate_set": name} for n, name in ((1, "S1"), (2, "S1"), (3, "S2"), (4, ""))]


@st.composite
def contact_files(draw: st.DrawFn) -> Table:
    with_subject = draw(st.booleans())
    found = []
    for name in draw(st.lists(st.sampled_from(("", "", "K1", "K2", "K3")), max_size=6)):
        owner = draw(st.sampled_from(("A1", "S1", "A2", "S2", "A9")))
        row = {
            "external_id": name,
            "application": owner if owner.startswith("A") else "",
            "person": owner if owner.startswith("S") else "",
            "at": f"2026-11-{draw(st.integers(1, 28)):02}T08:00:00+01:00",
            "medium": draw(st.sampled_from(MEDIA)),
            "direction": draw(st.sampled_from(DIRECTIONS)),
        }
        found.append({**row, "subject": draw(st.sampled_from(("", "x")))} if with_subject else row)
    return found


@dataclass
class Model:
    """The rules, one row at a time, everything derived computed anew at the end."""

    applications: dict[str, dict[str, str]] = field(default_factory=dict)
    sets: set[str] = field(default_factory=set)
    entries: dict[Any, dict[str, str]] = field(default_factory=dict)

    def import_applications(self, rows: Table) -> set[int]:
        """Returns the lines of bad rows."""
        seen, bad = set(), set()
        for line, row in enumerate(rows, 2):
            name = row["external_id"]
            if not name or name in seen or row.get("birth_date") == "31.02.1990":
                bad.add(line)
            else:
                self.applications[name] = {**dict.fromkeys(CELLS, ""), **self.applications.get(name, {}), **row}
                self.sets |= {row.get("duplicate_set")} - {"", None}  # type: ignore[arg-type]
            seen.add(name)
        return bad

    def import_contacts(self, rows: Table) -> set[int]:
        """Returns the lines of bad rows."""
        seen: set[str] = set()
        bad = set()
        for line, row in enumerate(rows, 2):
            name = row["external_id"]
            known = row["application"] in self.applications or row["person"] in self.sets
            if name in seen or not known:
                bad.add(line)
            else:
                key = name or tuple({"subject": "", **row}.items())
                key = key if isinstance(key, str) else tuple(sorted(key))
                self.entries[key] = {"subject": "", **self.entries.get(key, {}), **row}
            seen |= {name} - {""}
        return bad

    def person(self, name: str) -> tuple[str, ...]:
        row = self.applications[name]
        if row["duplicate_set"]:
            return ("set", row["duplicate_set"])
        keys = tuple(row[key].strip().casefold() for key in KEYS)
        return ("key", *keys) if all(keys) else ("alone", name)

    def last_contacts(self, name: str) -> tuple[str, str, str]:
        """Of the application: any, outgoing; and of its person those that count for all its applications."""
        own = [row for row in self.entries.values() if row["application"] == name]
        theirs = [row for row in self.entries.values() if row["person"] and self.person(name) == ("set", row["person"])]
        return latest(own), latest([row for row in own if row["direction"] == "outgoing"]), latest(counted(theirs))


def counted(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [r for r in rows if r["medium"] in ALWAYS or (r["medium"] in IF_OUTGOING and r["direction"] == "outgoing")]


def latest(rows: Sequence[dict[str, str]]) -> str:
    return max((row["at"] for row in rows), default="")


def as_csv(rows: Table, header: Sequence[str]) -> str:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, tuple(rows[0]) if rows else header)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def moment(at: str) -> datetime | None:
    return datetime.fromisoformat(at).astimezone(UTC) if at else None


def check_report(report: ImportReport, rows: Table, bad: set[int]) -> None:
    assert [row.line for row in report.bad_rows] == sorted(bad)
    assert (report.read, report.bad_count) == (len(rows), len(bad))
    assert report.inserted + report.updated + report.repeated == len(rows) - len(bad)


async def check_database(database: Database, model: Model) -> None:
    found = await applications_of(database)
    assert set(found) == set(model.applications)
    people = {name: row["person_id"] for name, row in found.items()}
    for name, row in found.items():
        wanted = model.applications[name]
        texts = (row["salutation"], row["first_name"], row["last_name"], row["email"], row["duplicate_set"])
        names = ("salutation", "first_name", "last_name", "email", "duplicate_set")
        assert texts == tuple(wanted[column].strip() or None for column in names)
        assert (row["birth_date"] and row["birth_date"].isoformat()) == (wanted["birth_date"] or None)
        assert row["usable_email"] == (wanted["email"] if wanted["email"].endswith("example") else None)
        same = {other for other in found if model.person(other) == model.person(name)}
        assert {other for other, person in people.items() if person == people[name]} == same
        last = (row["last_contact_at"], row["last_outgoing_at"], row["person_last_contact_at"])
        assert last == tuple(map(moment, model.last_contacts(name)))
    entries = [(e["application"], e["person"], e["at"], e["medium"], e["subject"]) for e in await entries_of(database)]
    wanted_entries = [
        (e["application"] or None, e["person"] or None, moment(e["at"]), e["medium"], e["subject"] or None)
        for e in model.entries.values()
    ]
    assert sorted(map(repr, entries)) == sorted(map(repr, wanted_entries))


async def example(url: str | None, imports: list[tuple[str, Table]], batch_rows: int) -> None:
    model = Model()
    with TemporaryDirectory() as folder, patch.object(batches, "BATCH_ROWS", batch_rows):
        database = await open_with_schema(url or f"sqlite:///{folder}/test.sqlite3", pool_size=2)
        try:
            files = Files(database, Path(folder))
            for what, rows in imports:
                if what == "applications":
                    report, bad = (
                        await files.applications(as_csv(rows, ("external_id",))),
                        model.import_applications(rows),
                    )
                else:
                    header = ("application", "at", "medium", "direction")
                    report, bad = await files.contacts(as_csv(rows, header)), model.import_contacts(rows)
                check_report(report, rows, bad)
                await check_database(database, model)
        finally:
            if url:
                await empty_again(database)
            await database.close()


IMPORTS = st.lists(
    application_files().map(lambda rows: ("applications", rows)) | contact_files().map(lambda rows: ("contacts", rows)),
    min_size=2,
    max_size=5,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """None stands for a new SQLite file for each example."""
    return request.getfixturevalue("kept_postgres_url") if request.param == "postgresql" else None


@settings(max_examples=size(20, 40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.permutations(PEOPLE), imports=IMPORTS, batch_rows=st.sampled_from((1, 2, 3, 5000)))
def test_any_files_in_any_batches_leave_what_the_rules_say(
    url: str | None, first: Table, imports: list[tuple[str, Table]], batch_rows: int
) -> None:
    asyncio.run(example(url, [("applications", first), *imports], batch_rows))
