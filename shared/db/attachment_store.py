"""The store of attachments: files that letters name, each of which never changes (D43, I12)."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from mimetypes import guess_type
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.history import record_changes
from shared.db.named_records import find_named
from shared.db.tables import attachments, form_letter_versions, form_letters
from shared.db.transactions import in_transaction
from shared.domain.job_fields import read_name
from shared.domain.text import fold
from shared.errors import InvalidInput, NotFound, Refused

#: One file, in bytes.
LARGEST_FILE = 5_000_000
#: A file's name, in characters: encoded it still fits into one line of a mail.
LONGEST_NAME = 80
_T = attachments.c


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be stored: its id for letters, its name for the recipient, its bytes."""

    id: str
    file_name: str
    content: bytes


async def add_attachment(database: Database, file: NewFile, *, author: str, now: datetime) -> bool:
    """Stores a file; False if it is there already, byte for byte. Raises InvalidInput, Refused for other content."""
    name = read_name("attachment, id", file.id)
    size = len(file.content)
    if not 0 < size <= LARGEST_FILE:
        raise InvalidInput(f"attachment {name!r}", f"{size} bytes", f"must have 1 to {LARGEST_FILE} bytes")
    if not 0 < len(file.file_name) <= LONGEST_NAME:
        raise InvalidInput(
            f"attachment {name!r}", file.file_name, f"the file's name may have {LONGEST_NAME} characters"
        )
    digest = sha256(file.content).hexdigest()

    async def work(connection: AsyncConnection) -> bool:
        found = await find_named(connection, attachments, name)
        if found is not None:
            if found["sha256"] == digest:
                return False
            raise Refused(f"attachment {found['name']!r} exists with other content; a stored file never changes")
        values = {
            "name": name,
            "name_folded": fold(name),
            "file_name": file.file_name,
            "media_type": guess_type(file.file_name)[0] or "application/octet-stream",
            "size": size,
            "sha256": digest,
            "content": file.content,
            "added_at": now,
            "added_by": author,
        }
        file_id = (await connection.execute(insert(attachments).values(values).returning(_T.id))).scalar_one()
        changes = [("file_name", None, file.file_name), ("sha256", None, digest)]
        await record_changes(connection, "attachment", file_id, name, "create", changes, author=author, now=now)
        return True

    return await in_transaction(database, work)


async def remove_attachment(database: Database, name: str, *, author: str, now: datetime) -> None:
    """Removes a file that no version of a letter names; raises NotFound, Refused."""

    async def work(connection: AsyncConnection) -> None:
        found = await find_named(connection, attachments, name)
        if found is None:
            raise NotFound("attachment", name)
        v = form_letter_versions.c
        statement = select(form_letters.c.name, v.attachment_ids).join(form_letters, form_letters.c.id == v.letter_id)
        for row in await connection.execute(statement.where(v.attachment_ids.is_not(None))):
            if found["id"] in (row.attachment_ids or ()):
                raise Refused(f"attachment {name!r} belongs to a version of letter {row.name!r}; it is kept for it")
        await connection.execute(delete(attachments).where(_T.id == found["id"]))
        await record_changes(connection, "attachment", found["id"], found["name"], "delete", [], author=author, now=now)

    await in_transaction(database, work)


async def list_attachments(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every stored file by id, without its bytes."""
    columns = (_T.name.label("id"), _T.file_name, _T.media_type, _T.size, _T.added_at, _T.added_by)
    rows = await connection.execute(select(*columns).order_by(_T.name_folded))
    return [{**row, "added_at": row["added_at"].isoformat()} for row in rows.mappings()]
