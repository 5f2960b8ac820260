"""What letters are written from: versions, users, custom fields."""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import custom_fields, form_letter_versions, form_letters, users
from shared.domain.letters import LetterText
from shared.domain.senders import User
from shared.domain.text import fold


async def load_letter_version(connection: AsyncConnection, letter_id: int, version: int) -> tuple[str, LetterText]:
    """Name and text of one version of a letter; versions never change."""
    v = form_letter_versions.c
    statement = (
        select(form_letters.c.name, v.subject, v.html, v.text, v.language)
        .join(form_letters, form_letters.c.id == v.letter_id)
        .where(v.letter_id == letter_id, v.version == version)
    )
    row = (await connection.execute(statement)).one()
    return row.name, LetterText(subject=row.subject, html=row.html, text=row.text, language=row.language)


async def load_users(connection: AsyncConnection, names: Collection[str]) -> dict[str, User]:
    """The users of these names, by folded name."""
    folded = {fold(name) for name in names}
    statement = select(users).where(users.c.name_folded.in_(folded))
    rows = (await connection.execute(statement)).mappings()
    return {row["name_folded"]: User(row["name"], row["display_name"], row["email"]) for row in rows}


async def load_custom_fields(
    connection: AsyncConnection, application_ids: Sequence[int] | None
) -> dict[int, dict[str, str]]:
    """Custom fields by application and name; None: of all applications."""
    field = custom_fields.c
    statement = select(field.application_id, field.name, field.value)
    if application_ids is not None:
        statement = statement.where(field.application_id.in_(application_ids))
    found: dict[int, dict[str, str]] = {}
    for row in await connection.execute(statement):
        found.setdefault(row.application_id, {})[row.name] = row.value
    return found
