"""The evidence file: a zip with an index for people and the same for programs, letter by letter, row by row."""

import json
import os
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import record_changes
from shared.db.history_seals import load_head
from shared.errors import InvalidInput
from shared.evidence import records
from shared.evidence.letters import as_told, each_letter, letter_as_written
from shared.evidence.page import Page
from shared.evidence.records import Whose
from shared.evidence.rewriting import ERASED, NOT_NOTED, WriteAgain

#: What stands before the hash of an address or a Message-ID that a reduction has erased.
_HASHED = "sha256:"
#: Before the first field of a letter that the mailer has signed.
_SIGNATURE = b"DKIM-Signature:"


async def write_evidence(
    database: Database, application: str, out: Path, write_again: WriteAgain, *, author: str, now: datetime
) -> dict[str, int]:
    """Writes everything that is kept of the person of an application; counts by kind.

    The export is a row of the history first, and then in the file too. What is held in memory is one letter, and a
    line for each row. The file is its owner's alone, and there is none unless it is whole. Raises NotFound, and
    InvalidInput where it cannot be written.
    """
    async with database.read() as connection:
        whose = await records.load_whose(connection, application)
    with _becoming(out) as file:
        async with database.begin() as connection:
            noun, name = ("person", whose.person["id"]), application.strip()
            await record_changes(connection, *noun, name, "evidence", [], author=author, now=now)
        async with database.read() as connection:
            # Here too: within a transaction a full disk would pass for the database's.
            with _refused_by(out):
                return await _Evidence(connection, file, whose, write_again).write(author, now)


@contextmanager
def _becoming(out: Path) -> Iterator[zipfile.ZipFile]:
    partial = out.with_name(out.name + ".part")
    try:
        with _refused_by(out):
            partial.unlink(missing_ok=True)  # whose mode may be another
            with open(partial, "wb", opener=_as_ours) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as file:
                yield file
            os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _refused_by(out: Path) -> Iterator[None]:
    """What is wrong with folder or disk, as ours."""
    try:
        yield
    except OSError as exc:
        raise InvalidInput("--out", str(out), f"cannot be written: {exc.strerror or exc}") from exc


def _as_ours(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class _Evidence:
    """One file in the making."""

    def __init__(
        self, connection: AsyncConnection, file: zipfile.ZipFile, whose: Whose, write_again: WriteAgain
    ) -> None:
        self._connection, self._file, self._whose, self._write_again = connection, file, whose, write_again
        self._page = Page()

    async def write(self, author: str, now: datetime) -> dict[str, int]:
        whose, connection = self._whose, self._connection
        counts = {"letters": await self._letters()}
        rows = {
            "applications": records.each_application(connection, whose),
            "contacts": records.each_row(connection, records.contacts_of(whose)),
            "blocks": records.each_block(connection, whose),
            "wishes": records.each_wish(connection, whose),
            "requests": records.each_row(connection, records.requests_of(whose)),
            "consents": records.each_row(connection, records.consents_of(whose)),
            "returned": records.each_row(connection, records.returned_of(whose)),
            "history": records.each_row(connection, records.history_of(whose)),
        }
        for name, found in rows.items():
            counts[name] = await self._list(name, found)
        about = {
            "made_at": now,
            "made_by": author,
            "history_head": str(await load_head(connection)),
            "counts": counts,
            "person": dict(whose.person),
            "earlier_records": await records.load_earlier(connection, whose),
            "records_shared_with_others": list(whose.shared),
            "letters_written_again_with": dict(self._write_again.means()),
        }
        self._add("index.json", json.dumps(about, default=_plain, ensure_ascii=False, indent=2))
        self._add("index.html", self._page.whole(about))
        self._file.writestr("README.txt", files("shared.evidence").joinpath("README.txt").read_bytes())
        return counts

    async def _letters(self) -> int:
        lines = []
        async for order in each_letter(self._connection, self._whose):
            letter = await self._letter(order)
            lines.append(_line(letter))
            self._page.add("letters", letter)
        self._add("letters.jsonl", "".join(lines))
        return len(lines)

    async def _letter(self, order: dict[str, Any]) -> dict[str, Any]:
        """What is told of an order; what was handed over goes into the file, and the version where that is not known.

        Data may have changed between two attempts: each is told for itself, and the letter as its last one.
        """
        of_digests: dict[str, dict[str, Any]] = {}
        last = _standing("not_sent")
        tries = []
        for one in reversed(order["tries"]):
            standing = await self._standing(order, one, of_digests)
            if last["letter_is"] == "not_sent":
                last = standing
            tries.append({**one, **standing})
        if last["letter_is"] == "not_sent" and (order["handed_over_at"] or order["state"] in ("sent", "unclear")):
            # Handed over, and of no attempt that is on record.
            last = _standing("version", NOT_NOTED)
        if any(one["letter_is"] == "version" for one in (last, *tries)):
            place = await self._version(order)
            for told in (last, *tries):
                told.update({"file": place} if told["letter_is"] == "version" else {})
        return {**as_told(order), "tries": tries[::-1], **last}

    async def _standing(
        self, order: Mapping[str, Any], one: Mapping[str, Any], of_digests: dict[str, dict[str, Any]]
    ) -> dict[str, Any]:
        """How the file has what an attempt handed over."""
        if not one["handed_over_at"]:
            return _standing("not_sent")
        digest, message_id = one["body_hash"], one["message_id"] or order["message_id"]
        if not digest or not message_id or not order["mail_date"]:
            is_reduced = (order["message_id"] or "").startswith(_HASHED)
            return _standing("version", ERASED if is_reduced else NOT_NOTED)
        if digest not in of_digests:
            again = await self._write_again.write(self._connection, order, message_id, digest)
            found = _standing("version", again.why)
            if again.content is not None:
                # The last attempt comes first.
                place = f"letters/{order['id']}-{one['attempt_no']}.eml" if of_digests else f"letters/{order['id']}.eml"
                self._file.writestr(place, again.content)
                signed = again.content.startswith(_SIGNATURE)
                found = {**_standing("same"), "file": place, "signed": signed, "data_used": again.data}
            of_digests[digest] = found
        return dict(of_digests[digest])

    async def _version(self, order: Mapping[str, Any]) -> str | None:
        found = await letter_as_written(self._connection, order["letter_id"], order["letter_version"])
        if found is None:
            return None
        place = f"letters/{order['id']}.version.json"
        self._add(place, json.dumps(found, default=_plain, ensure_ascii=False, indent=2))
        return place

    async def _list(self, name: str, rows: AsyncIterator[dict[str, Any]]) -> int:
        count = 0
        with self._file.open(f"{name}.jsonl", "w", force_zip64=True) as out:
            async for row in rows:
                out.write(_line(row).encode())
                self._page.add(name, row)
                count += 1
        return count

    def _add(self, name: str, text: str) -> None:
        self._file.writestr(name, text.encode())


def _standing(letter_is: str, why: str | None = None) -> dict[str, Any]:
    """How the file has a letter: the mail that was sent (same), its version, or nothing as it was not sent."""
    return {"letter_is": letter_is, "file": None, "why": why, "signed": None, "data_used": None}


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, default=_plain, ensure_ascii=False) + "\n"


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
