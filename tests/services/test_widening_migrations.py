"""Processes of the release before go on working after `migrate`: each step of the schema only adds (C55)."""

from dataclasses import dataclass

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn

from shared.db.engine import Database
from shared.db.migrate import _config

#: A step that takes away what no released version uses any more may be named here, with the version that used it last.
TAKES_AWAY: dict[str, str] = {}


@dataclass(frozen=True)
class Column:
    """What a statement of an older release must get along with."""

    type: str
    required: bool


Tables = dict[str, dict[str, Column]]


def tables_in(connection: Connection) -> Tables:
    seen = inspect(connection)
    return {
        table: {column["name"]: Column(str(column["type"]), is_given(column)) for column in seen.get_columns(table)}
        for table in seen.get_table_names()
        if table != "alembic_version"
    }


def is_given(column: ReflectedColumn) -> bool:
    """Whether an INSERT must give a value."""
    numbers_itself = column.get("autoincrement") or column.get("primary_key")
    return not (column["nullable"] or column["default"] is not None or numbers_itself)


def rules_in(connection: Connection, table: str) -> set[str]:
    """What may refuse a row: unique keys and checks."""
    seen = inspect(connection)
    unique = {f"unique {sorted(one['column_names'])}" for one in seen.get_unique_constraints(table)}
    indexes = {f"unique index {one['name']}" for one in seen.get_indexes(table) if one["unique"]}
    return unique | indexes | {f"check {one['name']}" for one in seen.get_check_constraints(table)}


def narrowed(before: Tables, after: Tables) -> list[str]:
    """What a statement of the release before could trip over."""
    found = [f"table {table} is gone" for table in before if table not in after]
    for table in before.keys() & after.keys():
        old, new = before[table], after[table]
        found += [f"{table}.{name} is gone" for name in old if name not in new]
        found += [f"{table}.{name} is required" for name in new if new[name].required and not is_required(old, name)]
        found += [
            f"{table}.{name} was {old[name].type}" for name in old if name in new and new[name].type != old[name].type
        ]
    return sorted(found)


def is_required(columns: dict[str, Column], name: str) -> bool:
    return name in columns and columns[name].required


# SQLAlchemy does not read indexes over expressions: none of ours is unique.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")
async def test_c55_each_step_of_the_schema_only_adds(no_schema: Database) -> None:
    steps = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]
    assert len(steps) >= 8

    def upgraded(connection: Connection, revision: str) -> tuple[Tables, dict[str, set[str]]]:
        command.upgrade(_config(connection), revision)
        tables = tables_in(connection)
        return tables, {table: rules_in(connection, table) for table in tables}

    before: Tables = {}
    rules_before: dict[str, set[str]] = {}
    for revision in steps:
        async with no_schema.begin() as connection:
            after, rules = await connection.run_sync(upgraded, revision)
        stricter = {table: rules[table] - old for table, old in rules_before.items() if rules.get(table, set()) - old}
        if revision not in TAKES_AWAY:
            assert narrowed(before, after) == [], revision
            assert stricter == {}, revision
        before, rules_before = after, rules


def test_c55_what_is_taken_away_is_noticed() -> None:
    text, number = Column("VARCHAR", False), Column("INTEGER", True)
    before = {"a": {"x": text, "y": number}, "b": {"z": text}}
    assert narrowed(before, {**before, "c": {"q": number}}) == []
    assert narrowed(before, {"a": {"x": Column("VARCHAR", True), "n": number}}) == [
        "a.n is required",
        "a.x is required",
        "a.y is gone",
        "table b is gone",
    ]
    assert narrowed(before, {**before, "b": {"z": Column("INTEGER", False)}}) == ["b.z was VARCHAR"]
