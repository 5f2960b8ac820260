"""Cells as values, and the rule about which contacts of a person count (D20)."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.importing import cells
from shared.importing.contact_rows import DIRECTIONS, MEDIA, counts_for_person, parse_contact
from shared.importing.report import RowError
from shared.importing.rows import Row


@settings(max_examples=40)
@given(day=st.dates())
def test_a_date_is_read_as_it_is_written_in_iso(day: date) -> None:
    assert cells.day("received_on", f" {day.isoformat()} ") == day


@pytest.mark.parametrize(
    "given_cell", ["31.02.2026", "2026-02-31", "20260203", "2026-W06-2", "2026-2-3", "0000-01-01", "morgen"]
)
def test_what_is_no_iso_date_is_refused_with_column_value_and_an_example(given_cell: str) -> None:
    with pytest.raises(RowError) as refused:
        cells.day("birth_date", given_cell)
    assert (refused.value.column, refused.value.value) == ("birth_date", given_cell)
    assert refused.value.reason == "is not a date like 2026-11-23"


def test_moments_are_kept_in_utc_and_need_an_offset() -> None:
    assert cells.instant("at", " 2026-11-23T14:15:00+01:00 ") == datetime(2026, 11, 23, 13, 15, tzinfo=UTC)
    assert cells.instant("at", "2026-11-23T14:15:00Z").tzinfo is UTC
    for given_cell, reason in (
        ("2026-11-23T14:15:00", "has no offset"),
        ("2026-11-23", "has no offset"),
        ("gestern", "is not a moment"),
        ("", "is not a moment"),
        ("2026-02-31T00:00:00Z", "is not a moment"),
        ("0001-01-01T00:00:00+14:00", "edge of the calendar"),
    ):
        with pytest.raises(RowError, match=reason):
            cells.instant("at", given_cell)


def test_flags_words_and_texts_say_what_they_allow() -> None:
    assert [cells.flag("in_pool", cell) for cell in ("true", " False ", "")] == [True, False, False]
    assert cells.word(("a", "b"), "b")("kind", " A ") == "a"
    assert cells.word(("a", "b"), "b")("kind", " ") == "b"
    assert (cells.text("city", "  "), cells.text("city", " Köln ")) == (None, "Köln")
    readers: list[tuple[Any, str, str]] = [
        (cells.flag, "ja", "must be true or false"),
        (cells.word(("a", "b"), "b"), "c", "must be one of a, b"),
        (cells.word(("a", "b")), "", "must be one of a, b"),
        (cells.text, "a\0b", "NUL"),
        (cells.text, "x" * (cells.LONGEST_CELL + 1), "is longer than"),
        (cells.name, "x" * (cells.LONGEST_ID + 1), "is longer than"),
    ]
    for reader, cell, reason in readers:
        with pytest.raises(RowError, match=reason):
            reader("column", cell)


def test_the_media_that_count_for_a_person_are_those_of_the_rule() -> None:
    counted = {
        (medium, direction) for medium in MEDIA for direction in DIRECTIONS if counts_for_person(medium, direction)
    }
    either_way = ("form_letter_post", "form_letter_mail", "in_person")
    assert counted == {
        *((medium, direction) for medium in either_way for direction in DIRECTIONS),
        *((medium, "outgoing") for medium in ("mail", "fax", "phone", "letter")),
    }


COLUMNS = ("external_id", "application", "person", "at", "medium", "direction")
AT = "2026-11-23T14:15:00+01:00"


@pytest.mark.parametrize(
    ("given_cells", "column", "reason"),
    [
        (("", "A1", "S1", AT, "mail", "outgoing"), "person", "exactly one of application and person"),
        (("", "", "", AT, "mail", "outgoing"), "application", "exactly one of application and person"),
        (("", "A1", "", AT, "pigeon", "outgoing"), "medium", "must be one of form_letter_post"),
        (("", "A1", "", AT, "mail", ""), "direction", "must be one of outgoing"),
        (("", "A1", "", "23.11.2026", "mail", "outgoing"), "at", "is not a moment"),
    ],
)
def test_a_contact_that_breaks_a_rule_is_refused_by_column(
    given_cells: tuple[str, ...], column: str, reason: str
) -> None:
    with pytest.raises(RowError, match=reason) as refused:
        parse_contact(Row(2, COLUMNS, given_cells))
    assert refused.value.column == column


def test_contacts_without_an_id_are_the_same_by_content_and_by_nothing_else() -> None:
    columns = (*COLUMNS, "subject")

    def identity(*given_cells: str) -> str:
        return parse_contact(Row(2, columns, given_cells))[1].identity

    one = identity("", "A1", "", AT, "mail", "outgoing", "Hallo")
    assert identity("", "A1", "", "2026-11-23T13:15:00Z", "mail", "outgoing", " Hallo ") == one
    others = [
        identity("", "A2", "", AT, "mail", "outgoing", "Hallo"),
        identity("", "", "A1", AT, "mail", "outgoing", "Hallo"),
        identity("", "A1", "", AT, "fax", "outgoing", "Hallo"),
        identity("", "A1", "", AT, "mail", "incoming", "Hallo"),
        identity("", "A1", "", AT, "mail", "outgoing", ""),
        identity("K1", "A1", "", AT, "mail", "outgoing", "Hallo"),
    ]
    assert len({one, *others}) == 7
