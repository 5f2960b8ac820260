"""Saving letters: a version is checked whole, composed once, and never changes (D43, I12)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.named_records import id_of
from shared.db.tables import application_statuses, attachments, form_letter_versions, form_letters, letter_layouts
from shared.domain.letter_layouts import Layout
from shared.domain.letters import LetterText, compose_letter
from shared.errors import InvalidInput

_V = form_letter_versions.c
#: The fields of a letter as people write them, besides its name.
FIELDS = ("language", "subject", "html", "text", "sets_status", "layout", "variants", "attachments")
#: All attachments of one letter, in bytes: many mail servers take no larger mails.
LARGEST_LETTER = 10_000_000


async def load_content(connection: AsyncConnection, letter_id: int, version: int) -> dict[str, Any]:
    """A version as people wrote it; names instead of ids."""
    statement = (
        select(_V.language, _V.subject, _V.html, _V.text, _V.variants, _V.attachment_ids)
        .add_columns(application_statuses.c.name.label("sets_status"), letter_layouts.c.name.label("layout"))
        .outerjoin_from(form_letter_versions, application_statuses, application_statuses.c.id == _V.sets_status_id)
        .outerjoin(letter_layouts, letter_layouts.c.id == _V.layout_id)
        .where(_V.letter_id == letter_id, _V.version == version)
    )
    row = {str(k): v for k, v in (await connection.execute(statement)).mappings().one().items()}
    ids = row.pop("attachment_ids") or []
    a = attachments.c
    names = {one.id: one.name for one in await connection.execute(select(a.id, a.name).where(a.id.in_(ids)))}
    return row | {"attachments": [names[one] for one in ids] or None}


async def save_version(
    connection: AsyncConnection, letter_id: int, version: int, name: str, content: Mapping[str, Any], place: str
) -> None:
    """Writes a version and makes it the letter's; raises InvalidInput if the letter could not be sent."""
    layout_id, layout = await layout_of(connection, content, place)
    own = {key: content[key] for key in ("language", "subject", "html", "text")}
    texts = [LetterText(**one) for one in (own, *(content["variants"] or ()))]
    values = {
        **own,
        "letter_id": letter_id,
        "version": version,
        "variants": content["variants"],
        "sets_status_id": await _status(connection, content, place),
        "layout_id": layout_id,
        "attachment_ids": await _attachment_ids(connection, content["attachments"] or (), place),
        "composed": [_composed(name, text, layout, place) for text in texts],
    }
    await connection.execute(insert(form_letter_versions).values(values))
    raised = update(form_letters).where(form_letters.c.id == letter_id).values(version=version)
    await connection.execute(raised)


def _composed(name: str, text: LetterText, layout: Layout | None, place: str) -> dict[str, Any]:
    try:
        return asdict(compose_letter(name, text, layout))
    except InvalidInput as exc:
        inside = " in its layout" if layout else ""
        raise InvalidInput(f"{place}{inside}: {exc.place}", exc.value, exc.fix) from exc


async def layout_of(
    connection: AsyncConnection, content: Mapping[str, Any], place: str
) -> tuple[int | None, Layout | None]:
    """The layout that a letter names, with its id; none where it names none. Raises InvalidInput."""
    if not content["layout"]:
        return None, None
    layout_id = await id_of(connection, letter_layouts, "layout", content["layout"], f"{place}, layout")
    t = letter_layouts.c
    row = (await connection.execute(select(t.html, t.text).where(t.id == layout_id))).one()
    return layout_id, Layout(row.html, row.text)


async def _status(connection: AsyncConnection, content: Mapping[str, Any], place: str) -> int | None:
    if not content["sets_status"]:
        return None
    return await id_of(connection, application_statuses, "status", content["sets_status"], f"{place}, sets_status")


async def _attachment_ids(connection: AsyncConnection, names: Sequence[str], place: str) -> list[int] | None:
    ids = [await id_of(connection, attachments, "attachment", name, f"{place}, attachments") for name in names]
    a = attachments.c
    sizes = (await connection.execute(select(a.size).where(a.id.in_(ids)))).scalars()
    if (total := sum(sizes)) > LARGEST_LETTER:
        fix = f"make {total} bytes together; at most {LARGEST_LETTER} are sent with one letter"
        raise InvalidInput(f"{place}, attachments", ", ".join(names), fix)
    return ids or None


async def compose_anew(connection: AsyncConnection, layout_id: int, place: str) -> list[int]:
    """After a change of a layout: a new version of every letter that stands in it. Returns the letters' ids."""
    l = form_letters.c  # noqa: E741
    current = (_V.letter_id == l.id) & (_V.version == l.version)
    statement = select(l.id, l.name, l.version).join(form_letter_versions, current).where(_V.layout_id == layout_id)
    rows = (await connection.execute(statement.order_by(l.id))).all()
    for row in rows:
        content = await load_content(connection, row.id, row.version)
        await save_version(connection, row.id, row.version + 1, row.name, content, f"{place}, letter {row.name!r}")
    return [row.id for row in rows]
