"""Conditions that both databases understand, as SQLite is asked them."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, and_, create_engine, insert, not_, select

from shared.db.column_types import any_of

THINGS = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("weight", Integer))


@pytest.fixture
def things() -> Iterator[Connection]:
    """Ten, as heavy as their numbers."""
    with create_engine("sqlite://").connect() as connection:
        THINGS.create(connection)
        connection.execute(insert(THINGS), [{"id": number, "weight": number} for number in range(1, 11)])
        yield connection


def test_rows_named_by_id_are_found_by_index(things: Connection) -> None:
    which = and_(any_of(THINGS.c.id, [3, 4, 11]), THINGS.c.weight > 3)
    assert things.execute(select(THINGS.c.id).where(which)).scalars().all() == [4]
    compiled = select(THINGS).where(which).compile(things)
    plan = things.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", ("[3, 4, 11]", 3)).all()
    assert any("SEARCH things USING INTEGER PRIMARY KEY" in str(step[-1]) for step in plan), plan


def test_all_but_those_named_by_id_are_found(things: Connection) -> None:
    which = and_(not_(any_of(THINGS.c.id, [1, 2, 3])), THINGS.c.weight < 6)
    assert things.execute(select(THINGS.c.id).where(which)).scalars().all() == [4, 5]
    assert things.execute(select(any_of(THINGS.c.id, [1, 10]))).scalars().all() == [True, *[False] * 8, True]
