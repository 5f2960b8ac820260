"""`query list` against a model in plain Python, for random people, contacts, filters and days on both databases."""

import asyncio
import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from shared.db.engine import Database
from shared.db.queries import QueryDay, resolve_filters
from shared.db.query_answers import answer
from shared.db.recipients import counted
from shared.db.tables import applications, persons
from shared.domain.filters import parse_filters
from tests.services.import_files import Files
from tests.services.recipients_model import ALWAYS, BERLIN, METAS, OUTGOING, Contact, Records, recipients
from tests.services.schemas import empty_again, open_with_schema
from tests.services.setup_files import apply
from tests.sizes import size

SETUP = "statuses:\n" + "".join(f"  - {{name: {name}, meta: {meta}}}\n" for name, meta in METAS.items())
#: Few values that meet: upper and lower case, ß, composed and decomposed letters, blanks.
TEXTS = st.sampled_from(("", "Koch", "KOCH ", "Straße", "STRASSE", "Mu\u0308ller", "Müller", "50%_a"))
DAYS = st.sampled_from(
    [
        date.fromisoformat(day)
        for day in ("2026-11-23", "2026-12-31", "2027-02-28", "2027-03-01", "2028-02-29", "2028-03-01")
    ]
)
DATES = st.sampled_from(("", "2024-02-29", "2026-11-23", "2026-10-31", "2026-12-31", "2027-01-31", "1990-02-28")) | (
    st.dates(date(2026, 9, 1), date(2028, 3, 2)).map(str)
)
SETS = st.sampled_from(("", "", "S1", "S2", "S3"))


def _row(values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(_COLUMNS, values, strict=True))


_COLUMNS = (
    *("duplicate_set", "kind", "email", "birth_date", "vacancy", "recruiter", "status", "received_on", "in_pool"),
    *("pool_since", "custom.Note"),
)
ROWS = st.tuples(
    SETS,
    st.sampled_from(("application", "pool", "other")),
    st.sampled_from(("", "a@x.example", "keine")),
    st.sampled_from(("", "2000-02-29", "1990-03-01", "1990-02-28", "1985-12-31", "1985-01-01", "1999-11-23")),
    TEXTS,
    TEXTS,
    st.sampled_from(("", *METAS)),
    DATES,
    st.sampled_from(("true", "false")),
    DATES,
    TEXTS,
).map(_row)
#: Close to local midnight, and into a day's clock change.
MOMENTS = st.tuples(DAYS, st.sampled_from(((-1, 22, 59), (-1, 23, 0), (0, 22, 59), (0, 23, 30), (-60, 12, 0)))).map(
    lambda given: (
        datetime(given[0].year, given[0].month, given[0].day, given[1][1], given[1][2], tzinfo=UTC)
        + (date(2026, 1, 2) - date(2026, 1, 1)) * given[1][0]
    )
)


@st.composite
def records(draw: st.DrawFn) -> Records:
    rows = draw(st.lists(ROWS, min_size=1, max_size=8))
    named = {f"A{number}": row for number, row in enumerate(rows)}
    sets = sorted({row["duplicate_set"] for row in rows} - {""})
    owners = st.sampled_from([*((name, "") for name in named), *(("", name) for name in sets)])
    entry = st.tuples(
        owners,
        MOMENTS,
        st.sampled_from((*ALWAYS, *OUTGOING, "note", "portal")),
        st.sampled_from(("outgoing", "incoming", "internal")),
    )
    contacts = [
        Contact(at, medium, direction, application=owner[0], person=owner[1])
        for owner, at, medium, direction in draw(st.lists(entry, max_size=10))
    ]
    opted_out = draw(st.sets(st.sampled_from(sets), max_size=1)) if sets else set()
    return Records(named, contacts, draw(st.sampled_from(("march_1", "february_28"))), opted_out)


def _listed(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    lists = st.lists(values, min_size=1, max_size=2)
    return st.tuples(st.sampled_from(("in", "not_in")), lists).map(lambda given: {"field": name, given[0]: given[1]})


def _numbered(name: str, *numbers: int) -> st.SearchStrategy[dict[str, Any]]:
    operators = st.sampled_from(("more_than", "at_most"))
    return st.tuples(operators, st.sampled_from(numbers)).map(lambda given: {"field": name, given[0]: given[1]})


_FILLED = TEXTS.filter(bool)
_RANGE = st.sampled_from(((0, 0), (0, 7), (-3, 3), (1, 1), (0, 366)))
_PERIOD = st.tuples(st.dates(date(2026, 9, 1), date(2027, 3, 1)), st.integers(0, 400))
FILTERS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.tuples(st.sampled_from(("has_email", "in_pool")), st.booleans()).map(lambda g: {"field": g[0], "is": g[1]}),
    _listed("status", st.sampled_from(tuple(METAS))),
    _listed("meta_status", st.sampled_from(("new", "interview", "offer", "rejected"))),
    _listed("kind", st.sampled_from(("application", "pool", "other"))),
    _listed("vacancy", _FILLED),
    _listed("recruiter", _FILLED),
    _RANGE.map(lambda g: {"field": "birthday_in_days", "from": g[0], "to": g[1]}),
    _numbered("days_since_last_contact", -1, 0, 1, 30, 60),
    st.just({"field": "days_since_last_contact", "never": True}),
    _numbered("dwell_months", 0, 1, 2, 3, 12),
    _PERIOD.map(
        lambda g: {"field": "received_on", "from": str(g[0]), "to": str(date.fromordinal(g[0].toordinal() + g[1]))}
    ),
    st.tuples(st.sampled_from(("equals", "contains")), _FILLED).map(lambda g: {"field": "custom.Note", g[0]: g[1]}),
)
QUERIES = st.lists(
    st.tuples(FILTERS, st.booleans()).map(lambda given: {**given[0], "negate": given[1]}), min_size=1, max_size=3
)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([columns, *rows])
    return file.getvalue()


async def load(database: Database, folder: Path, given_records: Records) -> None:
    await apply(database, SETUP)
    files = Files(database, folder)
    rows = [[name, *row.values()] for name, row in given_records.applications.items()]
    report = await files.applications(_csv(("external_id", *_COLUMNS), rows))
    entries = [
        [str(number), c.application, c.person, c.at.isoformat(), c.medium, c.direction]
        for number, c in enumerate(given_records.contacts)
    ]
    columns = ("external_id", "application", "person", "at", "medium", "direction")
    assert not report.bad_rows and not (await files.contacts(_csv(columns, entries))).bad_rows
    async with database.begin() as connection:
        gone = update(persons).where(persons.c.duplicate_set.in_(given_records.opted_out))
        await connection.execute(gone.values(opted_out_at=datetime(2026, 1, 1, tzinfo=UTC)))


async def example(
    url: str | None, given_records: Records, queries: list[list[dict[str, Any]]], days: set[date]
) -> None:
    with TemporaryDirectory() as folder:
        database = await open_with_schema(url or f"sqlite:///{folder}/test.sqlite3", pool_size=2)
        try:
            await load(database, Path(folder), given_records)
            async with database.read() as connection:
                for filters in queries:
                    query = await resolve_filters(connection, "q", parse_filters("q", filters))
                    for day in days:
                        on = QueryDay(day, BERLIN, given_records.leap_day_birthday)
                        listed = await answer(connection, query, on)
                        found = listed["recipients"]
                        chosen = {one["application"]: one["duplicates_collapsed"] for one in found}
                        assert chosen == recipients(given_records, filters, day), (filters, day)
                        numbers = (await connection.execute(counted(query, on))).one()
                        assert tuple(numbers) == (listed["matched"], len(found)), (filters, day)
        finally:
            if url:
                await empty_again(database)
            await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """None stands for a new SQLite file for each example."""
    return request.getfixturevalue("kept_postgres_url") if request.param == "postgresql" else None


@settings(max_examples=size(25, 60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records(), st.lists(QUERIES, min_size=4, max_size=10), st.sets(DAYS, min_size=2, max_size=3))
def test_d17_d20_d21_d23_d25_recipients_are_those_of_the_rules(
    url: str | None, given_records: Records, queries: list[list[dict[str, Any]]], days: set[date]
) -> None:
    asyncio.run(example(url, given_records, queries, days))


async def test_d24_applications_without_a_set_are_one_person_if_all_keys_are_known_and_equal(files: Files) -> None:
    columns = "external_id,salutation,first_name,last_name,birth_date"
    rows = ("A1,Frau,Ada,Groß,1990-01-01", "A2,FRAU,ada ,GROSS,1990-01-01", "A3,Frau,Ada,Groß,", "A4,Frau,Ada,Groß,")
    await files.applications("\n".join((columns, *rows)) + "\n")
    async with files.database.read() as connection:
        query = await resolve_filters(connection, "q", parse_filters("q", [{"field": "in_pool", "is": False}]))
        found = await answer(connection, query, QueryDay(date(2026, 11, 23), BERLIN))
    assert found["matched"] == 4
    assert [(one["application"], one["duplicates_collapsed"]) for one in found["recipients"]] == [
        ("A2", ["A1"]),
        ("A3", []),
        ("A4", []),
    ]


async def test_d25_a_reduced_application_matches_no_query(files: Files) -> None:
    await files.applications("external_id\nA1\nA2\n")
    async with files.database.begin() as connection:
        reduced = update(applications).where(applications.c.external_id == "A1")
        await connection.execute(reduced.values(reduced_at=datetime(2026, 1, 1, tzinfo=UTC)))
        query = await resolve_filters(connection, "q", parse_filters("q", [{"field": "in_pool", "is": False}]))
        found = await answer(connection, query, QueryDay(date(2026, 11, 23), BERLIN))
    assert [one["application"] for one in found["recipients"]] == ["A2"]


@pytest.mark.parametrize(
    ("at", "days"),
    [  # the local day of an entry is what counts, also across a clock change (25 October 2026)
        ("2026-11-22T23:59:59+01:00", 1),
        ("2026-11-23T00:00:00+01:00", 0),
        ("2026-11-22T22:59:59+00:00", 1),
        ("2026-11-23T00:30:00+02:00", 1),
        ("2026-11-24T00:00:00+01:00", -1),
        ("2026-10-24T23:59:59+02:00", 30),
        ("2026-10-25T00:00:00+02:00", 29),
    ],
)
@pytest.mark.parametrize("owner", ["A1,", ",S1"])
async def test_d20_days_since_the_last_contact_are_local_calendar_days(
    files: Files, at: str, days: int, owner: str
) -> None:
    await files.applications("external_id,duplicate_set,received_on\nA1,S1,2020-01-01\n")
    header = "external_id,application,person,at,medium,direction"
    await files.contacts(f"{header}\nK1,{owner},{at},in_person,internal\n")
    async with files.database.read() as connection:
        for number in range(days - 1, days + 2):
            for operator in ("more_than", "at_most"):
                filters = [{"field": "days_since_last_contact", operator: number}]
                query = await resolve_filters(connection, "q", parse_filters("q", filters))
                found = await answer(connection, query, QueryDay(date(2026, 11, 23), BERLIN))
                assert found["matched"] == (days > number if operator == "more_than" else days <= number), filters


@pytest.mark.parametrize(
    ("start", "day", "months"),
    [
        ("2026-08-31", "2026-09-30", 1),  # the last day of a shorter month
        ("2026-08-31", "2026-09-29", 0),
        ("2026-08-30", "2026-09-29", 0),
        ("2027-01-29", "2027-02-28", 1),
        ("2027-02-28", "2027-03-27", 0),
        ("2027-02-28", "2027-03-28", 1),
        ("2024-02-29", "2027-02-28", 36),
        ("2023-11-23", "2026-11-22", 35),
        ("2023-11-23", "2026-11-23", 36),
        ("2026-11-23", "2026-11-23", 0),
    ],
)
async def test_d21_a_month_is_full_on_the_same_day_or_the_last_of_a_shorter_month(
    files: Files, start: str, day: str, months: int
) -> None:
    rows = (f"A1,false,,{start}", f"A2,true,{start},2000-01-01", f"A3,true,,{start}")
    await files.applications("\n".join(("external_id,in_pool,pool_since,received_on", *rows)) + "\n")
    async with files.database.read() as connection:
        for number in range(max(0, months - 1), months + 2):
            filters = [{"field": "dwell_months", "more_than": number}]
            query = await resolve_filters(connection, "q", parse_filters("q", filters))
            found = await answer(connection, query, QueryDay(date.fromisoformat(day), BERLIN))
            assert found["matched"] == (3 if months > number else 0), number
