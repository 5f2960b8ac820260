"""What a plan was made from, so that keeping it current costs what changed since, not the table (D14).

Only between a run's first plan and its send moment. The first plan, the release and `job run` look at everybody.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import Database
from shared.db.person_changes import (
    Mark,
    any_changes,
    begin_looking,
    changed_people,
    end_looking,
    forget_changes,
    lock_log,
)
from shared.db.tables import contact_jobs, dispatch_runs, persons
from shared.db.write_orders.planning import unsettled_people

_R, _J = dispatch_runs.c, contact_jobs.c
#: More changed people than one of so many, and than `FEW`: it is cheaper to look at everybody.
SHARE, FEW = 20, 500
#: Changes are kept for plans that were looked at within this time. Others look at everybody when they come.
KEPT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PlanBasis:
    """What decides a plan besides the people's own data, as a hash, and where the log of people stood."""

    key: str
    mark: Mark

    @classmethod
    def of(cls, run: Mapping[str, Any]) -> "PlanBasis | None":
        """As the run keeps it; None: never planned, or by a step that looks at everybody anyway."""
        kept = run["basis"]
        return cls(kept["key"], Mark(kept["position"], kept["own"])) if kept else None

    def kept(self) -> dict[str, Any]:
        """As the run keeps it."""
        return {"key": self.key, "position": self.mark.position, "own": self.mark.own}


async def begin_plan(
    connection: AsyncConnection, statement: Select[Any], job: Mapping[str, Any], capped: bool
) -> PlanBasis:
    """The basis of a plan that `statement` makes from now on. Locks the log's end until the commit."""
    return PlanBasis(await _key(connection, statement, job, capped), await begin_looking(connection))


async def end_plan(connection: AsyncConnection, basis: PlanBasis) -> dict[str, Any]:
    """What the run is to keep of it, once the plan is made; one plan a transaction."""
    return PlanBasis(basis.key, await end_looking(connection, basis.mark)).kept()


async def whom_to_look_at(
    connection: AsyncConnection, run: Mapping[str, Any], basis: PlanBasis
) -> Collection[int] | None:
    """The people whose place in the run's plan may have changed since it was made; None: everybody's may have."""
    before = PlanBasis.of(run)
    if before is None or before.key != basis.key or before.mark.position > basis.mark.position:
        return None
    limit = max(FEW, await _people(connection) // SHARE)
    changed = await changed_people(connection, before.mark, limit)
    if changed is None:
        return None
    unsettled = await unsettled_people(connection, run, limit + 1)
    changed |= unsettled
    return sorted(changed) if len(changed) <= limit else None


async def forget_read_changes(database: Database, now: datetime) -> int:
    """Prunes the log of people: what every plan that is kept current has seen, and what nobody will ask for."""
    async with database.read() as connection:
        if not await any_changes(connection):
            return 0
    async with database.begin() as connection:
        if not await lock_log(connection):
            return 0
        on = select(_R.basis).join(contact_jobs, _J.id == _R.job_id).where(_J.status == "on")
        open_plans = on.where(_R.due_at.is_not(None), _R.state == "open", _R.synced_at >= now - KEPT)
        found = (await connection.execute(open_plans)).scalars()
        return await forget_changes(connection, [basis["position"] for basis in found if basis])


async def _key(connection: AsyncConnection, statement: Select[Any], job: Mapping[str, Any], capped: bool) -> str:
    """The statement with its values: query, statuses, day, zone, settings, guard, cap, and this release's rules."""
    compiled = statement.compile(dialect=connection.dialect)
    said: list[Any] = [job["epoch"], str(compiled), sorted(compiled.params.items())]
    if capped:  # which of two jobs goes before (D27)
        jobs = await connection.execute(select(_J.id, _J.priority).order_by(_J.id))
        said.append([tuple(row) for row in jobs])
    if connection.dialect.name == "postgresql":
        # Another server's transactions have other numbers: a restored database is looked at as a whole.
        started = text("SELECT extract(epoch FROM pg_postmaster_start_time())::text")
        said.append((await connection.execute(started)).scalar_one())
    return sha256(repr(said).encode()).hexdigest()


async def _people(connection: AsyncConnection) -> int:
    """About how many persons there are: counting them would cost what this saves."""
    return int((await connection.execute(select(func.coalesce(func.max(persons.c.id), 0)))).scalar_one())
