"""Which of a person's matching applications gets the letter, tie by tie (D23), on both databases."""

from datetime import date

import pytest
from sqlalchemy import select

from shared.db.queries import QueryDay, resolve_filters
from shared.db.query_answers import answer
from shared.db.tables import applications
from shared.domain.duplicate_orders import PersonsOrder, Standing
from shared.domain.filters import parse_filters
from tests.services.import_files import Files, lines
from tests.services.recipients_model import BERLIN

#: received of A1, received of A2, contacts (application, person, at, medium, direction), who stands for the person
CASES = {
    "the greatest external id": ("", "", (), "A2"),
    "the latest received": ("2026-02-02", "2026-02-01", (), "A1"),
    "an unknown receipt ranks last": ("2020-01-01", "", (), "A1"),
    "one outgoing contact": ("", "2026-02-01", ("A1,,2026-01-01T10:00:00Z,mail,outgoing",), "A1"),
    "any medium": ("", "2026-02-01", ("A1,,2026-01-01T10:00:00Z,note,outgoing",), "A1"),
    "the later outgoing contact": (
        "2026-02-02",
        "",
        ("A1,,2026-01-01T10:00:00Z,mail,outgoing", "A2,,2026-01-01T10:00:01Z,mail,outgoing"),
        "A2",
    ),
    "incoming ones do not count": ("", "", ("A1,,2026-01-01T10:00:00Z,mail,incoming",), "A2"),
    "internal ones do not count": ("", "", ("A1,,2026-01-01T10:00:00Z,note,internal",), "A2"),
    "the person's entries do not count": (
        "2026-02-02",
        "",
        (",S1,2026-03-01T10:00:00Z,mail,outgoing", "A2,,2026-01-01T10:00:00Z,mail,outgoing"),
        "A2",
    ),
    "instants, not local times": (
        "",
        "",
        ("A1,,2026-01-01T10:30:00+01:00,mail,outgoing", "A2,,2026-01-01T11:00:00+02:00,mail,outgoing"),
        "A1",
    ),
    "the same instant in two zones is a tie": (
        "2026-02-02",
        "2026-02-01",
        ("A1,,2026-01-01T10:00:00+01:00,mail,outgoing", "A2,,2026-01-01T11:00:00+02:00,mail,outgoing"),
        "A1",
    ),
    "a tie of contacts and receipt": (
        "2026-02-01",
        "2026-02-01",
        ("A1,,2026-01-01T10:00:00Z,mail,outgoing", "A2,,2026-01-01T10:00:00Z,mail,outgoing"),
        "A2",
    ),
    "the latest of several": (
        "",
        "",
        (
            "A1,,2026-01-03T10:00:00Z,mail,outgoing",
            "A1,,2026-01-01T10:00:00Z,mail,outgoing",
            "A2,,2026-01-02T10:00:00Z,mail,outgoing",
            "A2,,2026-01-04T10:00:00Z,mail,incoming",
        ),
        "A1",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_d23_one_application_stands_for_the_person(files: Files, case: str) -> None:
    first, second, contacts, chosen = CASES[case]
    await files.applications(lines("external_id,duplicate_set,received_on", f"A1,S1,{first}", f"A2,S1,{second}"))
    if contacts:
        report = await files.contacts(lines("application,person,at,medium,direction", *contacts))
        assert not report.bad_rows
    async with files.database.read() as connection:
        query = await resolve_filters(connection, "q", parse_filters("q", [{"field": "in_pool", "is": False}]))
        found = await answer(connection, query, QueryDay(date(2026, 11, 23), BERLIN))
    assert [one["application"] for one in found["recipients"]] == [chosen]
    assert await _preferred_by_the_mergers_rule(files) == chosen


async def _preferred_by_the_mergers_rule(files: Files) -> str:
    """Whose letter would go on if both had one when they became one person: the same (D24)."""
    async with files.database.read() as connection:
        rows = list(await connection.execute(select(applications).order_by(applications.c.id)))
    given = [
        PersonsOrder(
            *(
                row.id,
                1,
                date(2026, 11, 23),
                row.person_id,
                row.person_id,
                row.id,
                Standing.PLANNED,
                False,
                False,
                False,
            ),
            *(row.last_outgoing_at, row.received_on, row.external_id),
        )
        for row in rows
    ]
    return max(given, key=lambda order: order.preference).external_id


@pytest.mark.parametrize(
    ("ids", "chosen"), [(("9", "10"), "9"), (("A", "a"), "a"), (("Z", "Ä"), "Ä"), (("a-b", "aa"), "aa")]
)
async def test_d23_external_ids_are_compared_as_text_by_code_point(
    files: Files, ids: tuple[str, str], chosen: str
) -> None:
    await files.applications(lines("external_id,duplicate_set", *(f"{one},S1" for one in ids)))
    async with files.database.read() as connection:
        query = await resolve_filters(connection, "q", parse_filters("q", [{"field": "in_pool", "is": False}]))
        found = await answer(connection, query, QueryDay(date(2026, 11, 23), BERLIN))
    assert [one["application"] for one in found["recipients"]] == [chosen]
    assert await _preferred_by_the_mergers_rule(files) == chosen
