"""What the evidence file has of the database (S28, Art. 15 GDPR): every table is in it, or named with the reason."""

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from shared.db.returned_mails import Effect
from shared.db.tables import applications, metadata, persons, write_orders
from shared.domain.consent import Answer
from shared.domain.returned_mail import Kind
from shared.evidence.contents import LEFT_OUT, LISTS, NOT_IN_IT, told
from shared.evidence.words import CODES, COLUMNS, FACTS, WORDS
from shared.importing.contact_rows import DIRECTIONS, MEDIA

#: Whose rows are about one person. What refers to them, over however many others, is so too.
ROOTS = {"persons", "applications", "write_orders"}


def about_a_person(tables: MetaData) -> set[str]:
    """The tables from which foreign keys lead to a person, an application or a letter."""
    found = set(ROOTS)
    while True:
        more = {
            table.name
            for table in tables.sorted_tables
            if {key.column.table.name for key in table.foreign_keys} & found
        }
        if more <= found:
            return found
        found |= more


def undecided(tables: MetaData) -> set[str]:
    """Tables of which nobody has said whether they are in the file."""
    return {table.name for table in tables.sorted_tables} - set(LISTS) - set(NOT_IN_IT)


def copied() -> MetaData:
    tables = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(tables)
    return tables


def test_s28_every_table_is_in_the_file_or_named_with_a_reason() -> None:
    assert undecided(metadata) == set()
    assert not set(LISTS) & set(NOT_IN_IT)
    assert set(LISTS) | set(NOT_IN_IT) == set(metadata.tables), "a table that is named is gone"
    assert all(reason.strip() for reason in NOT_IN_IT.values())


def test_s28_what_refers_to_a_person_is_in_the_file() -> None:
    found = about_a_person(metadata)
    assert {"attempts", "returned_mails", "candidate_requests", "consent_requests", "approvals"} <= found
    assert found - set(LISTS) == set()


@pytest.mark.parametrize("far", [False, True])
def test_s28_a_new_table_about_a_person_is_noticed(far: bool) -> None:
    tables = copied()
    near = Table("visits", tables, Column("id", Integer, primary_key=True))
    near.append_column(Column("attempt_order", Integer, ForeignKey("attempts.order_id")))
    if far:
        Table("visit_notes", tables, Column("visit_id", Integer, ForeignKey("visits.id"), primary_key=True))
    name = "visit_notes" if far else "visits"
    assert name in undecided(tables) and name in about_a_person(tables)


def test_s28_a_new_column_is_in_the_file_by_itself() -> None:
    for table in (persons, applications, write_orders):
        changed = table.to_metadata(MetaData())
        changed.append_column(Column("shoe_size", Integer))
        assert "shoe_size" in {column.name for column in told(changed)}


def test_s28_columns_that_are_left_out_exist_and_say_why() -> None:
    assert set(LEFT_OUT) <= set(LISTS)
    for name, columns in LEFT_OUT.items():
        assert set(columns) <= set(metadata.tables[name].columns.keys()), name
        assert all(reason.strip() for reason in columns.values())


def test_s28_the_page_has_words_in_both_languages_for_what_it_shows() -> None:
    shown = {*FACTS, *(column for columns in COLUMNS.values() for column in columns)}
    shown |= {column.name for table in (persons, applications) for column in told(table)} | {"custom", "status"}
    assert sorted(shown - set(WORDS)) == []
    texts = [*WORDS.values(), *(text for codes in CODES.values() for text in codes.values())]
    assert [text for text in texts if " / " not in text] == []


def test_s28_the_page_has_words_for_code_names() -> None:
    known = {"kind": Kind, "answer": Answer, "medium": MEDIA, "direction": DIRECTIONS}
    for column, values in known.items():
        assert {str(value) for value in values} - {"unknown"} <= set(CODES[column]), column
    assert {one.value for one in Effect if one.is_understood} - {Effect.REPEATED.value} <= set(CODES["effect"])
    for name in ("state", "type"):
        (check,) = [one for one in write_orders.constraints if one.name == f"ck_write_orders__{name}"]
        assert set(str(check.sqltext).split("'")[1::2]) == set(CODES[name])  # type: ignore[attr-defined]
