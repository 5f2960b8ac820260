"""`kontaktpflege export`: lists as CSV, JSON Lines or a typed Excel sheet; the setup as YAML."""

import csv
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection
from xlsxwriter import Workbook

from shared.db.engine import Database
from shared.db.job_list import list_jobs
from shared.db.letter_data import load_custom_fields
from shared.db.order_list import OrderFilter, list_orders
from shared.db.tables import application_statuses, applications, contact_entries, persons
from shared.errors import InvalidInput
from shared.setup import export_setup

Row = Mapping[str, Any]
_EXCEL_ROWS = 1_048_575


async def export_file(database: Database, what: str, out: Path, now: datetime) -> int:
    """Writes one list to `out` and returns its length; a failure leaves no half-written file."""
    if what == "setup":
        if out.suffix not in (".yaml", ".yml"):
            raise InvalidInput("--out", str(out), "the setup is exported as .yaml")
        return await export_setup(database, out)
    if what not in _SOURCES:
        raise InvalidInput("export", what, f"one of setup, {', '.join(_SOURCES)}")
    write = _WRITERS.get(out.suffix)
    if write is None:
        raise InvalidInput("--out", str(out), f"the ending must be one of {', '.join(_WRITERS)}")
    rows = await _SOURCES[what](database, now)
    partial = out.with_name(out.name + ".part")
    try:
        write(partial, rows)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return len(rows)


async def _orders(database: Database, _: datetime) -> list[Row]:
    async with database.read() as connection:
        rows = await list_orders(connection, OrderFilter())
    for row in rows:
        row["occasion_day"] = date.fromisoformat(row["occasion_day"])
        for name in ("planned_for", "sent_at"):
            row[name] = datetime.fromisoformat(row[name]) if row[name] else None
    return list(rows)


async def _jobs(database: Database, now: datetime) -> list[Row]:
    return list(await list_jobs(database, now))


async def _applications(database: Database, _: datetime) -> list[Row]:
    a = applications.c
    names = "kind salutation title first_name last_name birth_date email phone street postal_code city country language"
    later = "vacancy department location source recruiter"
    columns = [
        a.id,
        a.external_id,
        persons.c.duplicate_set,
        *(a[name] for name in f"{names} {later}".split()),
        application_statuses.c.name.label("status"),
        *(a.received_on, a.in_pool, a.pool_since),
    ]
    source = applications.join(persons, persons.c.id == a.person_id).outerjoin(
        application_statuses, application_statuses.c.id == a.status_id
    )
    async with database.read() as connection:
        rows = await _all(connection, select(*columns).select_from(source).order_by(a.external_id))
        custom = await load_custom_fields(connection, None)
    names_of_custom = sorted({name for fields in custom.values() for name in fields})
    return [
        {key: value for key, value in row.items() if key != "id"}
        | {f"custom.{name}": custom.get(row["id"], {}).get(name) for name in names_of_custom}
        for row in rows
    ]


async def _contacts(database: Database, _: datetime) -> list[Row]:
    c = contact_entries.c
    columns = (c.identity, applications.c.external_id.label("application"), persons.c.duplicate_set.label("person"))
    source = contact_entries.outerjoin(applications, applications.c.id == c.application_id).outerjoin(
        persons, persons.c.id == c.person_id
    )
    statement = select(*columns, c.at, c.medium, c.direction, c.subject, c.body, c.author.label("user"))
    async with database.read() as connection:
        rows = await _all(connection, statement.select_from(source).order_by(c.id))
    return [
        {"external_id": row["identity"].removeprefix("id:") if row["identity"].startswith("id:") else None}
        | {key: value for key, value in row.items() if key != "identity"}
        for row in rows
    ]


async def _all(connection: AsyncConnection, statement: Select[Any]) -> list[Row]:
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


_SOURCES: dict[str, Callable[[Database, datetime], Awaitable[list[Row]]]] = {
    "applications": _applications,
    "contacts": _contacts,
    "jobs": _jobs,
    "orders": _orders,
}


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(list(rows[0]) if rows else [])
        writer.writerows([_csv_cell(value) for value in row.values()] for row in rows)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _plain(value)


def _write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({key: _plain(value) for key, value in row.items()}, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


def _write_xlsx(path: Path, rows: Sequence[Row]) -> None:
    if len(rows) > _EXCEL_ROWS:
        raise InvalidInput("export", len(rows), f"an Excel sheet holds {_EXCEL_ROWS} rows; use .csv")
    with Workbook(str(path), {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        bold = book.add_format({"bold": True})
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        for column, name in enumerate(rows[0] if rows else ()):
            sheet.write_string(0, column, name, bold)
        for number, row in enumerate(rows, 1):
            for column, value in enumerate(row.values()):
                if isinstance(value, datetime):
                    sheet.write_datetime(number, column, value.replace(tzinfo=None), moment)
                elif isinstance(value, date):
                    sheet.write_datetime(number, column, datetime(value.year, value.month, value.day), day)
                elif isinstance(value, bool):
                    sheet.write_boolean(number, column, value)
                elif isinstance(value, int | float):
                    sheet.write_number(number, column, value)
                elif value is not None:
                    # As text, whatever it begins with: a name like "=1+1" must not become a formula (S24).
                    sheet.write_string(number, column, str(value))


_WRITERS: dict[str, Callable[[Path, Sequence[Row]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".xlsx": _write_xlsx,
}
