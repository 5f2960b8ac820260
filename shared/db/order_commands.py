"""What people do to one write order, each as one transaction (D32, D37)."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.approvals import (
    approval_of_order,
    ask_for_order,
    decide,
    end_approvals,
    four_eyes,
    seal_of_order,
)
from shared.db.audit_tables import approvals
from shared.db.engine import Database
from shared.db.history import record_changes
from shared.db.letter_data import load_letter_version
from shared.db.recipients import standing_blocks
from shared.db.tables import applications, attempts, write_orders
from shared.db.why_jobs import say_block
from shared.db.write_orders.interventions import (
    block_order,
    lock_unclear,
    retry_order,
    settle_unclear,
    unblock_order,
)
from shared.db.write_orders.outcomes import settle_as_sent
from shared.errors import Outdated, Refused
from shared.retry import retry_conflicts

T = TypeVar("T")


async def _in_transaction(database: Database, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def once() -> T:
        async with database.begin() as connection:
            return await work(connection)

    return await retry_conflicts(once)


async def block(
    database: Database, order_id: int, *, scope: str, reason: str, until: date | None, now: datetime, author: str
) -> str:
    """'blocked', 'withdrawn' (a manual order), 'too late', or that it was stopped already."""
    return await _in_transaction(
        database,
        lambda connection: block_order(
            connection, order_id, scope=scope, reason=reason, until=until, now=now, author=author
        ),
    )


async def unblock(database: Database, order_id: int, *, now: datetime, author: str) -> str:
    """The state after it: 'planned' or 'withdrawn'."""
    return await _in_transaction(
        database, lambda connection: unblock_order(connection, order_id, now=now, author=author)
    )


async def still_blocked(database: Database, order_id: int) -> list[str]:
    """Standing blocks that keep the order's day from its person, as people read them."""
    o = write_orders.c
    async with database.read() as connection:
        order = (await connection.execute(select(write_orders).where(o.id == order_id))).mappings().one()
        standing = standing_blocks(order["lineage_id"], order["occasion_day"])
        theirs = standing.where(applications.c.id == order["application_id"])
        return [say_block(row) for row in (await connection.execute(theirs)).mappings()]


async def retry(database: Database, order_id: int, *, now: datetime, author: str) -> None:
    """Queues a failed or no_address order again.

    With four eyes not one that may have arrived all the same (D37): nobody sends that a second time alone (S23).
    """

    async def work(connection: AsyncConnection) -> None:
        handed_over = select(write_orders.c.handed_over_at).where(write_orders.c.id == order_id)
        if await four_eyes(connection) and (await connection.execute(handed_over)).scalar() is not None:
            raise Refused("this letter may have arrived; while an order is unclear, two users can send it again")
        await retry_order(connection, order_id, now=now, author=author)

    await _in_transaction(database, work)


async def settle(database: Database, order_id: int, decision: str, *, now: datetime, author: str) -> bool:
    """A person's decision on an unclear order: sent, resend or failed. Refused for any other order.

    With four eyes a resend is only asked for (S23): False, nothing is decided yet.
    """

    async def work(connection: AsyncConnection) -> bool:
        order = await lock_unclear(connection, order_id)
        if decision == "resend" and await four_eyes(connection):
            await ask_for_order(connection, order, author=author, now=now)
            return False
        await end_approvals(connection, approvals.c.order_id == order_id, now)
        if decision == "sent":
            await settle_as_sent(connection, order_id, await _evidence(connection, order, now), now=now, author=author)
        else:
            await settle_unclear(connection, order, decision, now=now, author=author)
        return True

    return await _in_transaction(database, work)


async def decide_resend(database: Database, order_id: int, *, approve: bool, now: datetime, author: str) -> None:
    """A second user's yes or no to sending an unclear letter again (S23).

    Raises Refused if nobody asks for it, the order is not unclear any more, or it is the same user; Outdated.
    """

    async def work(connection: AsyncConnection) -> None:
        order = await lock_unclear(connection, order_id)
        asked = await approval_of_order(connection, order_id)
        if asked is None:
            raise Refused("no approval is asked for")
        if approve and asked["seal"] != seal_of_order(order):
            raise Outdated("it has changed since it was shown; look at it again")
        await decide(connection, asked, "approved" if approve else "refused", author=author, now=now)
        verb, name = "approve" if approve else "refuse", order["job_name"]
        await record_changes(connection, "order", order_id, name, verb, [], author=author, now=now)
        if approve:
            await settle_unclear(connection, order, "resend", now=now, author=author)

    await _in_transaction(database, work)


async def _evidence(connection: AsyncConnection, order: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What is known of the hand-over whose answer is missing: its attempt's row is to keep it."""
    a = attempts.c
    names = (a.message_id, a.relay, a.bytes, a.body_hash)
    handed_over = select(*names).where(a.order_id == order["id"], a.handed_over_at == order["handed_over_at"])
    found = (await connection.execute(handed_over.order_by(a.attempt_no.desc()))).mappings().first()
    letter = await load_letter_version(connection, order["letter_id"], order["letter_version"])
    subject = order["subject"] or letter.texts[0].subject
    return {"at": order["handed_over_at"] or now, "subject": subject, **(found or {})}
