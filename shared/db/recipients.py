"""Who gets a letter: one statement, whose scope says for whom it is asked (list, plan, last look)."""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, not_, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.visitors import iterate

from shared.db.column_types import IdList, any_of, unindexed
from shared.db.prepared import Prepared
from shared.db.queries import QueryDay, StoredQuery, conditions, last_contact_at
from shared.db.tables import applications, blocks, contact_jobs, persons, write_orders

_A, _P = applications.c, persons.c
# Made once: an alias copies every column of its table, which takes longer than all the rest of a statement.
_SILENT, _QUIET = persons.alias("silent").c, persons.alias("without_birthdays").c
_GUARDS, _GUARDED = write_orders.alias("guarding"), applications.alias("guarded")
_CAPS, _CAPPED = write_orders.alias("capping"), applications.alias("capped")
_BEFORE, _YEARLY = contact_jobs.alias("before"), persons.alias("yearly")

#: States of an order that stand for a letter to the person (D13). `blocked` joins them for scope 'letter'.
GUARDING = ("queued", "sending", "sent", "unclear", "no_address", "failed")
#: States that count for the frequency cap (D27).
CAPPING = ("queued", "sending", "sent", "unclear")
#: Days within which there is at most one letter to who wants no more than one a year: so birthdays stay one apart.
YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class JobRules:
    """What a job adds to its query: lineage, repeat guard (D13) and the cap over all jobs (D27), in days."""

    job_id: int
    lineage_id: int
    guard_days: int
    cap_days: int = 0
    priority: int = 0
    #: Whether planned orders of earlier days count for the guard; not for the very next dispatch, before which none is.
    planned_count: bool = True


@dataclass(frozen=True, slots=True)
class ListScope:
    """`query list`: the query alone, with reduction and opt-out (D25), duplicates collapsed (D23)."""


@dataclass(frozen=True, slots=True)
class PlanScope:
    """The plan of a run: as the list, without whom a rule of the job stops."""

    rules: JobRules
    run_id: int
    #: Only of these people; None: of all.
    among: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class LookScope:
    """The last look on orders (D33): which of them still match; duplicates are not chosen anew.

    The orders are given when the statement is executed, as ORDER_IDS.
    """

    rules: JobRules


Scope = ListScope | PlanScope | LookScope
#: The parameter of a last look.
ORDER_IDS = "order_ids"


@lru_cache(maxsize=64)
def last_look(query: StoredQuery, on: QueryDay, rules: JobRules) -> Prepared:
    """The statement of a last look, made once for a job and day: building it costs more than asking it."""
    return Prepared(lambda: recipients(query, on, LookScope(rules)))


def recipients(query: StoredQuery, on: QueryDay, scope: Scope) -> Select[Any]:
    """The statement: application_id, person_id, rank (1 stands for the person, D23), last_contact_at.

    For a look: order_id, application_id, person_id of the orders that hold.
    """
    if isinstance(scope, LookScope):
        own = write_orders.c
        base = select(own.id.label("order_id"), _A.id.label("application_id"), _A.person_id)
        # From the orders to their applications: these alone are few.
        source = write_orders.join(applications, _A.id == unindexed(own.application_id))
        source = source.join(persons, _P.id == _A.person_id)
        held = [any_of(own.id, bindparam(ORDER_IDS, type_=IdList())), *_rules(query, scope.rules, on, own.id)]
        return base.select_from(source).where(*held, *_matching(query, on))
    statement = select(
        _A.id.label("application_id"), _A.person_id, _rank().label("rank"), last_contact_at().label("last_contact_at")
    ).select_from(applications.join(persons, _P.id == _A.person_id))
    if isinstance(scope, ListScope):
        return statement.where(*_matching(query, on))
    among = [] if scope.among is None else [any_of(_A.person_id, scope.among)]
    return statement.where(*among, *_matching(query, on), *_rules(query, scope.rules, on, None, scope.run_id))


def counted(query: StoredQuery, on: QueryDay) -> Select[Any]:
    """What `query count` asks: how many applications a ListScope finds (matched), and how many people (recipients)."""
    if _asks_for_persons(query, on):
        found = recipients(query, on, ListScope()).subquery()
        numbers = _numbers(func.count().filter(found.c.rank == 1))
        return numbers.select_from(found)
    # No join: where applications are found by index, no record is read. The few who opted out have an index too.
    opted_out = exists().where(_SILENT.id == _A.person_id, _SILENT.opted_out_at.is_not(None))
    # Not as NOT EXISTS: it would become a join, planned by how many had opted out when statistics were last made.
    which = (_A.reduced_at.is_(None), opted_out.is_not(true()), *conditions(query, on))
    # Of each person one application stands for it (D23), so nobody is ranked.
    return _numbers(func.count(_A.person_id.distinct())).select_from(applications).where(*which)


def _numbers(people: ColumnElement[int]) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [func.count().label("matched"), people.label("recipients")]
    return select(*columns)


def _asks_for_persons(query: StoredQuery, on: QueryDay) -> bool:
    parts = (part for condition in conditions(query, on) for part in iterate(condition))
    return any(getattr(part, "table", None) is persons for part in parts)


def stops(
    query: StoredQuery,
    rules: JobRules,
    on: QueryDay,
    own_order: ColumnElement[int] | None = None,
    run_id: int | None = None,
) -> dict[str, Select[Any]]:
    """By rule of a job: the records that keep its letter from the person of an application.

    Rules: block, birthday (the person wants no such letters), guard, cap, yearly (the person's own cap).

    A plan asks whether any exist; `query why` shows them. They refer to the application of the statement around.
    """
    found = {"block": standing_blocks(rules.lineage_id, on.day)}
    if query.is_about_birthdays:
        found["birthday"] = _unwanted_birthdays()
    if rules.guard_days:
        found["guard"] = _guarding_orders(rules, on, own_order, run_id)
    if rules.cap_days:
        found["cap"] = _capping_orders(rules, on, own_order, run_id, rules.cap_days)
    found["yearly"] = _capping_orders(rules, on, own_order, run_id, YEAR_DAYS, of_the_yearly=True)
    return found


async def is_anybody_capped(connection: AsyncConnection, cap_days: int) -> bool:
    """Whether one job's letters may keep another's back: by the cap over all jobs, or by somebody's own."""
    if cap_days:
        return True
    some = select(_P.id).where(_P.yearly_since.is_not(None)).limit(1)
    return (await connection.execute(some)).first() is not None


def _matching(query: StoredQuery, on: QueryDay) -> list[ColumnElement[bool]]:
    # Never selected, whatever the query says: reduced applications and persons who opted out (D25).
    return [_A.reduced_at.is_(None), _P.opted_out_at.is_(None), *conditions(query, on)]


def _rank() -> ColumnElement[int]:
    """D23: latest outgoing contact of its own, then latest received, then the greatest external id."""
    return func.row_number().over(partition_by=_A.person_id, order_by=by_preference())


def by_preference() -> tuple[ColumnElement[Any], ...]:
    """The order in which applications stand for their person (D23), the one that does first."""
    return _A.last_outgoing_at.desc().nulls_last(), _A.received_on.desc().nulls_last(), _A.external_id.desc()


def _rules(
    query: StoredQuery,
    rules: JobRules,
    on: QueryDay,
    own_order: ColumnElement[int] | None,
    run_id: int | None = None,
) -> list[ColumnElement[bool]]:
    found = {name: not_(stop.exists()) for name, stop in stops(query, rules, on, own_order, run_id).items()}
    if own_order is not None:
        # For whoever has not asked for one letter a year, the orders need not be searched once more.
        found["yearly"] = or_(_P.yearly_since.is_(None), found["yearly"])
    return list(found.values())


def standing_blocks(lineage_id: int, day: date) -> Select[Any]:
    """Standing blocks of an application's person for this lineage or for all jobs (D25, D32)."""
    b = blocks.c
    for_this_job = and_(b.scope == "job", b.lineage_id == lineage_id)
    for_all = and_(b.scope == "all", or_(b.until.is_(None), b.until >= day))
    found = select(b.scope, b.until, b.reason, b.author)
    return found.where(b.person_id == _A.person_id, b.lifted_at.is_(None), or_(for_this_job, for_all))


def _unwanted_birthdays() -> Select[Any]:
    """Since when the person wants no birthday letters. Of few people: an index has just these."""
    since = _QUIET.no_birthday_since
    return select(since).where(_QUIET.id == _A.person_id, since.is_not(None))


def _guarding_orders(
    rules: JobRules, on: QueryDay, own_order: ColumnElement[int] | None, run_id: int | None
) -> Select[Any]:
    """Other orders of lineage and person, less than the guard's days before or after the occasion (D13)."""
    o = _GUARDS.c
    near = timedelta(days=rules.guard_days - 1)
    # `no_address` stops counting when the address changes.
    address_unchanged = or_(o.state != "no_address", o.email.is_not_distinct_from(_GUARDED.c.email))
    counts = or_(and_(o.state.in_(GUARDING), address_unchanged), _blocked_letter(o))
    if (
        own_order is None and rules.planned_count
    ):  # planned orders of an earlier day count as if sent when a later day is planned
        counts = or_(counts, and_(o.state == "planned", o.occasion_day < on.day))
    return (
        select(o.occasion_day, o.state, o.job_name)
        .select_from(_GUARDS.join(_GUARDED, _GUARDED.c.id == o.application_id))
        .where(
            # All letters of a job have its lineage; the person has few.
            unindexed(o.lineage_id) == rules.lineage_id,
            _GUARDED.c.person_id == _A.person_id,
            o.occasion_day.between(on.day - near, on.day + near),
            counts,
            *_not_own(o, own_order, run_id),
        )
    )


def _blocked_letter(o: Any) -> ColumnElement[bool]:
    letter_block = exists().where(blocks.c.id == o.block_id, blocks.c.scope == "letter")
    return and_(o.state == "blocked", letter_block)


def _not_own(o: Any, own_order: ColumnElement[int] | None, run_id: int | None) -> list[ColumnElement[bool]]:
    return [o.id != own_order] if own_order is not None else [o.run_id.is_distinct_from(run_id)]


def _capping_orders(
    rules: JobRules,
    on: QueryDay,
    own_order: ColumnElement[int] | None,
    run_id: int | None,
    days: int,
    of_the_yearly: bool = False,
) -> Select[Any]:
    """The person's letters of any contact job within the cap's days, and planned ones of a job before this (D27).

    `of_the_yearly`: only where the person wants at most one letter a year.
    """
    o, theirs, job = _CAPS.c, _CAPPED.c, _BEFORE.c
    near = timedelta(days=days - 1)
    goes_before = or_(job.priority > rules.priority, and_(job.priority == rules.priority, job.id < rules.job_id))
    planned_before = and_(o.state == "planned", o.occasion_day <= on.day, goes_before)
    counts: ColumnElement[bool] = o.state.in_(CAPPING)
    if own_order is not None:
        # Of two that wait for a mailer at once, the one that goes before is sent: they must not stop each other.
        counts = or_(
            o.state.in_([state for state in CAPPING if state != "queued"]), and_(o.state == "queued", goes_before)
        )
    source = _CAPS.join(_CAPPED, theirs.id == o.application_id)
    if of_the_yearly:
        # Few: an index has just these, and the search begins with them.
        yearly = and_(_YEARLY.c.id == theirs.person_id, _YEARLY.c.yearly_since.is_not(None))
        source = source.join(_YEARLY, yearly)
    return (
        select(o.occasion_day, o.state, o.job_name)
        .select_from(source.outerjoin(_BEFORE, job.id == o.job_id))
        .where(
            o.type == "contact_job",
            theirs.person_id == _A.person_id,
            o.occasion_day.between(on.day - near, on.day + near),
            or_(counts, planned_before),
            *_not_own(o, own_order, run_id),
        )
    )
