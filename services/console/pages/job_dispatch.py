"""The job file's dispatch tab: what is planned, to be ticked and blocked, then what was sent (D31, D32)."""

from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import select, union_all
from starlette.responses import Response

from services.console.downloads import download
from services.console.pages.block_form import block_one, read_block
from services.console.pages.jobs import load_glance
from services.console.paging import Paged, all_of, bounded_count, page_of, read_day, read_key
from services.console.routing import Page
from services.console.visits import Visit, id_of
from shared.db.application_list import Found, search_applications
from shared.db.job_orders import ENDED, OPEN, SEARCHED_DAYS, are_many, job_order_rows, job_orders
from shared.db.job_overview import JobGlance
from shared.db.order_commands import unblock
from shared.db.order_list import OrderFilter
from shared.db.tables import dispatch_runs, write_orders
from shared.errors import InvalidInput, Refused
from shared.exporting import orders_of

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
    words, state, printing = visit.asked("q"), _known_state(visit), visit.is_printing
    lists = {"open": _nothing(), "ended": _nothing()}
    who = await _who(visit, words)
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
        printed=PRINTED,
        searched=SEARCHED_DAYS,
        first=not visit.asked("after"),
        errors=errors,
        ticked=set(visit.fields("order")),
        typed={"reason": visit.field("reason"), "scope": visit.field("scope", "job"), "until": visit.field("until")},
    )


def _nothing() -> dict[str, Any]:
    return {"paged": Paged([], ""), "count": 0, "more": False, "lately": False}


async def _who(visit: Visit, words: str) -> Found | None:
    """The people whom the search names; None without one."""
    async with visit.database.read() as connection:
        return await search_applications(connection, words) if words else None


async def _list(
    visit: Visit, job_id: int, ended: bool, who: Found | None, state: str, printing: bool
) -> dict[str, Any]:
    after, today = visit.asked("after"), await visit.today()
    async with visit.database.read() as connection:
        is_many = who is not None and are_many(who)
        statement = job_orders(job_id, ended=ended, today=today, who=who, state=state)
        if printing:
            paged = await all_of(
                connection, statement.order_by(*(key.desc() if ended else key for key in _KEYS)), PRINTED
            )
            count, more = len(paged.rows), bool(paged.next_key)
        else:
            count, more = await bounded_count(connection, statement, COUNTED_OF_MANY if is_many else COUNTED)
            if after:
                # Beside the key of the page: this part of it the index of the runs understands.
                day = read_day(read_key(after, 2)[0])
                days = dispatch_runs.c.occasion_day
                statement = statement.where(days <= day if ended else days >= day)
            paged = await page_of(connection, statement, _KEYS, after, descending=ended)
        rows = await job_order_rows(connection, [row["id"] for row in paged.rows])
    return {"paged": replace(paged, rows=rows), "count": count, "more": more, "lately": is_many}


async def export_orders(visit: Visit) -> Response:
    """What the filter finds of both lists, whole, as a workbook."""
    job, today = await load_glance(visit), await visit.today()
    who, state = await _who(visit, visit.asked("q")), _known_state(visit)
    both = [
        job_orders(job.id, ended=ended, today=today, who=who, state=state).with_only_columns(write_orders.c.id)
        for ended in (False, True)
    ]
    source = orders_of(OrderFilter(), select(union_all(*both).subquery().c.id), named=True)
    return await download(visit, "orders", narrowed=source)


def _known_state(visit: Visit) -> str:
    state = visit.asked("state")
    return state if state in (*OPEN, "blocked", *ENDED) else ""


async def block_orders(visit: Visit) -> Response:
    """Blocks the ticked orders, each in a transaction of its own; says what became of them."""
    job = await load_glance(visit)
    ids = visit.ids("order")
    form = read_block(visit, await visit.today(), scope="job")
    errors = dict(form.errors)
    if not ids:
        errors["order"] = visit.text("Tick at least one letter.")
    if errors:
        return await _page(visit, job, 422, **errors)
    answers = Counter([await block_one(visit, order_id, form) for order_id in ids])
    blocked = sum(count for answer, count in answers.items() if answer.startswith(("blocked", "withdrawn")))
    notice = "Blocked: %(blocked)s of %(all)s."
    if late := answers["too late"]:
        notice = "Blocked: %(blocked)s of %(all)s. Too late for %(late)s."
        if form.scope != "letter":
            notice = (
                "Blocked: %(blocked)s of %(all)s. Too late for %(late)s; a wider block is stored for letters to come."
            )
    return visit.go(_back(visit, job), notice, blocked=blocked, all=len(ids), late=late)


async def lift_block(visit: Visit) -> Response:
    """Lifts the block of one order: planned again, or withdrawn if its moment has passed."""
    job = await load_glance(visit)
    if (order_id := id_of(visit.field("order"))) is None:
        raise InvalidInput("order", visit.field("order"), "go back to the first page")
    try:
        state = await unblock(visit.database, order_id, now=visit.now, author=visit.author)
    except Refused:
        return visit.go(_back(visit, job), "This letter is not blocked any more.")
    if state == "planned":
        return visit.go(_back(visit, job), "The block is lifted; the letter is planned again.")
    return visit.go(_back(visit, job), "The block is lifted; the letter's moment has passed, it is withdrawn.")


def _back(visit: Visit, job: JobGlance) -> str:
    """The list as it was narrowed, at the same page: only what is known comes back."""
    kept = {name: value for name in ("q", "state", "part", "after") if (value := visit.asked(name))}
    return f"/jobs/{job.id}/dispatch?{urlencode(kept)}"


PAGES = (
    Page("/jobs/{id:int}/dispatch", show_dispatch, "view"),
    Page("/jobs/{id:int}/dispatch/excel", export_orders, "view"),
    Page("/jobs/{id:int}/dispatch/block", block_orders, "operate", ("POST",)),
    Page("/jobs/{id:int}/dispatch/unblock", lift_block, "operate", ("POST",)),
)
