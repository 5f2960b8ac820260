"""Who had set up what a letter came from, and who had let it go: as the history tells it for the letter's time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.audit_tables import approvals
from shared.db.column_types import any_of
from shared.db.named_records import find_named
from shared.db.tables import application_queries, contact_jobs, events, form_letter_versions
from shared.evidence.contents import told

_E, _J, _P, _V = events.c, contact_jobs.c, approvals.c, form_letter_versions.c
_SETS_UP = ("create", "change", "copy")
#: What people, or a job's own rule, decide about a letter.
DECIDES = (
    *("create", "block", "unblock", "retry", "settle", "settle_resend", "resend"),
    *("ask_approval", "approve", "refuse"),
)
Event = Mapping[Any, Any]


class Authors:
    """Asks for each job, query, letter and layout once, however many letters came from it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._told: dict[tuple[str, int], Sequence[Event]] = {}
        self._approved: dict[int, Sequence[Event]] = {}
        self._layouts: dict[tuple[int, int], int | None] = {}

    async def of(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """`configured_by` and `released_by` of an order, and the approvals of its job that held then.

        Empty for a letter that no mailer has taken up: what it would have come from is not settled.
        """
        moment = order["sent_at"] or order["handed_over_at"] or order["mail_date"]
        if moment is None:
            return {"configured_by": {}, "released_by": None, "approvals": []}
        job_id = await self._job_of(order, moment)
        by_kind = {
            "job": await self._last_change("job", job_id, moment),
            "query": await self._last_change("query", await self._query_of(job_id, moment), moment),
            # Its version was pinned with the mail's date, whatever was saved since.
            "letter": await self._last_change("letter", order["letter_id"], order["mail_date"] or moment),
            "layout": await self._last_change("layout", await self._layout_of(order), order["mail_date"] or moment),
        }
        return {
            "configured_by": {kind: one["author"] for kind, one in by_kind.items() if one is not None},
            "released_by": await self._released(order, job_id, moment),
            "approvals": await self._approvals(job_id, moment),
        }

    async def _history(self, noun: str, record_id: int | None) -> Sequence[Event]:
        if record_id is None:
            return ()
        if (noun, record_id) not in self._told:
            columns = (_E.at, _E.author, _E.action, _E.field, _E.old, _E.new)
            theirs = select(*columns).where(_E.noun == noun, _E.record_id == record_id).order_by(_E.id)
            self._told[noun, record_id] = (await self._connection.execute(theirs)).mappings().all()
        return self._told[noun, record_id]

    async def _last_change(self, noun: str, record_id: int | None, moment: datetime) -> Event | None:
        # Switching a job on is no change of it: that is told by who released.
        rows = await self._history(noun, record_id)
        return _last(row for row in rows if row["at"] <= moment and _sets_up(noun, row))

    async def _job_of(self, order: Mapping[str, Any], moment: datetime) -> int | None:
        """The id of the order's job, also of one that was deleted since: found by its name."""
        found: int | None = order["job_id"]
        if found is not None or order["job_name"] is None:
            return found
        deleted = (_E.noun == "job", _E.action == "delete", _E.record_name == order["job_name"], _E.at >= moment)
        first = select(_E.record_id).where(*deleted).order_by(_E.id).limit(1)
        deleted_id: int | None = (await self._connection.execute(first)).scalar()
        return deleted_id

    async def _query_of(self, job_id: int | None, moment: datetime) -> int | None:
        """The id of the query that the job had then; None: it has another one now, and that one was renamed."""
        rows = [row for row in await self._history("job", job_id) if row["field"] == "query"]
        if all(row["at"] <= moment for row in rows):
            present = select(_J.query_id).where(_J.id == job_id)
            found: int | None = (await self._connection.execute(present)).scalar()
            if found is not None:
                return found
        then = _last(row for row in rows if row["at"] <= moment)
        name = then["new"] if then else next((row["old"] for row in rows), None)
        known = await find_named(self._connection, application_queries, name) if name else None
        return int(known["id"]) if known else None

    async def _layout_of(self, order: Mapping[str, Any]) -> int | None:
        key = (order["letter_id"], order["letter_version"])
        if key not in self._layouts:
            layout = select(_V.layout_id).where(_V.letter_id == key[0], _V.version == key[1])
            self._layouts[key] = (await self._connection.execute(layout)).scalar()
        return self._layouts[key]

    async def _released(self, order: Mapping[str, Any], job_id: int | None, moment: datetime) -> dict[str, Any] | None:
        """Who had last switched the job on, or had written the letter by hand; and who let its held dispatch go."""
        if order["type"] != "contact_job":
            made = _last(row for row in order["decisions"] if row["action"] == "create")
            return {"author": made["author"], "at": made["at"]} if made else None
        rows = [row for row in await self._history("job", job_id) if row["at"] <= moment]
        on = _last(row for row in rows if row["field"] == "status" and row["new"] == "An")
        found = {"author": on["author"], "at": on["at"]} if on else {}
        if order["unheld"] and (let_go := _last(row for row in rows if row["action"] == "release")):
            found |= {"held_dispatch_released_by": let_go["author"], "held_dispatch_released_at": let_go["at"]}
        return found or None

    async def _approvals(self, job_id: int | None, moment: datetime) -> list[dict[str, Any]]:
        if job_id is None:
            return []
        if job_id not in self._approved:
            given = and_(_P.job_id == job_id, _P.decided_at.is_not(None), _P.state != "refused")
            rows = await self._connection.execute(select(*told(approvals)).where(given).order_by(_P.id))
            self._approved[job_id] = rows.mappings().all()
        return [{"of": "job", **row} for row in self._approved[job_id] if _held(row, moment)]


async def decisions_about(
    connection: AsyncConnection, order_ids: Sequence[int]
) -> tuple[dict[int, list[dict[str, Any]]], dict[int, list[dict[str, Any]]]]:
    """What people decided about each of these orders, and the approvals that were asked for it; by order."""
    columns = (_E.record_id, _E.at, _E.author, _E.action, _E.new, _E.reason)
    which = (_E.noun == "order", any_of(_E.record_id, order_ids), _E.action.in_(DECIDES))
    decided: dict[int, list[dict[str, Any]]] = {}
    for row in (await connection.execute(select(*columns).where(*which).order_by(_E.id))).mappings():
        one = {str(name): value for name, value in row.items()}
        decided.setdefault(one.pop("record_id"), []).append(one)
    asked: dict[int, list[dict[str, Any]]] = {}
    about = select(_P.order_id, *told(approvals)).where(any_of(_P.order_id, order_ids)).order_by(_P.id)
    for row in (await connection.execute(about)).mappings():
        one = {str(name): value for name, value in row.items()}
        asked.setdefault(one.pop("order_id"), []).append({"of": "order", **one})
    return decided, asked


def _sets_up(noun: str, row: Event) -> bool:
    return row["action"] in _SETS_UP and not (noun == "job" and row["field"] == "status")


def _held(approval: Event, moment: datetime) -> bool:
    ended: datetime | None = approval["ended_at"]
    return bool(approval["decided_at"] <= moment and (ended is None or ended >= moment))


def _last(rows: Any) -> Event | None:
    found = None
    for found in rows:  # noqa: B007 - the last one
        pass
    return found
