"""One write order: its facts, attempts and history, and what a person may decide about it."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from services.console.pages.block_form import block_one, read_block
from services.console.routing import Page
from services.console.visits import Visit
from services.console.words import translated_reason
from shared.db.approvals import approval_of_order
from shared.db.order_commands import decide_resend, retry, settle, still_blocked, unblock
from shared.db.order_list import STATES, show_order
from shared.db.order_pages import load_order_record

#: What happened to an order, by the name of the event.
ACTS = {
    "block": "blocked",
    "unblock": "unblocked",
    "withdraw": "withdrawn",
    "return": "planned again",
    "swap": "goes to another application of the person",
    "retry": "tried again",
    "settle": "settled",
    "settle_resend": "settled: to be sent again",
    "create": "created",
    "put_back": "put back",
    "unclear": "no answer",
    "resend": "sent again",
    "refused": "refused for good",
    "last_look": "stopped by the last look",
    "expire": "expired",
    "status_not_set": "status not set",
    "erase": "words erased from the history",
    "ask_approval": "approval asked for",
    "approve": "approved",
    "refuse": "approval refused",
    "consent_stay": "wants to stay in the pool",
    "consent_delete": "asks to be deleted",
    "consent_deleted": "rejected and erased as the person asked",
    "consent_lapsed": "rejected: no answer in time",
    "consent_void": "no answer, and nothing comes of it",
}
#: First digit of a mail server's answer, and what it means.
ANSWERS = {
    "2": "accepted",
    "4": "not now, to be tried again",
    "5": "refused for good",
}
_DECISIONS = ("sent", "resend", "failed")


async def show_order_record(visit: Visit) -> Response:
    """The whole page; its content alone where the drawer asks."""
    return await _page(visit)


async def _page(visit: Visit, status: int = 200, errors: Mapping[str, str] | None = None) -> Response:
    order_id = visit.path("id")
    async with visit.database.read() as connection:
        order = await load_order_record(connection, order_id)
        found = await show_order(connection, order_id)
        asked = await approval_of_order(connection, order_id)
    tries = [_said(visit, one) for one in found["attempt_history"]]
    typed = {name: visit.field(name) for name in ("reason", "scope", "until")}
    return visit.render(
        "order_drawer.html" if visit.is_partial else "order.html",
        status,
        order=order,
        tries=tries,
        events=found["events"],
        states=STATES,
        asked=asked,
        typed=typed,
        errors=errors or {},
        acts={name: visit.text(text) for name, text in ACTS.items()},
    )


def _said(visit: Visit, one: Mapping[str, Any]) -> dict[str, Any]:
    """An attempt with its outcome and the mail server's answer in plain words."""
    code = str(one["reply_code"] or "")
    meaning = visit.text(ANSWERS[code[0]]) if code[:1] in ANSWERS else ""
    answer = " ".join(part for part in (meaning, f"({code} {one['reply_text'] or ''})" if code else "") if part)
    return {**one, "said": translated_reason(one["outcome"] or "", visit.text), "answer": answer}


async def take_block(visit: Visit) -> Response:
    """Blocks the order, or withdraws a manual one (D32)."""
    form = read_block(visit, await visit.today())
    if form.errors:
        return await _page(visit, 422, form.errors)
    answer = await block_one(visit, visit.path("id"), form)
    return visit.go(_here(visit), "The letter: %(answer)s.", answer=translated_reason(answer, visit.text))


async def take_unblock(visit: Visit) -> Response:
    """Lifts the block of the order."""
    order_id = visit.path("id")
    state = await unblock(visit.database, order_id, now=visit.now, author=visit.author)
    if standing := await still_blocked(visit.database, order_id):
        return visit.go(_here(visit), "Unblocked; another block stands: %(blocks)s", blocks="; ".join(standing))
    if state == "planned":
        return visit.go(_here(visit), "Unblocked: the letter is planned again.")
    return visit.go(_here(visit), "Unblocked after its dispatch: the letter is withdrawn.")


async def take_retry(visit: Visit) -> Response:
    """Queues a failed or unaddressed order again."""
    await retry(visit.database, visit.path("id"), now=visit.now, author=visit.author)
    return visit.go(_here(visit), "The letter is queued again.")


async def take_decision(visit: Visit) -> Response:
    """Settles an unclear order (D37)."""
    decision = visit.field("decision")
    if decision not in _DECISIONS:
        return await _page(visit, 422)
    done = await settle(visit.database, visit.path("id"), decision, now=visit.now, author=visit.author)
    if not done:
        return visit.go(_here(visit), "Another user has to approve that the letter is sent again.")
    return visit.go(_here(visit), "The letter is settled.")


async def take_approval(visit: Visit) -> Response:
    """A second user's yes or no to sending an unclear letter again (S23)."""
    approve = visit.field("decision") == "approve"
    await decide_resend(visit.database, visit.path("id"), approve=approve, now=visit.now, author=visit.author)
    if approve:
        return visit.go(_here(visit), "Approved: the letter is sent again.")
    return visit.go(_here(visit), "Refused: the letter is not sent again.")


def _here(visit: Visit) -> str:
    return f"/orders/{visit.path('id')}"


PAGES = (
    Page("/orders/{id:int}", show_order_record, "view"),
    Page("/orders/{id:int}/block", take_block, "operate", ("POST",)),
    Page("/orders/{id:int}/unblock", take_unblock, "operate", ("POST",)),
    Page("/orders/{id:int}/retry", take_retry, "operate", ("POST",)),
    Page("/orders/{id:int}/settle", take_decision, "operate", ("POST",)),
    Page("/orders/{id:int}/approval", take_approval, "operate", ("POST",)),
)
