"""What letters are written from: versions in their languages, attachments, users, applications with custom fields."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import IdList, NameList, any_of
from shared.db.prepared import Prepared
from shared.db.tables import (
    application_statuses,
    applications,
    attachments,
    custom_fields,
    form_letter_versions,
    form_letters,
    users,
)
from shared.domain.letters import LetterText
from shared.domain.senders import User
from shared.domain.text import fold

_A, _U = applications.c, users.c
#: What a letter may name of an application, and what deciding about its mail needs.
APPLICATION_COLUMNS = (
    *("id", "external_id", "kind", "salutation", "title", "first_name", "last_name", "birth_date", "email"),
    *("usable_email", "phone", "street", "postal_code", "city", "country", "language", "vacancy", "department"),
    *("location", "source", "recruiter", "recruiter_folded", "status_id", "received_on", "pool_since", "reduced_at"),
)


_ALL_CUSTOM_FIELDS = select(custom_fields.c.application_id, custom_fields.c.name, custom_fields.c.value)
_CUSTOM_FIELDS = Prepared(
    lambda: _ALL_CUSTOM_FIELDS.where(any_of(custom_fields.c.application_id, bindparam("ids", type_=IdList())))
)

_USERS = Prepared(
    lambda: select(_U.name, _U.name_folded, _U.display_name, _U.email).where(
        any_of(_U.name_folded, bindparam("names", type_=NameList()))
    )
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a letter."""

    name: str
    file_name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """One version of a letter, which never changes: its texts by language, the first being its own."""

    name: str
    texts: tuple[LetterText, ...]
    #: Whether the texts are composed: in their layout, with styles in place.
    composed: bool
    attachments: tuple[Attachment, ...]


async def load_letter_version(connection: AsyncConnection, letter_id: int, version: int) -> StoredLetter:
    """A version as it is sent; one of a release that did not compose at saving as it was written."""
    v = form_letter_versions.c
    columns = (form_letters.c.name, v.subject, v.html, v.text, v.language, v.composed, v.attachment_ids)
    statement = (
        select(*columns)
        .join(form_letters, form_letters.c.id == v.letter_id)
        .where(v.letter_id == letter_id, v.version == version)
    )
    row = (await connection.execute(statement)).one()
    written = [{"subject": row.subject, "html": row.html, "text": row.text, "language": row.language}]
    texts = tuple(LetterText(**one) for one in row.composed or written)
    files = await load_attachments(connection, row.attachment_ids or ())
    return StoredLetter(row.name, texts, row.composed is not None, files)


async def load_attachments(connection: AsyncConnection, ids: Sequence[int]) -> tuple[Attachment, ...]:
    """The stored files of these ids, in this order."""
    if not ids:
        return ()
    a = attachments.c
    statement = select(a.id, a.name, a.file_name, a.media_type, a.content).where(a.id.in_(ids))
    rows = {row.id: row for row in await connection.execute(statement)}
    found = (rows[one] for one in ids)
    return tuple(Attachment(row.name, row.file_name, row.media_type, row.content) for row in found)


async def load_users(connection: AsyncConnection, names: Collection[str]) -> dict[str, User]:
    """The users of these names, by folded name."""
    folded = {fold(name) for name in names}
    if not folded:
        return {}
    rows = await _USERS.fetch(connection, names=sorted(folded))
    return {row.name_folded: User(row.name, row.display_name, row.email) for row in rows}


async def load_custom_fields(
    connection: AsyncConnection, application_ids: Sequence[int] | None
) -> dict[int, dict[str, str]]:
    """Custom fields by application and name; None: of all applications."""
    rows = (
        (await connection.execute(_ALL_CUSTOM_FIELDS)).all()
        if application_ids is None
        else await _CUSTOM_FIELDS.fetch(connection, ids=list(application_ids))
    )
    found: dict[int, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row.application_id, {})[row.name] = row.value
    return found


async def load_applications(
    connection: AsyncConnection, which: ColumnElement[bool], limit: int | None = None
) -> list[Mapping[str, Any]]:
    """Applications as letters see them, newest first, each with its status and custom fields."""
    columns = (*(_A[name] for name in APPLICATION_COLUMNS), application_statuses.c.name.label("status"))
    statement = (
        select(*columns)
        .outerjoin_from(applications, application_statuses, application_statuses.c.id == _A.status_id)
        .where(which)
        .order_by(_A.id.desc())
        .limit(limit)
    )
    rows = (await connection.execute(statement)).mappings().all()
    custom = await load_custom_fields(connection, [row["id"] for row in rows])
    return [{**row, "custom": custom.get(row["id"], {})} for row in rows]
