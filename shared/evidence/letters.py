"""Every letter of a person: its order, what was tried and answered, who had set it up and let it go."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import any_of
from shared.db.tables import (
    application_statuses,
    applications,
    attachments,
    attempts,
    dispatch_runs,
    form_letter_versions,
    form_letters,
    write_orders,
)
from shared.evidence.authors import Authors, decisions_about
from shared.evidence.contents import LEFT_OUT, told
from shared.evidence.records import Whose

_A, _O, _T, _V, _F = applications.c, write_orders.c, attempts.c, form_letter_versions.c, attachments.c
#: Orders asked for at a time.
_AT_ONCE = 200


async def each_letter(connection: AsyncConnection, whose: Whose) -> AsyncIterator[dict[str, Any]]:
    """Each write order, whole: what of it is told is `as_told`'s."""
    authors = Authors(connection)
    claimed = application_statuses.c.name.label("status_when_taken_up")
    written = form_letters.c.name.label("letter")
    names = (_A.external_id.label("application"), written, claimed, dispatch_runs.c.unheld)
    source = write_orders.join(applications, _A.id == _O.application_id)
    source = source.join(form_letters, form_letters.c.id == _O.letter_id)
    source = source.outerjoin(dispatch_runs, dispatch_runs.c.id == _O.run_id)
    source = source.outerjoin(application_statuses, application_statuses.c.id == _O.claimed_status_id)
    for start in range(0, len(whose.orders), _AT_ONCE):
        some = whose.orders[start : start + _AT_ONCE]
        found = select(write_orders, *names).select_from(source).where(any_of(_O.id, some)).order_by(_O.id)
        rows = (await connection.execute(found)).mappings().all()
        tried = await _attempts(connection, some)
        decided, asked = await decisions_about(connection, some)
        for row in rows:
            order = {**row, "tries": tried.get(row["id"], []), "decisions": decided.get(row["id"], [])}
            order |= await authors.of(order)
            order["approvals"] += asked.get(row["id"], [])
            yield order


def as_told(order: Mapping[str, Any]) -> dict[str, Any]:
    """What of an order is in the file."""
    return {name: value for name, value in order.items() if name not in LEFT_OUT["write_orders"] and name != "unheld"}


async def letter_as_written(connection: AsyncConnection, letter_id: int, version: int | None) -> dict[str, Any] | None:
    """A version with its placeholders, in its languages; with its layout, as it is sent, and names of files."""
    columns = (_V.version, _V.subject, _V.text, _V.html, _V.language, _V.variants, _V.composed, _V.attachment_ids)
    found = select(*columns).where(_V.letter_id == letter_id, _V.version == version)
    row = (await connection.execute(found)).mappings().first()
    if row is None:
        return None
    written = {str(name): value for name, value in row.items() if name != "attachment_ids"}
    files = select(_F.file_name, _F.media_type, _F.size, _F.sha256)
    sent = await connection.execute(files.where(any_of(_F.id, row["attachment_ids"] or ())).order_by(_F.id))
    return written | {"attachments": [dict(one) for one in sent.mappings()]}


async def _attempts(connection: AsyncConnection, order_ids: Any) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    tries = select(_T.order_id, *told(attempts)).where(any_of(_T.order_id, order_ids))
    for row in (await connection.execute(tries.order_by(_T.order_id, _T.attempt_no))).mappings():
        one = {str(name): value for name, value in row.items()}
        found.setdefault(one.pop("order_id"), []).append(one)
    return found
