"""What people do to one write order, each as one transaction (D32, D37)."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.letter_data import load_letter_version
from shared.db.tables import attempts, write_orders
from shared.db.write_orders.interventions import block_order, retry_order, settle_unclear, unblock_order
from shared.db.write_orders.outcomes import settle_as_sent
from shared.errors import NotFound, Refused
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
    """'blocked', 'withdrawn' (a manual order) or 'too late'."""
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


async def retry(database: Database, order_id: int, *, now: datetime, author: str) -> None:
    """Queues a failed or no_address order again."""
    await _in_transaction(database, lambda connection: retry_order(connection, order_id, now=now, author=author))


async def settle(database: Database, order_id: int, decision: str, *, now: datetime, author: str) -> None:
    """A person's decision on an unclear order: sent, resend or failed."""

    async def work(connection: AsyncConnection) -> None:
        o, a = write_orders.c, attempts.c
        order = (await connection.execute(select(write_orders).where(o.id == order_id))).mappings().first()
        if order is None:
            raise NotFound("order", order_id)
        if order["state"] != "unclear":
            raise Refused(f"order {order_id} is {order['state']}, not unclear")
        statement = select(a.handed_over_at, a.message_id).where(a.order_id == order_id, a.handed_over_at.is_not(None))
        attempt = (await connection.execute(statement.order_by(a.attempt_no.desc()))).first()
        handed_over = attempt.handed_over_at if attempt else now
        if decision != "sent":
            await settle_unclear(connection, order_id, decision, handed_over, now=now, author=author)
            return
        letter = await load_letter_version(connection, order["letter_id"], order["letter_version"])
        subject = order["subject"] or letter.texts[0].subject
        evidence = {
            "handed_over_at": handed_over,
            "message_id": attempt.message_id if attempt else None,
            "subject": subject,
        }
        await settle_as_sent(connection, order_id, evidence, author)

    await _in_transaction(database, work)
