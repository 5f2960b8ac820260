"""`export setup`: the database as a setup file that `apply` reads back without a difference."""

import os
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.consent_jobs import consent_of
from shared.db.engine import Database
from shared.db.letter_changes import load_content
from shared.db.system_settings import as_plain, load_system_settings
from shared.db.tables import (
    application_queries,
    application_statuses,
    contact_jobs,
    form_letters,
    letter_layouts,
    users,
)
from shared.domain.job_fields import shown
from shared.errors import InvalidInput

_JOB = (
    *("lead_days", "sender", "sender_fallback", "repeat_guard_days", "valid_days", "priority", "on_unclear"),
    *("working_days", "holidays", "time_zone", "note"),
)


async def export_setup(database: Database, path: Path) -> int:
    """Writes the file and returns how many records it holds; a failure leaves no half-written file."""
    async with database.read() as connection:
        document = {
            "settings": _known(as_plain(await load_system_settings(connection))),
            "statuses": await _rows(connection, application_statuses, ("name", "meta")),
            "users": await _rows(connection, users, ("name", "display_name", "email", "role")),
            "queries": await _rows(connection, application_queries, ("name", "filters")),
            "layouts": await _rows(connection, letter_layouts, ("name", "html", "text")),
            "letters": await _letters(connection),
            "jobs": await _jobs(connection),
        }
    _write(path, as_yaml(document))
    return sum(len(records) for records in document.values() if isinstance(records, list))


def as_yaml(document: dict[str, Any]) -> str:
    """The text of a setup file: whatever a field holds, it is read back as it is."""
    return yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes the line breaks that are not those of text files as escapes: a reader would make blanks of them."""


def _as_scalar(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _BREAKS & set(text) else None)


_BREAKS = frozenset("\r\x85\u2028\u2029")
_Dumper.add_representer(str, _as_scalar)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as exc:
        partial.unlink(missing_ok=True)
        raise InvalidInput(str(path), path.name, f"cannot be written: {exc.strerror}") from exc


async def _rows(connection: AsyncConnection, table: Any, names: tuple[str, ...]) -> list[dict[str, Any]]:
    statement = select(*(table.c[name] for name in names)).order_by(table.c.id)
    return [_known({**row}) for row in (await connection.execute(statement)).mappings()]


async def _letters(connection: AsyncConnection) -> list[dict[str, Any]]:
    table = form_letters.c
    rows = (await connection.execute(select(table.id, table.name, table.version).order_by(table.id))).all()
    found = []
    for row in rows:
        content = await load_content(connection, row.id, row.version)
        content["variants"] = [_known(one) for one in content["variants"] or ()] or None
        found.append(_known({"name": row.name, **content}))
    return found


async def _jobs(connection: AsyncConnection) -> list[dict[str, Any]]:
    statement = (
        select(contact_jobs, application_queries.c.name.label("query"), form_letters.c.name.label("letter"))
        .join(application_queries, application_queries.c.id == contact_jobs.c.query_id)
        .join(form_letters, form_letters.c.id == contact_jobs.c.letter_id)
        .add_columns(application_statuses.c.name.label("consent_status"))
        .outerjoin(application_statuses, application_statuses.c.id == contact_jobs.c.consent_status_id)
        .order_by(contact_jobs.c.id)
    )
    found = []
    for row in (await connection.execute(statement)).mappings():
        cyclic = {"every_months": row["cycle_months"], "anchor": row["anchor_on"]}
        job = {"name": row["name"], "status": shown("status", row["status"])}
        job |= {"query": row["query"], "letter": row["letter"], "time": row["dispatch_time"]}
        job["dispatch"] = cyclic if row["dispatch_mode"] == "cyclic" else "rolling"
        consent = consent_of(row)
        job["consent"] = {"answer_days": consent.answer_days, "status": consent.status} if consent else None
        found.append(_known(job | {name: row[name] for name in _JOB}))
    return found


def _known(record: dict[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in record.items() if value is not None}
