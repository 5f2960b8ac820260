"""What becomes of open orders when their application becomes another person's (D24) or is reduced (D42)."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, or_, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import applications, write_orders
from shared.db.write_orders.states import SILENT, STOPPABLE, UNCLAIMED, Change, record_orders, stop_orders
from shared.domain.duplicate_orders import PersonsOrder, Standing, arrange

_O, _A = write_orders.c, applications.c
DUPLICATE = "duplicate"
WAITS = "waits: another letter of the same job to this person is under way"
REDUCED = "reduced to core data"
_OPEN = ("planned", "queued", "sending")
#: What may be sent yet, if only after somebody unblocks it.
_MAY_BE_SENT = (*_OPEN, "blocked")


async def follow_persons(
    connection: AsyncConnection, application_ids: Sequence[int], now: datetime, author: str
) -> None:
    """Open orders after these applications became other persons', who are locked (D24, D26).

    One order per person, lineage and occasion day stays, and one under way; what is planned takes the present person.
    Claimed orders of these persons are looked at anew before T2: blocks and opt-outs may have come with the merger.
    """
    moved = _O.application_id.in_(application_ids)
    by_hand = update(write_orders).where(moved, _O.type != "contact_job", _O.state.in_(("planned", "queued")))
    await connection.execute(by_hand.values(person_id=_present_person()))
    people = set((await connection.execute(select(_A.person_id).where(_A.id.in_(application_ids)))).scalars())
    rows = await _orders_of(connection, people)
    if not rows:
        return
    done = arrange([_as_order(row) for row in rows], people)
    await _put_back(connection, done.put_back - done.withdrawn, now, author)
    await _withdraw(connection, _O.id.in_(done.withdrawn), DUPLICATE, DUPLICATE, now, author)
    await _hand_on(connection, done.following, done.swapped, now, author)
    theirs = _O.id.in_([row.id for row in rows if row.present_person_id in people])
    claimed = and_(theirs, _O.state == "sending", _O.phase == "claimed")
    await connection.execute(update(write_orders).where(claimed).values(claimed_epoch=None))


async def withdraw_orders_of_reduced(
    connection: AsyncConnection, application_ids: Sequence[int], now: datetime, author: str
) -> None:
    """Whatever of these applications can still be stopped is withdrawn, manual orders too (D25, D30, D42)."""
    await _withdraw(connection, _O.application_id.in_(application_ids), "reduced", REDUCED, now, author)


async def take_back_claims(connection: AsyncConnection, application_ids: Sequence[int]) -> None:
    """A changed address stops what is claimed but not handed over: T2 meets this row (D33)."""
    if not application_ids:
        return
    claimed = (_O.application_id.in_(application_ids), _O.state == "sending", _O.phase == "claimed")
    await connection.execute(update(write_orders).where(*claimed).values(claimed_epoch=None))


async def name_blocks_of_person(connection: AsyncConnection, copies: Sequence[tuple[int, int, int]]) -> None:
    """Blocked orders of a person's applications name the person's copy of the block they were stopped by.

    So unblocking them lifts that one (D32). `copies`: the original block, the person, the copy.
    """
    for original, person_id, copy in copies:
        theirs = select(_A.id).where(_A.person_id == person_id)
        blocked = (_O.block_id == original, _O.application_id.in_(theirs))
        await connection.execute(update(write_orders).where(*blocked).values(block_id=copy))


def _present_person() -> Any:
    return select(_A.person_id).where(_A.id == _O.application_id).scalar_subquery()


async def _orders_of(connection: AsyncConnection, people: Collection[int]) -> list[Row[Any]]:
    """The letters that may meet: of days on which these persons have one that may be sent, or under way. Locked.

    Found by the application's present person, and by the one they were made for, who holds the unique keys.
    """
    theirs = and_(_A.id == _O.application_id, _A.person_id.in_(people), _O.type == "contact_job")
    to_be_sent = select(_O.id, _O.lineage_id, _O.occasion_day).join_from(write_orders, applications, theirs)
    to_be_sent = to_be_sent.where(_O.state.in_(_MAY_BE_SENT)).order_by(_O.id).with_for_update(of=write_orders)
    found = list(await connection.execute(to_be_sent))
    if not found:
        return []
    of_these_days = _O.occasion_day.in_({row.occasion_day for row in found})
    may_meet = or_(of_these_days, _O.state.in_(("queued", "sending")))
    by_now = select(_O.id).join_from(write_orders, applications, theirs).where(may_meet)
    # Apart, so that each finds its index.
    lineages = {row.lineage_id for row in found}
    made_for = select(_O.id).where(_O.lineage_id.in_(lineages), _O.person_id.in_(people), may_meet)
    columns = (
        *(_O.id, _O.lineage_id, _O.occasion_day, _O.person_id, _O.application_id, _O.state, _O.phase, _O.attempts),
        *(_O.handed_over_at, _A.person_id.label("present_person_id")),
        *(_A.last_outgoing_at, _A.received_on, _A.external_id),
    )
    statement = select(*columns).join_from(write_orders, applications, _A.id == _O.application_id)
    return list(await connection.execute(statement.where(_O.id.in_(union(by_now, made_for))).order_by(_O.id)))


def _as_order(row: Row[Any]) -> PersonsOrder:
    return PersonsOrder(
        row.id,
        row.lineage_id,
        row.occasion_day,
        row.person_id,
        row.present_person_id,
        row.application_id,
        _standing(row),
        under_way=row.state in ("queued", "sending"),
        is_blocked=row.state == "blocked",
        tried=row.attempts > 0,
        last_outgoing_at=row.last_outgoing_at,
        received_on=row.received_on,
        external_id=row.external_id,
    )


def _standing(row: Row[Any]) -> Standing:
    if row.state == "withdrawn":
        return Standing.WITHDRAWN
    if row.state not in _OPEN or (row.state == "sending" and row.phase != "claimed"):
        return Standing.FIXED
    if row.handed_over_at is not None:
        return Standing.RESENDING
    return {"planned": Standing.PLANNED, "queued": Standing.QUEUED, "sending": Standing.CLAIMED}[row.state]


async def _withdraw(
    connection: AsyncConnection, whose: ColumnElement[bool], withdrawn_by: str, reason: str, now: datetime, author: str
) -> None:
    values = {"state": "withdrawn", "withdrawn_by": withdrawn_by, "reason": reason}
    await stop_orders(connection, whose, values, Change(now, author, "withdraw", "withdrawn", reason))


async def _put_back(connection: AsyncConnection, order_ids: Collection[int], now: datetime, author: str) -> None:
    if not order_ids:
        return
    which = and_(_O.id.in_(order_ids), STOPPABLE)
    which = await record_orders(connection, which, Change(now, author, "put_back", "planned", WAITS))
    values = {"state": "planned", "reason": WAITS, **SILENT, **UNCLAIMED}
    await connection.execute(update(write_orders).where(which).values(values))


async def _hand_on(
    connection: AsyncConnection, following: dict[int, int], swapped: dict[int, int], now: datetime, author: str
) -> None:
    if swapped:
        which = _O.id.in_(swapped)
        await record_orders(connection, which, Change(now, author, "swap", "planned", "another duplicate"))
    for column, given in ((_O.application_id, swapped), (_O.person_id, following)):
        if given:
            statement = update(write_orders).where(_O.id == bindparam("_id")).values({column: bindparam("_to")})
            await connection.execute(statement, [{"_id": one, "_to": to} for one, to in sorted(given.items())])
