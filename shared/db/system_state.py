"""How things stand, cheaply: what waits, what went out lately, what needs a person.

Asked every few seconds, with a million orders in the table: every statement reads a partial index or a
bounded number of rows, and a count that stopped at its bound says so.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.job_rows import schedule_of
from shared.db.order_list import held_runs, listed_state
from shared.db.tables import contact_jobs, dispatch_runs, write_orders
from shared.db.write_orders.states import in_state

_O, _R, _J = write_orders.c, dispatch_runs.c, contact_jobs.c
#: Beyond so many rows a count says "more than".
COUNTED = 10_000
#: Letters sent that are looked at for today's count and the rate.
LOOKED_AT = 50_000
#: Letters of dispatches released earlier are not looked at: they have long gone out.
_LATELY = timedelta(days=2)
#: Newest manual letters that are looked at.
_MANUAL = 20_000
MINUTES = 30


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows; `more`: there are more than that."""

    number: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Lately:
    """Letters sent since a moment (today's midnight), and in each of the last thirty minutes, oldest first."""

    since: Count
    minutes: list[int]

    @property
    def per_minute(self) -> float:
        """The rate of the last five whole minutes."""
        return sum(self.minutes[-6:-1]) / 5


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A dispatch to come; `orders` is None while its plan is not made yet."""

    job_id: int
    job: str
    send_at: datetime
    time_zone: str
    orders: Count | None
    held: bool


async def count_some(connection: AsyncConnection, condition: ColumnElement[bool], most: int = COUNTED) -> Count:
    """Orders that meet the condition, counted up to `most`."""
    some = select(literal(1)).select_from(write_orders).where(condition).limit(most + 1).subquery()
    found = int((await connection.execute(select(func.count()).select_from(some))).scalar_one())
    return Count(min(found, most), found > most)


async def count_waiting(connection: AsyncConnection, now: datetime, until: datetime) -> dict[str, Count]:
    """Orders by what they wait for: planned, due (their moment has come), until a moment, queued, sending, retrying."""
    conditions = {
        "planned": in_state("planned"),
        "due": and_(in_state("planned"), _O.planned_for <= now),
        "today": and_(in_state("planned"), _O.planned_for < until),
        "queued": in_state("queued"),
        "sending": in_state("sending"),
        "retrying": and_(in_state("queued"), _O.attempts > 0),
    }
    return {name: await count_some(connection, condition) for name, condition in conditions.items()}


_BROKEN = select(func.count()).select_from(dispatch_runs).where(_R.state == "open", _R.reason.like("failed: %"))


async def count_for_persons(connection: AsyncConnection) -> dict[str, Count]:
    """What needs a person: unclear and failed orders, those held for confirmation, dispatches that failed (D21)."""
    held_ids = list((await connection.execute(held_runs())).scalars())
    of_held = and_(_O.run_id.in_(held_ids), in_state("planned"))
    return {
        "unclear": await count_some(connection, listed_state("unclear")),
        "failed": await count_some(connection, listed_state("failed")),
        "held": await count_some(connection, of_held) if held_ids else Count(0),
        "broken": Count((await connection.execute(_BROKEN)).scalar_one()),
    }


async def sent_lately(connection: AsyncConnection, since: datetime, now: datetime) -> Lately:
    """Letters sent since a moment of the last day, and by minute."""
    first_minute = now - timedelta(minutes=MINUTES)
    earliest = min(since, first_minute)
    runs = select(_R.id).where(_R.released_at >= earliest - _LATELY)
    run_ids = list((await connection.execute(runs)).scalars())
    newest = (await connection.execute(select(func.max(_O.id)))).scalar_one() or 0
    by_hand = and_(_O.run_id.is_(None), _O.id > newest - _MANUAL)
    which = or_(_O.run_id.in_(run_ids), by_hand) if run_ids else by_hand
    sent = select(_O.sent_at).where(which, in_state("sent"), _O.sent_at >= earliest).limit(LOOKED_AT + 1)
    moments = list((await connection.execute(sent)).scalars())
    minutes = Counter(int((now - at).total_seconds() // 60) for at in moments if at <= now)
    today = sum(at >= since for at in moments)
    more = len(moments) > LOOKED_AT
    return Lately(Count(min(today, LOOKED_AT), more), [minutes[ago] for ago in reversed(range(MINUTES))])


async def last_planned(connection: AsyncConnection, until: datetime) -> datetime | None:
    """The latest send moment before `until` of an order that is planned."""
    latest = select(func.max(_O.planned_for)).where(in_state("planned"), _O.planned_for < until)
    found: datetime | None = (await connection.execute(latest)).scalar_one_or_none()
    return found


async def oldest_waiting(connection: AsyncConnection, may_go_at: datetime | None = None) -> Any:
    """The letter that waits longest (id, job_name, queued_at), among those rung longest ago; None: none waits.

    With `may_go_at` without those that are put off beyond that moment: they wait for their next try, not for a mailer.
    """
    columns = select(_O.id, _O.job_name, _O.queued_at, _O.not_before)
    # The bound comes first: where nearly all are put off, the rest would be looked for among a million.
    some = columns.where(in_state("queued")).order_by(_O.rung_at).limit(COUNTED).subquery().c
    oldest = select(some.id, some.job_name, some.queued_at).order_by(some.queued_at).limit(1)
    if may_go_at:
        oldest = oldest.where(some.not_before <= may_go_at)
    return (await connection.execute(oldest)).mappings().first()


async def reasons_of_planned(connection: AsyncConnection) -> dict[str, int]:
    """Why planned orders wait, among those that are to go out first."""
    first = select(_O.reason).where(in_state("planned")).order_by(_O.planned_for).limit(COUNTED).subquery()
    statement = select(first.c.reason, func.count()).where(first.c.reason.is_not(None)).group_by(first.c.reason)
    return {reason: int(count) for reason, count in (await connection.execute(statement)).all()}


async def last_dispatches(connection: AsyncConnection, most: int = 10) -> list[dict[str, Any]]:
    """The dispatches released last, newest first."""
    columns = (_R.job_id, _R.job_name, _R.occasion_day, _R.released_at, _R.recipients, _R.released_orders)
    statement = select(*columns).where(_R.released_at.is_not(None)).order_by(_R.released_at.desc()).limit(most)
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


async def upcoming_dispatches(connection: AsyncConnection, now: datetime, days: int = 7) -> list[Upcoming]:
    """The dispatches of the next days of every job that is An, in the order in which they come."""
    jobs = (await connection.execute(select(contact_jobs).where(_J.status == "on"))).mappings().all()
    runs = select(dispatch_runs).where(_R.state == "open")
    known = {(run["job_id"], run["occasion_day"]): run for run in (await connection.execute(runs)).mappings()}
    found = [one for job in jobs for one in await _of_job(connection, job, known, now, days)]
    return sorted(found, key=lambda one: (one.send_at, one.job))


async def _of_job(connection: AsyncConnection, job: Any, known: Any, now: datetime, days: int) -> list[Upcoming]:
    schedule = schedule_of(job)
    end = now + timedelta(days=days)
    found = []
    for day in schedule.occasion_days(schedule.first_upcoming(now)):
        if (send_at := schedule.send_moment(day)) > end:
            break
        run = known.get((job["id"], day))
        planned = and_(_O.run_id == run["id"], in_state("planned")) if run else None
        orders = await count_some(connection, planned) if planned is not None and run["synced_at"] else None
        held = bool(run and str(run["reason"] or "").startswith("held: "))
        found.append(Upcoming(job["id"], job["name"], send_at, job["time_zone"], orders, held))
    return found
