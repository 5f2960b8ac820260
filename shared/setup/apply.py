"""`apply`: brings the database to what a setup file says, in one transaction, and says what that changed."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Table, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.approvals import ASKED, LAPSED, ask_for_job, jobs_in_force, outdated_jobs, seal_anew
from shared.db.consent_jobs import check_letters_of_jobs, refuse_other_meaning
from shared.db.engine import Database
from shared.db.history import Change, record_changes
from shared.db.impact import NextDispatch, compare, next_dispatches
from shared.db.job_changes import change_job, insert_job, wake_runs, warnings_of
from shared.db.job_locks import lock_jobs
from shared.db.letter_changes import FIELDS, compose_anew, load_content, save_version
from shared.db.letter_samples import sample_warnings
from shared.db.named_records import find_named
from shared.db.queries import resolve_filters
from shared.db.status_meanings import jobs_decided_by
from shared.db.system_settings import as_plain, load_system_settings, lock_system_settings, save_system_settings
from shared.db.tables import (
    application_queries,
    application_statuses,
    contact_jobs,
    form_letters,
    letter_layouts,
    users,
)
from shared.db.transactions import in_transaction
from shared.domain.filters import parse_filters
from shared.domain.text import fold
from shared.errors import InvalidInput
from shared.setup.difference import Difference
from shared.setup.document import Entry, Setup
from shared.setup.renames import follow_status, follow_user
from shared.setup.rights import refuse_beyond

Row = Mapping[str, Any]
Dispatches = dict[int, NextDispatch]


async def apply_setup(
    database: Database,
    setup: Setup,
    *,
    author: str,
    now: datetime,
    role: str = "edit",
    dry_run: bool = False,
    check: Callable[[AsyncConnection], Awaitable[None]] | None = None,
) -> Difference:
    """Creates or updates by name; records that the file does not mention stay. Raises InvalidInput: nothing changed.

    `role`: the author's; settings, statuses and users are changed with `admin` only. A dry run only says what would
    change, and its impact on the next dispatches. `check` is asked in the same transaction, once nobody else can apply
    anything, and raises what it has against the change.
    """

    async def work(connection: AsyncConnection) -> Difference:
        application = _Application(connection, author, role, now, dry_run)
        await application.begin()
        if check is not None:
            await check(connection)
        return await application.apply(setup)

    return await (_rehearse(database, work, now) if dry_run else in_transaction(database, work))


async def _rehearse(
    database: Database, apply: Callable[[AsyncConnection], Awaitable[Difference]], now: datetime
) -> Difference:
    """What applying would change, and what that would mean for the next dispatches. Changes nothing."""

    async def work(connection: AsyncConnection) -> tuple[Difference, Dispatches, Dispatches]:
        before = await next_dispatches(connection, now)
        async with connection.begin_nested() as rehearsal:
            difference = await apply(connection)
            after = await next_dispatches(connection, now)
            await rehearsal.rollback()
        return difference, before, after

    difference, before, after = await in_transaction(database, work)
    async with database.read() as connection:
        difference.impact = await compare(connection, before, after)
    return difference


class _Application:
    """One application of a file: what author, moment and difference are shared by."""

    def __init__(self, connection: AsyncConnection, author: str, role: str, now: datetime, rehearses: bool) -> None:
        self._connection, self._role, self._rehearses = connection, role, rehearses
        self._who: dict[str, Any] = {"author": author, "now": now}
        self._difference = Difference()
        #: A change of settings or statuses may concern any job.
        self._all_touched = False
        self._touched_queries: list[int] = []
        self._touched_letters: list[int] = []
        #: Jobs for which a status means something else, and the statuses with their place.
        self._redefined_jobs: list[int] = []
        self._redefined: dict[int, str] = {}
        self._saved_jobs: list[int] = []
        self._saved_letters: list[int] = []

    async def begin(self) -> None:
        """Waits until no other setup is being applied."""
        # All jobs at first, in the house's order: the file's own order must not meet the evaluator's or a mailer's.
        await lock_jobs(self._connection, true())
        await lock_system_settings(self._connection)

    async def apply(self, setup: Setup) -> Difference:
        """In the order in which records refer to each other."""
        await self._settings(setup)
        for entry in setup.statuses:
            await self._status(entry)
        for entry in setup.users:
            await self._user(entry)
        for entry in setup.queries:
            await self._query(entry)
        for entry in setup.layouts:
            await self._layout(entry)
        for entry in setup.letters:
            await self._letter(entry)
        for entry in setup.jobs:
            await self._job(entry)
        await refuse_other_meaning(self._connection, self._redefined)
        await self._raise_epochs()
        self._difference.warnings = await warnings_of(self._connection, self._saved_jobs)
        self._difference.warnings += await sample_warnings(self._connection, self._saved_letters, self._who["now"])
        return self._difference

    async def _settings(self, setup: Setup) -> None:
        current = as_plain(await load_system_settings(self._connection))
        changes: list[Change] = [(k, current[k], v) for k, v in setup.settings.items() if current[k] != v]
        placed = [(setup.setting_places.get(change[0], "settings"), change) for change in changes]
        refuse_beyond(self._who["author"], self._role, "settings", placed, is_new=False)
        await save_system_settings(self._connection, {key: new for key, _, new in changes})
        await self._note("settings", None, "settings", current, changes)
        self._all_touched |= bool(changes)

    async def _status(self, entry: Entry) -> None:
        row, meta = await self._existing(application_statuses, "status", entry), entry.fields["meta"]
        # Nobody has a new status: it changes for no job whom it writes to.
        in_force = await jobs_in_force(self._connection) if row is None else []
        record_id, changes = await self._save(application_statuses, entry, row, {"meta": meta})
        self._refuse_beyond("status", entry, row, changes)
        await self._note("status", record_id, entry.name, row, changes)
        await seal_anew(self._connection, in_force)
        if row is not None and changes:
            self._all_touched = True
            self._touched_queries += await follow_status(self._connection, row["name"], entry.name, **self._who)
        if row is not None and row["meta"] != meta:
            self._redefined[record_id] = f"{entry.place}, meta"
            self._redefined_jobs += await jobs_decided_by(self._connection, record_id, (row["meta"], meta))

    async def _user(self, entry: Entry) -> None:
        row = await self._existing(users, "user", entry)
        fields = {key: value for key, value in entry.fields.items() if key != "name"}
        record_id, changes = await self._save(users, entry, row, fields)
        self._refuse_beyond("user", entry, row, changes)
        await self._note("user", record_id, entry.name, row, changes)
        if row is not None and fold(row["name"]) != fold(entry.name):
            await follow_user(self._connection, row["name"], entry.name, **self._who)

    async def _query(self, entry: Entry) -> None:
        filters = entry.fields["filters"]
        try:  # statuses that filters name must exist by now, in the file or in the database
            await resolve_filters(self._connection, entry.name, parse_filters(entry.place, filters))
        except InvalidInput as exc:
            raise InvalidInput(f"{entry.place}: {exc.place}", exc.value, exc.fix) from exc
        table = application_queries
        row = await self._existing(table, "query", entry)
        record_id, changes = await self._save(table, entry, row, {"filters": filters})
        await self._note("query", record_id, entry.name, row, changes)
        if row is not None and row["filters"] != filters:
            raised = update(table).where(table.c.id == record_id).values(version=table.c.version + 1)
            await self._connection.execute(raised)
            self._touched_queries.append(record_id)

    async def _letter(self, entry: Entry) -> None:
        row = await self._existing(form_letters, "letter", entry)
        letter_id, changes = await self._save(form_letters, entry, row, {})
        wanted: dict[str, Any] = {key: entry.fields.get(key) or None for key in FIELDS}
        wanted["subject"] = entry.fields["subject"]
        wanted["language"] = wanted["language"] or "de"
        content = await load_content(self._connection, letter_id, row["version"]) if row else {}
        changed: list[Change] = [(k, content.get(k), v) for k, v in wanted.items() if content.get(k) != v]
        await self._note("letter", letter_id, entry.name, row, changes + changed)
        if changed:
            version = row["version"] + 1 if row else 1
            await save_version(self._connection, letter_id, version, entry.name, wanted, entry.place)
            self._touched_letters += [letter_id] if row else []
            self._saved_letters.append(letter_id)

    async def _layout(self, entry: Entry) -> None:
        row = await self._existing(letter_layouts, "layout", entry)
        parts = {key: entry.fields.get(key) for key in ("html", "text")}
        layout_id, changes = await self._save(letter_layouts, entry, row, parts)
        await self._note("layout", layout_id, entry.name, row, changes)
        if row is not None and any(key in parts for key, _, _ in changes):
            written = await compose_anew(self._connection, layout_id, entry.place)
            self._touched_letters += written
            self._saved_letters += written

    async def _job(self, entry: Entry) -> None:
        row = await self._existing(contact_jobs, "job", entry)
        if row is None:
            change = await insert_job(self._connection, entry.fields, entry.place, **self._who)
        else:
            given: dict[str, Any] = {**self._who, "approved": self._rehearses}
            change = await change_job(self._connection, row["id"], entry.fields, entry.place, **given)
        self._difference.add("job", entry.name, "changed" if row else "created", change.changes)
        self._difference.notes += [(entry.name, text) for text in change.notes]
        if change.changes:
            self._saved_jobs.append(change.job_id)

    def _refuse_beyond(self, noun: str, entry: Entry, row: Row | None, changes: list[Change]) -> None:
        placed = [(f"{entry.place}, {change[0]}", change) for change in changes]
        refuse_beyond(self._who["author"], self._role, noun, placed, is_new=row is None)

    async def _save(self, table: Table, entry: Entry, row: Row | None, fields: Row) -> tuple[int, list[Change]]:
        """Creates or updates one row; its id and what changed."""
        wanted = {"name": entry.name, **fields}
        changes: list[Change] = [(k, row[k] if row else None, v) for k, v in wanted.items() if not row or row[k] != v]
        values = {**wanted, "name_folded": fold(entry.name)}
        if row is None:
            created = insert(table).values(values).returning(table.c.id)
            return int((await self._connection.execute(created)).scalar_one()), changes
        if changes:
            await self._connection.execute(update(table).where(table.c.id == row["id"]).values(values))
        return int(row["id"]), changes

    async def _existing(self, table: Table, noun: str, entry: Entry) -> Row | None:
        """The record of the new name, or else of the old one: so that a rename is applied once."""
        row = await find_named(self._connection, table, entry.name)
        old = await find_named(self._connection, table, entry.was) if entry.was else None
        if row is not None and old is not None:
            raise InvalidInput(f"{entry.place}, was", entry.was, f"a {noun} of the new name exists already")
        return row or old

    async def _note(self, noun: str, record_id: int | None, name: str, row: Row | None, changes: list[Change]) -> None:
        self._difference.add(noun, name, "changed" if row else "created", changes)
        if changes:
            action = "change" if row else "create"
            await record_changes(self._connection, noun, record_id, name, action, changes, **self._who)

    async def _raise_epochs(self) -> None:
        """Whatever a job's letters depend on has changed: nothing claimed before is sent as it was (I9)."""
        j = contact_jobs.c
        uses = j.query_id.in_(self._touched_queries) | j.letter_id.in_(self._touched_letters)
        users_of_changed = list((await self._connection.execute(select(j.id).where(uses))).scalars())
        await check_letters_of_jobs(self._connection, users_of_changed)
        touched = (
            list((await self._connection.execute(select(j.id))).scalars()) if self._all_touched else users_of_changed
        )
        await self._connection.execute(update(contact_jobs).where(j.id.in_(touched)).values(epoch=j.epoch + 1))
        await wake_runs(self._connection, touched, self._who["now"])
        self._saved_jobs += users_of_changed
        for job in await outdated_jobs(self._connection, [*users_of_changed, *self._redefined_jobs]):
            await self._ask_again(job)

    async def _ask_again(self, job: Mapping[Any, Any]) -> None:
        """Query or letter have changed under an approval: the job is Aus until a second user has looked (S23)."""
        self._difference.notes.append((job["name"], LAPSED if job["status"] == "on" else ASKED))
        if self._rehearses:
            return  # what is asked is whom the change would reach once it is approved
        if job["status"] == "on":
            place = f"job {job['name']!r}"
            await change_job(self._connection, job["id"], {"status": "off"}, place, **self._who)
        await ask_for_job(self._connection, job["id"], **self._who, by_the_way=True)
