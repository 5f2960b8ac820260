"""The migrations make exactly the tables of the code, on both databases."""

from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text, update

from shared.db.audit_tables import event_seals
from shared.db.engine import Database
from shared.db.history_check import check_history
from shared.db.history_seals import seal_batch
from shared.db.migrate import SchemaOutdated, SchemaTooNew, _config, migrate, require_schema
from shared.db.service_tables import person_changes
from shared.db.tables import applications, dispatch_runs, events, metadata
from tests.services.world import MORNING


async def test_migrations_and_tables_agree(no_schema: Database) -> None:
    def difference(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    await migrate(no_schema)
    async with no_schema.begin() as connection:
        assert await connection.run_sync(difference) == []


async def test_a_second_migration_changes_nothing(no_schema: Database) -> None:
    before, after = await migrate(no_schema)
    assert before is None
    assert await migrate(no_schema) == (after, after)
    await require_schema(no_schema)


async def test_an_older_database_is_brought_up_with_what_is_in_it(no_schema: Database) -> None:
    """Schema 0004 with a person, an application and a run, then this release's, whose log of people works at once."""

    def to_0004(connection: Connection) -> None:
        command.upgrade(_config(connection), "0004")

    async with no_schema.begin() as connection:
        await connection.run_sync(to_0004)
        for statement in (
            "INSERT INTO persons (id, identity) VALUES (1, 'one:A1')",
            "INSERT INTO applications (id, external_id, person_id, kind) VALUES (1, 'A1', 1, 'application')",
            "INSERT INTO lineages (id, created_at) VALUES (1, {now})",
            "INSERT INTO dispatch_runs (id, lineage_id, job_name, occasion_day, plan_from, send_at, state)"
            " VALUES (1, 1, 'J', '2026-11-23', {now}, {now}, 'open')",
        ):
            await connection.execute(text(statement.format(now="0" if no_schema.dialect == "sqlite" else "now()")))
    assert (await migrate(no_schema))[0] == "0004"
    async with no_schema.begin() as connection:
        # Nothing is known of the plan that stands: it is looked at as a whole.
        assert (await connection.execute(select(dispatch_runs.c.basis))).scalar_one() is None
        await connection.execute(update(applications).values(kind="pool"))
        assert set((await connection.execute(select(person_changes.c.people))).scalar_one()) == {1}


async def test_s28_what_was_erased_before_reductions_told_it_is_told_by_the_migration(no_schema: Database) -> None:
    """Schema 0012 with words erased of a person."""

    def to_0012(connection: Connection) -> None:
        command.upgrade(_config(connection), "0012")

    async with no_schema.begin() as connection:
        await connection.run_sync(to_0012)
        event = {"at": MORNING, "author": "anna", "action": "block", "noun": "person", "record_id": 1, "reason": "QK"}
        await connection.execute(insert(events).values(event))
        assert await seal_batch(connection, MORNING) == 1
        await connection.execute(update(events).values(reason=None))
        await connection.execute(update(event_seals).values(salt=None))
    assert (await migrate(no_schema))[0] == "0012"
    async with no_schema.begin() as connection:
        assert await seal_batch(connection, MORNING) == 1
        told = (await connection.execute(select(events).order_by(events.c.id.desc()).limit(1))).mappings().one()
    assert (told["action"], told["noun"], told["record_id"], told["author"]) == ("erase", "person", 1, "system")
    assert abs((datetime.now(UTC) - told["at"]).total_seconds()) < 600
    found = await check_history(no_schema)
    assert (found.fault, found.erased, found.sealed) == (None, 1, 2)


async def test_a_database_without_schema_is_told_what_to_do(no_schema: Database) -> None:
    with pytest.raises(SchemaOutdated, match="kontaktpflege migrate"):
        await require_schema(no_schema)


async def test_c55_a_newer_schema_is_refused(no_schema: Database) -> None:
    await migrate(no_schema)
    async with no_schema.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refuses in (require_schema, migrate):
        with pytest.raises(SchemaTooNew, match=r"schema 9999.*newer release"):
            await refuses(no_schema)
    # Nor is it touched.
    async with no_schema.read() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == "9999"
