"""The log of people: everything that decides a plan is logged, and what nobody needs is forgotten (D14)."""

import asyncio
import re
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.sql.visitors import iterate

from services.evaluator.evaluate import evaluate
from shared.db.dispatch import synchronise
from shared.db.engine import Database
from shared.db.plan_basis import KEPT, forget_read_changes
from shared.db.queries import QueryDay, resolve_filters
from shared.db.recipients import JobRules, PlanScope, recipients
from shared.db.service_tables import person_changes
from shared.db.tables import FOLDED, applications, blocks, custom_fields, persons, write_orders
from shared.domain.filters import FIELDS, parse_filters
from tests.servers import postgresql
from tests.servers.fresh import fresh_database
from tests.servers.state import Started, end
from tests.services.plan_looks import Looks, again, forget, log, open_runs, planned
from tests.services.recipients_model import BERLIN
from tests.services.world import DAY, JOB, MORNING, World


@pytest.fixture(scope="module")
def kept_postgres_url() -> Iterator[str]:
    """A server of its own: the oldest transaction under way is one of any database on a server, so of any test."""
    started = Started()
    try:
        cluster = postgresql.create(started)
        cluster.launch(started)
        with fresh_database(cluster.url) as url:
            yield url
    finally:
        end(started)
        for folder in started.folders:
            shutil.rmtree(folder, ignore_errors=True)


#: A filter for each field of a query.
EVERY_FILTER: list[dict[str, Any]] = [
    {"field": "has_email", "is": True},
    {"field": "in_pool", "is": True},
    {"field": "status", "in": ["Neu"]},
    {"field": "meta_status", "in": ["new"]},
    {"field": "kind", "in": ["application"]},
    *({"field": name, "in": ["x"]} for name in FOLDED),
    {"field": "birthday_in_days", "from": 0, "to": 3},
    {"field": "days_since_last_contact", "at_most": 3},
    {"field": "dwell_months", "more_than": 3},
    {"field": "received_on", "from": "2026-01-01"},
    {"field": "custom.skills", "equals": "x"},
]
#: The tables that have a row for a person, or several.
OF_PEOPLE = {table.name for table in (persons, applications, custom_fields, blocks, write_orders)}
#: What `query why` shows of the records that stop a letter; a plan only asks whether there are any.
SHOWN = {"id", "reason", "author", "job_name"}


async def named(world: World) -> dict[str, set[str]]:
    """By table of people: the columns that the statement of a plan with every filter and rule names."""
    async with world.database.read() as connection:
        query = await resolve_filters(connection, "Q", parse_filters("Q", EVERY_FILTER))
    scope = PlanScope(JobRules(1, 1, guard_days=30, cap_days=7), 1)
    found: dict[str, set[str]] = {}
    for part in iterate(recipients(query, QueryDay(DAY, BERLIN), scope)):
        table = getattr(part, "table", None)
        name = getattr(getattr(table, "element", table), "name", None)  # an alias stands for its table
        if name in OF_PEOPLE:
            found.setdefault(name, set()).add(part.name)  # type: ignore[attr-defined]
    return found


async def trigger_texts(database: Database) -> dict[str, str]:
    """By table: what its triggers do."""
    statement = "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
    if database.dialect == "postgresql":
        statement = """SELECT c.relname, pg_get_triggerdef(t.oid) || pg_get_functiondef(t.tgfoid)
            FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal"""
    found: dict[str, str] = {}
    async with database.read() as connection:
        for table, words in await connection.execute(text(statement)):
            found[table] = found.get(table, "") + words
    return found


async def test_d14_every_column_that_decides_a_plan_is_watched(world: World) -> None:
    await world.begin()
    assert {one["field"] for one in EVERY_FILTER} == {*FIELDS, "custom.skills"}
    texts, columns = await trigger_texts(world.database), await named(world)
    assert columns.keys() == OF_PEOPLE
    for table, names in columns.items():
        missing = {name for name in names - SHOWN if not re.search(rf"\b{name}\b", texts[table])}
        assert not missing, table


#: By what happens: statements, of which the last one is about the person 1 (and about person 2 where it says so).
KINDS = {
    "a new application": "INSERT INTO applications (external_id, person_id, kind) VALUES ('B', 1, 'other')",
    "an application": "UPDATE applications SET language_folded = 'de' WHERE id = 1",
    "an application moves to 2": "UPDATE applications SET person_id = 2 WHERE id = 1",
    "an application goes": "INSERT INTO applications (external_id, person_id, kind) VALUES ('B', 1, 'other');"
    "DELETE FROM applications WHERE external_id = 'B'",
    "a person": "UPDATE persons SET opted_out_at = NULL, last_contact_at = {now} WHERE id = 1",
    "a new field": "{field}",
    "a field": "{field};UPDATE custom_fields SET value_folded = 'y'",
    "a field goes": "{field};DELETE FROM custom_fields",
    "a new block": "{block}",
    "a block is lifted": "{block};UPDATE blocks SET lifted_at = {now}",
    "a block goes": "{block};DELETE FROM blocks",
    "an order is blocked": "UPDATE write_orders SET state = 'blocked' WHERE person_id = 1",
    "an order without address": "UPDATE write_orders SET state = 'no_address' WHERE person_id = 1;"
    "UPDATE write_orders SET email = 'x' WHERE person_id = 1",
    "an order gets an application of 2": "UPDATE write_orders SET application_id = 2 WHERE person_id = 1",
    "an order loses its job": "UPDATE write_orders SET job_id = NULL WHERE person_id = 1",
    "an order goes": "DELETE FROM write_orders WHERE person_id = 1",
}
_FIELD = """INSERT INTO custom_fields (application_id, name_folded, name, value, value_folded)
    VALUES (1, 'x', 'x', 'x', 'x')"""
_BLOCK = """INSERT INTO blocks (person_id, scope, reason, author, created_at, lifted_at)
    VALUES (1, 'all', 'r', 'a', {now}, NULL)"""


@pytest.mark.parametrize("what", KINDS)
async def test_d14_every_kind_of_change_is_logged(world: World, what: str) -> None:
    await planned(world)
    now = "1" if world.database.dialect == "sqlite" else "now()"
    statements = KINDS[what].replace("{field}", _FIELD).replace("{block}", _BLOCK).replace("{now}", now)
    *before, last = statements.split(";")
    async with world.database.begin() as connection:
        for statement in before:
            await connection.execute(text(statement))
        await connection.execute(person_changes.delete())
        await connection.execute(text(last))
    people = {one for row in await log(world) for one in row}
    assert people == ({1, 2} if what.endswith(" 2") else {1})


async def test_d14_what_a_mailer_does_to_orders_is_not_logged(world: World) -> None:
    orders = await world.queued("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    await forget(world)
    held = (await world.claim(*orders)).orders
    assert await world.intend(*held) == set(orders)
    assert await log(world) == []
    await world.settle_all(held, "sent")
    people = {row["person_id"] for row in await world.rows()}
    found = await log(world)
    assert {one for row in found for one in row} == people
    # PostgreSQL: one row for the applications of a group, one for its persons.
    assert len(found) == (2 if world.database.dialect == "postgresql" else 4)


async def test_d13_d14_a_release_is_logged_for_other_plans(world: World) -> None:
    await planned(world)
    await world.sweep()
    await forget(world)
    world.clock.set(MORNING + timedelta(hours=1))
    for run_id in [row["run_id"] for row in await world.rows()][:1]:
        await evaluate(world.database, world.bus, world.clock, run_id, world.log)
    assert set((await world.orders()).values()) == {"queued"}
    (found,) = await log(world)
    assert sorted(found) == sorted(row["person_id"] for row in await world.rows())


async def until_forgotten(world: World, now: datetime = MORNING) -> None:
    """PostgreSQL: what it does for itself, such as statistics after an import, must have ended."""
    deadline = time.monotonic() + 30
    while any(row for row in await log(world)):
        assert time.monotonic() < deadline
        await forget_read_changes(world.database, now)
        await asyncio.sleep(0.05)


async def test_d14_the_log_holds_what_standing_plans_have_not_seen(world: World, looks: Looks) -> None:
    await planned(world)
    await world.applicants("A3,,Drei,a3@x.example,Neu,")
    await world.sweep()
    assert any(row for row in await log(world))
    await again(world)
    assert (await world.orders(DAY))["A3"] == "planned"
    await world.sweep()
    await again(world)
    await until_forgotten(world)
    await world.sweep()
    # What is left: the note of what was forgotten.
    assert await log(world) == [None]
    assert None not in looks[1:]


async def test_d14_without_a_standing_plan_the_log_stays_empty(world: World) -> None:
    await world.begin("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,")
    assert await log(world)
    await until_forgotten(world)


async def test_d14_a_plan_that_was_not_looked_at_for_long_is_looked_at_as_a_whole(world: World, looks: Looks) -> None:
    await planned(world)
    await world.applicants("A2,,Zwei,a2@x.example,Absage,", "A3,,Drei,a3@x.example,Neu,")
    # Its evaluator was away: the log does not wait for it.
    await until_forgotten(world, MORNING + KEPT + timedelta(minutes=1))
    await again(world)
    assert looks == [None, None]
    assert await world.orders(DAY) == {"A1": "planned", "A2": "withdrawn", "A3": "planned"}


async def test_d14_nothing_is_forgotten_under_a_look_on_postgresql(world: World) -> None:
    await planned(world)
    if world.database.dialect == "sqlite":  # a look is the one writer
        return
    (run_id,) = await open_runs(world, JOB)
    async with world.database.begin() as connection:
        await synchronise(connection, run_id, world.clock.now())
        await world.applicants("A2,,Zwei,a2@x.example,Absage,")  # not in what this look saw
        assert await forget_read_changes(world.database, world.clock.now() + KEPT + timedelta(minutes=1)) == 0
    await again(world)
    assert await world.orders(DAY) == {"A1": "planned", "A2": "withdrawn"}
