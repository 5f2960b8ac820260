"""The job file's dispatch tab: what is planned, to be ticked and blocked, then what was sent (D31, D32)."""

from collections import Counter
from dataclasses import replace
from datetime import date
from typing import Any

from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.jobs import load_glance
from services.console.paging import Paged, bounded_count, page_of, read_key
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.application_list import Found, search_applications
from shared.db.job_orders import ENDED, OPEN, SEARCHED_DAYS, are_many, job_order_rows, job_orders
from shared.db.job_overview import JobGlance
from shared.db.order_commands import block, unblock
from shared.db.order_list import OrderFilter
from shared.db.tables import dispatch_runs, write_orders
from shared.errors import InvalidInput, Refused
from shared.exporting import orders_of

SCOPES = ("job", "letter", "all")
#: Beyond so many orders a count says "more than"; of many people, each has to be looked up with its application.
COUNTED, COUNTED_OF_MANY = 1000, 100
#: Rows of a printed list.
PRINTED = 5000
_KEYS = (dispatch_runs.c.occasion_day, write_orders.c.id)


async def show_dispatch(visit: Visit) -> Response:
    """Both lists, or a further page of one of them."""
    return await _page(visit, await load_glance(visit))


async def _page(visit: Visit, job: JobGlance, status: int = 200, **errors: str) -> Response:
    part = visit.asked("part") if visit.asked("part") in ("open", "ended") else ""
    words, state, printing = visit.asked("q"), visit.asked("state"), bool(visit.asked("print"))
    lists = {"open": _nothing(), "ended": _nothing()}
    state = state if state in (*OPEN, "blocked", *ENDED) else ""
    async with visit.database.read(plan_by_values=True) as connection:
        who = await search_applications(connection, words) if words else None
    for name in ("open", "ended"):
        if part in ("", name):
            lists[name] = await _list(visit, job.id, name == "ended", who, state, printing)
    return visit.render(
        "job_dispatch.html",
        status,
        job=job,
        lists=lists,
        part=part,
        words=words,
        state=state,
        states=(*OPEN, "blocked", *ENDED),
        printing=printing,
        printed=PRINTED,
        searched=SEARCHED_DAYS,
        first=not visit.asked("after"),
        errors=errors,
        ticked=set(visit.fields("order")),
        typed={"reason": visit.field("reason"), "scope": visit.field("scope", "job"), "until": visit.field("until")},
    )


def _nothing() -> dict[str, Any]:
    return {"paged": Paged([], ""), "count": 0, "more": False, "lately": False}


async def _list(
    visit: Visit, job_id: int, ended: bool, who: Found | None, state: str, printing: bool
) -> dict[str, Any]:
    after, today = visit.asked("after"), await visit.today()
    async with visit.database.read(plan_by_values=True) as connection:
        is_many = who is not None and are_many(who)
        statement = job_orders(job_id, ended=ended, today=today, who=who, state=state)
        if printing:
            order = [key.desc() if ended else key for key in _KEYS]
            ids = list((await connection.execute(statement.order_by(*order).limit(PRINTED))).scalars())
            rows = await job_order_rows(connection, ids)
            return {"paged": Paged(rows, ""), "count": len(rows), "more": len(rows) == PRINTED, "lately": is_many}
        count, more = await bounded_count(connection, statement, COUNTED_OF_MANY if is_many else COUNTED)
        if after:
            # Beside the key of the page: this part of it the index of the runs understands.
            day = date.fromisoformat(str(read_key(after, 2)[0]))
            days = dispatch_runs.c.occasion_day
            statement = statement.where(days <= day if ended else days >= day)
        paged = await page_of(connection, statement, _KEYS, after, descending=ended)
        rows = await job_order_rows(connection, [row["id"] for row in paged.rows])
    return {"paged": replace(paged, rows=rows), "count": count, "more": more, "lately": is_many}


async def export_orders(visit: Visit) -> Response:
    """Every letter of the job ever, as a workbook."""
    job = await load_glance(visit)
    return await download(visit, "orders", narrowed=orders_of(OrderFilter(job=job.row["name"])))


async def block_orders(visit: Visit) -> Response:
    """Blocks the ticked orders, each in a transaction of its own; says what became of them."""
    job = await load_glance(visit)
    ids = [int(one) for one in visit.fields("order") if one.isdigit()]
    reason, scope, until = visit.field("reason"), visit.field("scope", "job"), None
    errors = {}
    if not ids:
        errors["order"] = visit.text("Tick at least one letter.")
    if not reason:
        errors["reason"] = visit.text("Say why; it is shown with the letter.")
    try:
        until = date.fromisoformat(visit.field("until")) if scope == "all" and visit.field("until") else None
    except ValueError:
        errors["until"] = visit.text("must be a date")
    if errors or scope not in SCOPES:
        return await _page(visit, job, 422, **errors)
    answers: Counter[str] = Counter()
    for order_id in ids:
        answers[await _blocked(visit, order_id, scope, reason, until)] += 1
    notice = "Blocked: %(blocked)s of %(all)s."
    if answers["late"]:
        notice = "Blocked: %(blocked)s of %(all)s. Too late for %(late)s; a wider block is stored for letters to come."
    return visit.go(f"/jobs/{job.id}/dispatch", notice, blocked=answers["blocked"], all=len(ids), late=answers["late"])


async def _blocked(visit: Visit, order_id: int, scope: str, reason: str, until: date | None) -> str:
    database, now, author = visit.database, visit.now, visit.author
    answer = await block(database, order_id, scope=scope, reason=reason, until=until, now=now, author=author)
    if answer == "too late":
        return "late"
    return "blocked" if answer.startswith(("blocked", "withdrawn")) else "other"


async def lift_block(visit: Visit) -> Response:
    """Lifts the block of one order: planned again, or withdrawn if its moment has passed."""
    job = await load_glance(visit)
    try:
        order_id = int(visit.field("order"))
    except ValueError:
        raise InvalidInput("order", visit.field("order"), "go back to the first page") from None
    try:
        state = await unblock(visit.database, order_id, now=visit.now, author=visit.author)
    except Refused:
        return visit.go(f"/jobs/{job.id}/dispatch", "This letter is not blocked any more.")
    if state == "planned":
        return visit.go(f"/jobs/{job.id}/dispatch", "The block is lifted; the letter is planned again.")
    return visit.go(f"/jobs/{job.id}/dispatch", "The block is lifted; the letter's moment has passed, it is withdrawn.")


PAGES = (
    Page("/jobs/{id:int}/dispatch", show_dispatch, "view"),
    Page("/jobs/{id:int}/dispatch/excel", export_orders, "view"),
    Page("/jobs/{id:int}/dispatch/block", block_orders, "operate", ("POST",)),
    Page("/jobs/{id:int}/dispatch/unblock", lift_block, "operate", ("POST",)),
)
