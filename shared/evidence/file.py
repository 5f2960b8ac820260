"""The evidence file: a zip with an index for people and the same for programs, letter by letter, row by row."""

import html
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import record_changes
from shared.db.history_seals import load_head
from shared.evidence import records
from shared.evidence.words import INDEX_HEAD, LETTER_COLUMNS, STANDING

#: (connection, order, Message-ID, SHA-256 of what was handed over) -> the mail, if it is that one.
WriteAgain = Callable[[AsyncConnection, Mapping[str, Any], str, str], Awaitable[bytes | None]]
#: States whose letter was handed over, as far as anybody knows.
_HANDED_OVER = ("sent", "unclear")
_ORDER = (
    *("id", "application", "type", "task", "job_name", "letter", "letter_version", "state", "reason", "occasion_day"),
    *("created_at", "created_by", "planned_for", "sent_at", "subject", "email", "message_id"),
    *("configured_by", "approved", "tries"),
)
_TRY = (
    "attempt_no",
    "handed_over_at",
    "settled_at",
    "relay",
    "outcome",
    "reply_code",
    "reply_text",
    "bytes",
    "body_hash",
)


async def write_evidence(
    database: Database, application: str, out: Path, write_again: WriteAgain, *, author: str, now: datetime
) -> dict[str, int]:
    """Writes everything that is kept of the person of an application; counts by kind. Raises NotFound.

    The export is a row of the history first, and then in the file too. What is held in memory is one letter, and a
    line for each.
    """
    async with database.begin() as connection:
        person = await records.load_person(connection, application)
        noun, name = ("person", person["id"]), application.strip()
        await record_changes(connection, *noun, name, "evidence", [], author=author, now=now)
    async with database.read() as connection:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            return await _Evidence(connection, file, person, write_again).write(author, now)


class _Evidence:
    """One file in the making."""

    def __init__(
        self, connection: AsyncConnection, file: zipfile.ZipFile, person: Mapping[str, Any], write_again: WriteAgain
    ) -> None:
        self._connection, self._file, self._person, self._write_again = connection, file, person, write_again
        self._letters: list[dict[str, Any]] = []

    async def write(self, author: str, now: datetime) -> dict[str, int]:
        ids, person_id, connection = self._person["applications"], self._person["id"], self._connection
        async for order in records.each_letter(connection, ids):
            self._letters.append(await self._letter(order))
        counts = {"letters": len(self._letters)}
        self._add("letters.jsonl", "".join(_line(one) for one in self._letters))
        lists = {
            "applications": records.each_application(connection, ids),
            "blocks": records.each_block(connection, person_id),
            "contacts": records.each_row(connection, records.contacts_of(person_id, ids)),
            "history": records.each_row(connection, records.history_of(person_id, ids)),
        }
        for name, rows in lists.items():
            counts[name] = await self._list(name, rows)
        choice = {name: self._person[name] for name in ("opted_out_at", "opted_out_by", "duplicate_set")}
        head = await load_head(connection)
        about = {"made_at": now, "made_by": author, "history_head": str(head), "counts": counts, **choice}
        self._add("index.json", json.dumps(about, default=_plain, ensure_ascii=False, indent=2))
        self._add("index.html", self._index(about))
        self._file.writestr("README.txt", files("shared.evidence").joinpath("README.txt").read_bytes())
        return counts

    async def _letter(self, order: dict[str, Any]) -> dict[str, Any]:
        """What is told of an order; its mail, or the version that it was written from, goes into the file."""
        standing, place = "not_sent", None
        if order["state"] in _HANDED_OVER or order["handed_over_at"] is not None:
            mail = await self._mail_of(order)
            if mail is not None:
                standing, place = "same", f"letters/{order['id']}.eml"
                self._file.writestr(place, mail)
            else:
                standing, place = "version", f"letters/{order['id']}.version.json"
                found = await records.letter_as_written(self._connection, order["letter_id"], order["letter_version"])
                self._add(place, json.dumps(found, default=_plain, ensure_ascii=False, indent=2))
        tries = [{name: one[name] for name in _TRY} for one in order["tries"]]
        return {**{name: order[name] for name in _ORDER}, "tries": tries, "letter_is": standing, "file": place}

    async def _mail_of(self, order: Mapping[str, Any]) -> bytes | None:
        last = next((one for one in reversed(order["tries"]) if one["handed_over_at"]), None)
        if last is None or not last["body_hash"] or not last["message_id"] or not order["mail_date"]:
            return None
        return await self._write_again(self._connection, order, last["message_id"], last["body_hash"])

    async def _list(self, name: str, rows: AsyncIterator[dict[str, Any]]) -> int:
        count = 0
        with self._file.open(f"{name}.jsonl", "w") as out:
            async for row in rows:
                out.write(_line(row).encode())
                count += 1
        return count

    def _add(self, name: str, text: str) -> None:
        self._file.writestr(name, text.encode())

    def _index(self, about: Mapping[str, Any]) -> str:
        facts = "".join(f"<tr><th>{_cell(key)}</th><td>{_cell(value)}</td></tr>" for key, value in about.items())
        rows = []
        for one in self._letters:
            cells = "".join(f"<td>{_cell(one[name])}</td>" for name in LETTER_COLUMNS)
            file = f'<a href="{html.escape(one["file"])}">{_cell(one["file"])}</a>' if one["file"] else ""
            rows.append(f"<tr>{cells}<td>{file} {html.escape(STANDING[one['letter_is']])}</td></tr>")
        heads = "".join(f"<th>{html.escape(head)}</th>" for head in (*LETTER_COLUMNS.values(), "Datei / File"))
        letters = f"<h2>Schreiben / Letters</h2><table><tr>{heads}</tr>{''.join(rows)}</table>"
        return f"{INDEX_HEAD}<table>{facts}</table>{letters}"


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, default=_plain, ensure_ascii=False) + "\n"


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}: {one}" for key, one in value.items())
    return html.escape("" if value is None else _plain(value))
