"""The virtual days one after the other, with what each letter means for the next ones (D12, D22)."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Column, MetaData, Table, case, delete, func, insert, literal, not_, null, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.column_types import Identifier, PlainText
from shared.db.recipients import ListScope, is_anybody_capped, recipients, stops
from shared.db.system_settings import SystemSettings, load_system_settings
from shared.db.tables import applications, write_orders
from shared.db.write_orders.planning import returns_to
from shared.db.write_orders.rehearsal import add_rehearsed, forget_open_plans, forget_plan
from shared.db.write_orders.wishes import NO_BIRTHDAY, YEARLY
from shared.domain.mail_addresses import missing_address
from shared.simulation.dispatches import Dispatch, load_jobs, upcoming
from shared.simulation.effects import apply_letters, reduce_due

_A, _O = applications.c, write_orders.c
#: Whom the query of a dispatch chooses, and which rule stops the letter, if one does.
_CHOSEN = Table(
    "simulated_recipients",
    MetaData(),
    Column("person_id", Identifier, primary_key=True),
    Column("application_id", Identifier, nullable=False),
    Column("stopped_by", PlainText),
    prefixes=["TEMPORARY"],
)
#: As `skipped` says it.
_SAID = {
    "block": "blocked",
    "birthday": NO_BIRTHDAY,
    "guard": "repeat guard",
    "cap": "frequency cap",
    "yearly": YEARLY,
}
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that would be accepted by the mail server: its occasion day, and when it would go out (local)."""

    on: date
    at: datetime
    job: str
    application: str
    email: str
    person_id: int


@dataclass(frozen=True, slots=True)
class Skip:
    """Somebody whom a job's query chooses and who gets no letter, with the reason."""

    on: date
    job: str
    application: str
    reason: str


@dataclass(slots=True)
class Simulation:
    """What the days would bring, in the order in which it goes out."""

    first: date
    last: date
    letters: list[Letter] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)

    def per_day(self) -> dict[date, Counter[str]]:
        """Letters by the day on which they go out, and job."""
        found: dict[date, Counter[str]] = {}
        for letter in self.letters:
            found.setdefault(letter.at.date(), Counter())[letter.job] += 1
        return found

    def collisions(self, within_days: int = 7) -> list[tuple[Letter, Letter]]:
        """Letters of different jobs to one person with less than so many days between them."""
        last: dict[int, Letter] = {}
        found = []
        for letter in self.letters:
            before = last.get(letter.person_id)
            if (
                before is not None
                and before.job != letter.job
                and (letter.at.date() - before.at.date()).days < within_days
            ):
                found.append((before, letter))
            last[letter.person_id] = letter
        return found


async def simulate(
    connection: AsyncConnection,
    first: date,
    last: date,
    names: Collection[str] = (),
    after: datetime | None = None,
    progress: Progress = lambda done, total: None,
) -> Simulation:
    """Every dispatch of the named jobs (else of those that are An) from `first` to `last`, on a private copy.

    With `after`, only those whose send moment lies behind it. Raises NotFound for an unknown job, InvalidInput for a
    query that has become invalid.
    """
    settings = await load_system_settings(connection)
    jobs = await load_jobs(connection, names, settings)
    dispatches = _numbered(upcoming(jobs, first, last, after, settings.leap_day_birthday))
    held = {run_id for job in jobs for run_id, is_done_with in job.runs.values() if is_done_with}
    await forget_open_plans(connection, held)
    await connection.run_sync(_CHOSEN.create)
    simulation = Simulation(first, last)
    capped = await is_anybody_capped(connection, settings.frequency_cap_days)
    day = None
    for number, dispatch in enumerate(dispatches):
        send_day = dispatch.run.send_at.astimezone(settings.zone).date()
        if send_day != day:
            day = send_day
            await connection.commit()
            await reduce_due(connection, day, settings)
            if capped:
                await _plan_of_day(connection, dispatches[number:], day, settings)
        if capped:
            await forget_plan(connection, dispatch.run.run_id)
        await _dispatch(connection, dispatch, simulation, settings)
        progress(number + 1, len(dispatches))
    return simulation


def _numbered(dispatches: list[Dispatch]) -> list[Dispatch]:
    # A dispatch without a run gets an id that no run has.
    return [
        one if one.run.run_id else replace(one, run=replace(one.run, run_id=-number))
        for number, one in enumerate(dispatches, 1)
    ]


async def _plan_of_day(
    connection: AsyncConnection, coming: Collection[Dispatch], day: date, settings: SystemSettings
) -> None:
    """Plans that stand while the day's letters go out: one of a job with higher priority stops another (D27)."""
    today = [one for one in coming if one.run.occasion_day <= day or _send_day(one, settings) == day]
    for one in sorted(today, key=lambda one: (-one.job.rules.priority, one.job.id)):
        await _choose(connection, one)
        await forget_plan(connection, one.run.run_id)
        await add_rehearsed(connection, one.run, _free(), planned=True)


def _send_day(one: Dispatch, settings: SystemSettings) -> date:
    return one.run.send_at.astimezone(settings.zone).date()


async def _dispatch(
    connection: AsyncConnection, one: Dispatch, simulation: Simulation, settings: SystemSettings
) -> None:
    if not await _choose(connection, one):
        return
    written = await _record(connection, one, simulation)
    await add_rehearsed(connection, one.run, _free())
    if written:
        await apply_letters(connection, one.job, one.run.run_id, one.run.send_at, settings)


async def _choose(connection: AsyncConnection, one: Dispatch) -> int:
    """Resolves the query as the evaluator does, and what stops each of the chosen; returns how many there are."""
    await connection.execute(delete(_CHOSEN))
    ranked = recipients(one.job.query, one.on, ListScope()).subquery()
    stopped = case(
        (_order_of_the_day(one).exists(), "there is an order of this day"),
        *(
            (records.exists(), _SAID[rule])
            for rule, records in stops(one.job.query, one.job.rules, one.on, run_id=one.run.run_id).items()
        ),
        else_=null(),
    )
    chosen = (
        select(_A.person_id, _A.id, stopped)
        .select_from(ranked.join(applications, _A.id == ranked.c.application_id))
        .where(ranked.c.rank == 1)
    )
    await connection.execute(insert(_CHOSEN).from_select(["person_id", "application_id", "stopped_by"], chosen))
    return int((await connection.execute(select(func.count()).select_from(_CHOSEN))).scalar_one())


def _order_of_the_day(one: Dispatch) -> Any:
    own_day = (_O.lineage_id == one.job.lineage_id, _O.occasion_day == one.run.occasion_day)
    ended = (_O.state != "planned", not_(returns_to(one.job.id)))
    return select(literal(1)).where(*own_day, _O.person_id == _A.person_id, *ended)


def _free() -> Any:
    return select(_CHOSEN).where(_CHOSEN.c.stopped_by.is_(None)).subquery()


async def _record(connection: AsyncConnection, one: Dispatch, simulation: Simulation) -> bool:
    """Adds what this dispatch brings to the result; says whether there is any letter."""
    statement = (
        select(_A.external_id, _A.email, _A.usable_email, _CHOSEN.c.person_id, _CHOSEN.c.stopped_by)
        .join(_CHOSEN, _CHOSEN.c.application_id == _A.id)
        .order_by(_A.external_id)
    )
    day, name, before = one.run.occasion_day, one.job.name, len(simulation.letters)
    at = one.run.send_at.astimezone(one.on.zone)
    for row in await connection.execute(statement):
        reason = row.stopped_by or (None if row.usable_email else f"no_address: {missing_address(row.email)}")
        if reason:
            simulation.skipped.append(Skip(day, name, row.external_id, reason))
        else:
            simulation.letters.append(Letter(day, at, name, row.external_id, row.email, row.person_id))
    return len(simulation.letters) > before
