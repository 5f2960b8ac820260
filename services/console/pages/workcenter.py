"""Every write order of every type: look for them, block them, take them along as a file."""

from collections import Counter
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from sqlalchemy import select
from starlette.responses import HTMLResponse, Response

from services.console.downloads import download
from services.console.pages.block_form import block_one, read_block
from services.console.paging import COUNTED, PAGE, Paged, read_id, total_of, write_key
from services.console.routing import Page
from services.console.visits import Visit, id_of
from services.console.words import translated_reason
from shared.db.manual_orders import TASKS
from shared.db.order_list import STATES, OrderFilter
from shared.db.order_pages import deleted_jobs, ids_of, orders_page
from shared.db.system_state import count_for_persons
from shared.db.tables import contact_jobs, write_orders
from shared.errors import InvalidInput
from shared.exporting import orders_of

#: Rows of a printed list: more is for a file.
PRINTED = 2000
#: Orders of a recruiter are counted up to here: each has to be looked up with its application.
COUNTED_JOINED = 2000
#: Orders that one form may block.
MOST_AT_ONCE = 500
_FILTERS = ("type", "state", "day", "recruiter")


async def show_workcenter(visit: Visit) -> Response:
    """The list, a page of it or (printed) all of it."""
    return await _list_page(visit)


async def _list_page(visit: Visit, status: int = 200, **form: Any) -> Response:
    asked = {name: value for name in _FILTERS if (value := visit.asked(name))}
    errors: dict[str, str] = form.pop("errors", {})
    try:
        which = _which(asked)
    except InvalidInput as exc:
        errors[exc.place], which, status = visit.refusal(exc), OrderFilter(), 422
    after, printing = visit.asked("after"), visit.is_printing
    async with visit.database.read() as connection:
        jobs = (await connection.execute(select(contact_jobs.c.id, contact_jobs.c.name).order_by("name"))).all()
        gone = await deleted_jobs(connection)
        size = PRINTED if printing else PAGE
        before = read_id(after)
        whole = write_orders if which == OrderFilter() else None
        most = COUNTED if which.recruiter is None else COUNTED_JOINED
        total = await total_of(connection, await ids_of(connection, which), whole, most)
        rows = await orders_page(connection, which, before, size + 1, few=total.exact)
    more_rows, rows = len(rows) > size, rows[:size]
    return visit.render(
        "workcenter.html",
        status,
        paged=Paged(rows, write_key([rows[-1]["id"]]) if more_rows else ""),
        asked=asked,
        kinds=("manual", *TASKS),
        jobs=[(f"job-{job.id}", job.name) for job in jobs],
        gone=[(f"deleted-{name}", name) for name in gone],
        total=total,
        first=not after,
        states=STATES,
        errors=errors,
        link=_link(asked),
        without_state=_link(asked, "state"),
        typed=form.get("typed", {}),
        excel=_link(asked, path="/workcenter.xlsx"),
        system_zone=(await visit.surroundings.zone()).key,
    )


def _link(asked: dict[str, str], but: str = "", path: str = "/workcenter") -> str:
    kept = {name: value for name, value in asked.items() if name != but}
    return f"{path}?{urlencode(kept)}"


def _which(asked: dict[str, str]) -> OrderFilter:
    """The filter of an address; raises InvalidInput."""
    which = OrderFilter(recruiter=asked.get("recruiter"))
    if state := asked.get("state"):
        if state not in (*STATES, "open"):
            raise InvalidInput("state", state, "there is no such state")
        which = replace(which, needs_person=True) if state == "open" else replace(which, state=state)
    if kind := asked.get("type"):
        if kind.startswith("job-") and (job_id := id_of(kind[4:])) is not None:
            which = replace(which, job_id=job_id)
        elif kind.startswith("deleted-"):
            which = replace(which, deleted_job=kind.removeprefix("deleted-"))
        elif kind in ("manual", "scheduled_rejection"):
            which = replace(which, type=kind)
        elif kind in TASKS:
            which = replace(which, type="manual", task=kind)
        else:
            raise InvalidInput("type", kind, "there is no such type")
    if day := asked.get("day"):
        which = replace(which, on=_day(day))
    return which


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("day", text, "is no day") from None


async def send_excel(visit: Visit) -> Response:
    """Everything that the filter finds."""
    which = _which({name: value for name in _FILTERS if (value := visit.asked(name))})
    return await download(visit, "orders", narrowed=orders_of(which, named=True))


async def block_chosen(visit: Visit) -> Response:
    """Blocks the ticked orders, each in a transaction of its own, and says how many."""
    ids = visit.ids("id")
    typed = {name: visit.field(name) for name in ("reason", "scope", "until")} | {"id": ids}
    form = read_block(visit, await visit.today())
    errors = dict(form.errors)
    if not ids:
        errors["id"] = visit.text("Tick at least one order.")
    if len(ids) > MOST_AT_ONCE:
        errors["id"] = visit.text("At most %(count)s at once.", count=MOST_AT_ONCE)
    if errors:
        return await _list_page(visit, 422, errors=errors, typed=typed)
    said: Counter[str] = Counter()
    for order_id in ids:
        said[await block_one(visit, order_id, form)] += 1
    parts = [f"{translated_reason(answer, visit.text)}: {count}" for answer, count in said.items()]
    return visit.go(_back(visit), "Done - %(parts)s.", parts=", ".join(parts))


def _back(visit: Visit) -> str:
    """The list as it was narrowed: only the known filters come back."""
    return _link({name: value for name in (*_FILTERS, "after") if (value := visit.asked(name))})


async def count_open(visit: Visit) -> Response:
    """How many orders need a person, for the menu: unclear, failed, held for confirmation."""
    async with visit.database.read() as connection:
        counts = (await count_for_persons(connection)).values()
    count, more = sum(one.number for one in counts), any(one.more for one in counts)
    shown = f"{count}+" if more else str(count)
    label = visit.text("%(count)s need a person", count=shown)
    badge = Markup('<span class="kp-count" title="{label}">{count}</span>').format(label=label, count=shown)
    # With the session's present token: a page that somebody signed in for anew, in another tab, goes on with that one.
    return HTMLResponse(badge if count else "", headers={"X-CSRF-Token": visit.signed_in.csrf})


PAGES = (
    Page("/workcenter", show_workcenter, "view"),
    Page("/workcenter.xlsx", send_excel, "view"),
    Page("/workcenter/block", block_chosen, "operate", ("POST",)),
    Page("/workcenter/open-count", count_open, "view", by_itself=True),
)
