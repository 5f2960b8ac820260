"""Letters as people read them: the list, and one with its history (D2, D3)."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.history import load_history
from shared.db.letter_changes import load_content
from shared.db.named_records import find_named
from shared.db.tables import contact_jobs, form_letters
from shared.errors import NotFound

_L = form_letters.c


async def list_letters(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every letter by name, with the number of jobs that send it."""
    jobs = select(func.count()).where(contact_jobs.c.letter_id == _L.id).scalar_subquery().label("jobs")
    statement = select(_L.id, _L.name, _L.version, jobs).order_by(_L.name_folded)
    found = []
    for row in (await connection.execute(statement)).all():
        content = await load_content(connection, row.id, row.version)
        languages = [content["language"], *(one["language"] for one in content["variants"] or ())]
        found.append(
            {
                "name": row.name,
                "languages": ", ".join(languages),
                "subject": content["subject"],
                "sets_status": content["sets_status"],
                "layout": content["layout"],
                "attachments": ", ".join(content["attachments"] or ()),
                "version": row.version,
                "jobs": row.jobs,
            }
        )
    return found


async def show_letter(connection: AsyncConnection, name: str) -> dict[str, Any]:
    """One letter as it was written, and the history of its changes. Raises NotFound."""
    row = await find_named(connection, form_letters, name)
    if row is None:
        raise NotFound("letter", name)
    content = await load_content(connection, row["id"], row["version"])
    history = await load_history(connection, "letter", row["id"])
    return {"name": row["name"], "version": row["version"], **content, "history": history}
