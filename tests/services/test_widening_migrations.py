"""Processes of the release before go on working after `migrate`: each step of the schema only adds (C55)."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, inspect, text
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
#: What may refuse a row, in words, with the columns of foreign keys.
Rules = dict[str, tuple[str, ...]]


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


def rules_in(connection: Connection, table: str) -> Rules:
    """Unique keys, checks and foreign keys; of the latter two with all that they say."""
    seen = inspect(connection)
    unique = {f"unique {sorted(one['column_names'])}" for one in seen.get_unique_constraints(table)}
    indexes = {f"unique index {one['name']}" for one in seen.get_indexes(table) if one["unique"]}
    checks = {f"check {one['name']}: {' '.join(one['sqltext'].split())}" for one in seen.get_check_constraints(table)}
    keys = {
        f"{one['constrained_columns']} in {one['referred_table']}.{one['referred_columns']} {one['options']}": tuple(
            one["constrained_columns"]
        )
        for one in seen.get_foreign_keys(table)
    }
    found: Rules = dict.fromkeys(unique | indexes | checks, ())
    return found | keys


def stricter(before: Tables, old: dict[str, Rules], new: dict[str, Rules]) -> list[str]:
    """Rules that the release before did not have, or had in other words; not those of columns it does not know."""
    return sorted(
        f"{table}: {rule}"
        for table in old.keys() & new.keys()
        for rule, columns in new[table].items()
        if rule not in old[table] and (not columns or before[table].keys() & set(columns))
    )


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

    def upgraded(connection: Connection, revision: str) -> tuple[Tables, dict[str, Rules]]:
        command.upgrade(_config(connection), revision)
        tables = tables_in(connection)
        return tables, {table: rules_in(connection, table) for table in tables}

    before: Tables = {}
    rules_before: dict[str, Rules] = {}
    for revision in steps:
        async with no_schema.begin() as connection:
            after, rules = await connection.run_sync(upgraded, revision)
        if revision not in TAKES_AWAY:
            assert narrowed(before, after) == [], revision
            assert stricter(before, rules_before, rules) == [], revision
        before, rules_before = after, rules


def test_c55_what_is_taken_away_is_noticed() -> None:
    words, number = Column("VARCHAR", False), Column("INTEGER", True)
    before = {"a": {"x": words, "y": number}, "b": {"z": words}}
    assert narrowed(before, {**before, "c": {"q": number}}) == []
    assert narrowed(before, {"a": {"x": Column("VARCHAR", True), "n": number}}) == [
        "a.n is required",
        "a.x is required",
        "a.y is gone",
        "table b is gone",
    ]
    assert narrowed(before, {**before, "b": {"z": Column("INTEGER", False)}}) == ["b.z was VARCHAR"]


def test_c55_a_rule_that_becomes_stricter_under_its_name_is_noticed(tmp_path: Path) -> None:
    def made(folder: Path, check: str, *more: str) -> tuple[Tables, dict[str, Rules]]:
        folder.mkdir()
        engine = create_engine(f"sqlite:///{folder / 'some.sqlite3'}", poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE b (id INTEGER PRIMARY KEY)"))
            parts = ["x INTEGER", *more, f"CONSTRAINT ck_a__x CHECK ({check})"]
            joined = ",\n".join(parts)
            connection.execute(text(f"CREATE TABLE a (\n{joined}\n)"))
            return tables_in(connection), {"a": rules_in(connection, "a")}

    before, old = made(tmp_path / "before", "x IN (1, 2)")
    _, same = made(tmp_path / "same", "x  IN (1, 2)", "y INTEGER REFERENCES b (id)")
    assert stricter(before, old, same) == []
    _, fewer = made(tmp_path / "fewer", "x IN (1)")
    assert stricter(before, old, fewer) == ["a: check ck_a__x: x IN (1)"]
    _, bound = made(tmp_path / "bound", "x IN (1, 2)", "FOREIGN KEY (x) REFERENCES b (id)")
    assert stricter(before, old, bound) == ["a: ['x'] in b.['id'] {}"]
