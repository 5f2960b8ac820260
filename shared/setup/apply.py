"""`apply`: brings the database to what a setup file says, in one transaction, and says what that changed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import Change, record_changes
from shared.db.jobs import change_job, create_job, id_of, shown
from shared.db.queries import resolve_filters
from shared.db.system_settings import as_plain, load_system_settings, save_system_settings
from shared.db.tables import (
    application_queries,
    application_statuses,
    contact_jobs,
    dispatch_runs,
    form_letter_versions,
    form_letters,
    users,
)
from shared.domain.filters import parse_filters
from shared.domain.text import fold
from shared.errors import InvalidInput
from shared.retry import retry_conflicts
from shared.setup.difference import Difference
from shared.setup.document import Entry, Setup

_LETTER = ("language", "subject", "html", "text", "sets_status_id")


async def apply_setup(
    database: Database, setup: Setup, *, author: str, now: datetime, dry_run: bool = False
) -> Difference:
    """Creates or updates by name; records that the file does not mention stay. Raises InvalidInput: nothing changed."""

    async def once() -> Difference:
        async with database.begin() as connection, connection.begin_nested() as rehearsal:
            difference = await _Application(connection, author, now).apply(setup)
            if dry_run:
                await rehearsal.rollback()
            return difference

    return await retry_conflicts(once)


class _Application:
    """One application of a file: what author, moment and difference are shared by."""

    def __init__(self, connection: AsyncConnection, author: str, now: datetime) -> None:
        self._connection, self._author, self._now = connection, author, now
        self._difference = Difference()
        #: Jobs whose query or letter changed, or all of them after a change of settings.
        self._touched_queries: list[int] = []
        self._touched_letters: list[int] = []

    async def apply(self, setup: Setup) -> Difference:
        """In the order in which records refer to each other."""
        settings_changed = await self._settings(setup.settings)
        for entry in setup.statuses:
            await self._simple(application_statuses, "status", entry, {"meta": entry.fields["meta"]})
        for entry in setup.users:
            fields = {key: entry.fields.get(key) for key in ("display_name", "email", "role")}
            await self._simple(users, "user", entry, fields)
        for entry in setup.queries:
            await self._query(entry)
        for entry in setup.letters:
            await self._letter(entry)
        for entry in setup.jobs:
            await self._job(entry)
        await self._raise_epochs(settings_changed)
        return self._difference

    async def _settings(self, wanted: Mapping[str, Any]) -> bool:
        current = as_plain(await load_system_settings(self._connection))
        changes: list[Change] = [(k, current[k], v) for k, v in wanted.items() if current[k] != v]
        await save_system_settings(self._connection, {key: new for key, _, new in changes})
        await self._note("settings", None, "settings", "change", changes)
        return bool(changes)

    async def _simple(self, table: Table, noun: str, entry: Entry, fields: Mapping[str, Any]) -> None:
        row = await self._existing(table, noun, entry)
        wanted = {"name": entry.name, "name_folded": fold(entry.name), **fields}
        if row is None:
            record_id = (
                await self._connection.execute(insert(table).values(wanted).returning(table.c.id))
            ).scalar_one()
            await self._note(noun, record_id, entry.name, "create", [(k, None, v) for k, v in fields.items()])
            return
        changes = [(k, row[k], v) for k, v in wanted.items() if row[k] != v and k != "name_folded"]
        if changes:
            await self._connection.execute(update(table).where(table.c.id == row["id"]).values(wanted))
            await self._note(noun, row["id"], entry.name, "change", changes)

    async def _query(self, entry: Entry) -> None:
        filters = entry.fields["filters"]
        # Statuses are named in filters: they must exist by now, in the file or in the database.
        await resolve_filters(self._connection, entry.name, parse_filters(entry.place, filters))
        table = application_queries
        row = await self._existing(table, "query", entry)
        await self._simple(table, "query", entry, {"filters": filters})
        if row is not None and row["filters"] != filters:
            raised = update(table).where(table.c.id == row["id"]).values(version=table.c.version + 1)
            await self._connection.execute(raised)
            self._touched_queries.append(row["id"])

    async def _letter(self, entry: Entry) -> None:
        wanted = {key: entry.fields.get(key) for key in ("language", "subject", "html", "text")}
        wanted["language"] = wanted["language"] or "de"
        status = entry.fields.get("sets_status")
        wanted["sets_status_id"] = (
            await id_of(self._connection, application_statuses, "status", status, f"{entry.place}, sets_status")
            if status
            else None
        )
        row = await self._existing(form_letters, "letter", entry)
        await self._simple(form_letters, "letter", entry, {})
        letter_id = row["id"] if row else await self._id(form_letters, entry.name)
        current = await self._version(letter_id, row["version"]) if row else {}
        changes: list[Change] = [(k, current.get(k), v) for k, v in wanted.items() if current.get(k) != v]
        if not changes:
            return
        version = row["version"] + 1 if row else 1
        values = {"letter_id": letter_id, "version": version, **wanted}
        await self._connection.execute(insert(form_letter_versions).values(values))
        raised = update(form_letters).where(form_letters.c.id == letter_id).values(version=version)
        await self._connection.execute(raised)
        await self._note("letter", letter_id, entry.name, "change" if row else "create", changes)
        if row:
            self._touched_letters.append(letter_id)

    async def _job(self, entry: Entry) -> None:
        row = await self._existing(contact_jobs, "job", entry)
        common: dict[str, Any] = {"author": self._author, "now": self._now}
        if row is None:
            change = await create_job(self._connection, entry.fields, entry.place, **common)
            self._difference.add("job", entry.name, "created", change.changes)
        else:
            change = await change_job(self._connection, row, entry.fields, entry.place, **common)
            self._difference.add("job", entry.name, "changed", change.changes)
        self._difference.warnings += change.warnings

    async def _existing(self, table: Table, noun: str, entry: Entry) -> Mapping[str, Any] | None:
        found = [await self._row(table, name) for name in (entry.name, entry.was) if name]
        if len(found) == 2 and found[0] is not None and found[1] is not None and found[0]["id"] != found[1]["id"]:
            raise InvalidInput(f"{entry.place}, was", entry.was, f"a {noun} of the new name exists already")
        return next((row for row in found if row is not None), None)

    async def _row(self, table: Table, name: str) -> Mapping[str, Any] | None:
        statement = select(table).where(table.c.name_folded == fold(name))
        row = (await self._connection.execute(statement)).mappings().first()
        return {str(key): value for key, value in row.items()} if row is not None else None

    async def _id(self, table: Table, name: str) -> int:
        statement = select(table.c.id).where(table.c.name_folded == fold(name))
        return int((await self._connection.execute(statement)).scalar_one())

    async def _version(self, letter_id: int, version: int) -> dict[str, Any]:
        v = form_letter_versions.c
        statement = select(*(v[name] for name in _LETTER)).where(v.letter_id == letter_id, v.version == version)
        row = (await self._connection.execute(statement)).mappings().one()
        return {str(key): value for key, value in row.items()}

    async def _note(self, noun: str, record_id: int | None, name: str, action: str, changes: list[Change]) -> None:
        visible = [(field, shown(field, old), shown(field, new)) for field, old, new in changes]
        self._difference.add(noun, name, "created" if action == "create" else "changed", visible)
        if visible:
            await record_changes(
                self._connection, noun, record_id, name, action, visible, author=self._author, now=self._now
            )

    async def _raise_epochs(self, settings_changed: bool) -> None:
        """Whatever a job's letters depend on has changed: nothing claimed before is sent as it was (I9)."""
        j = contact_jobs.c
        uses = j.query_id.in_(self._touched_queries) | j.letter_id.in_(self._touched_letters)
        if not (settings_changed or self._touched_queries or self._touched_letters):
            return
        statement = update(contact_jobs).values(epoch=j.epoch + 1).returning(j.id)
        raised = await self._connection.execute(statement if settings_changed else statement.where(uses))
        r = dispatch_runs.c
        runs = update(dispatch_runs).where(r.job_id.in_(list(raised.scalars())), r.state == "open")
        await self._connection.execute(runs.values(due_at=self._now))
