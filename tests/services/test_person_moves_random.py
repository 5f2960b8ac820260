"""Whatever merges and splits in whatever order: no second letter, no lost block, no lost opt-out (D24, D26, D13)."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from shared.db.duplicates import assign_persons
from shared.db.engine import Database
from shared.db.order_commands import block
from shared.db.tables import applications, blocks, metadata, persons, write_orders
from tests.servers.fresh import fresh_database
from tests.services.history_guards import delete_everything
from tests.services.setup_files import apply
from tests.services.world import DAY, SETUP, World

T = TypeVar("T")
NAMES = ("A1", "A2", "A3", "A4")
#: Without a guard only the rules about persons keep two letters apart.
GUARDS = st.sampled_from((0, 0, 30))
TOMORROW = timedelta(days=1)
STEP = st.one_of(
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(("", "S1", "S2"))),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(("", "S1", "S2"))),
    st.tuples(st.just("keys"), st.sampled_from(("last_name", "birth_date")), st.none()),
    st.tuples(st.just("run"), st.integers(0, 1), st.none()),
    st.tuples(st.just("plan"), st.none(), st.none()),
    st.tuples(st.just("claim"), st.integers(1, 4), st.none()),
    st.tuples(st.just("send"), st.sampled_from(("sent", "queued", "unclear", "failed")), st.none()),
    st.tuples(st.just("block"), st.integers(0, 3), st.sampled_from(("letter", "job", "all"))),
    st.tuples(st.just("opt out"), st.sampled_from(NAMES), st.none()),
)
MOVE = st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(("S1", "S1", "S2")))
BEGIN = st.sampled_from(([("plan", None, None)], [("run", 0, None)], [("run", 0, None), ("claim", 2, None)]))
STEPS = st.tuples(BEGIN, MOVE, st.lists(STEP, min_size=4, max_size=12)).map(lambda g: [*g[0], g[1], *g[2]])


class History:
    """One installation, the steps taken in it, and what must hold after each."""

    def __init__(self, database: Database, folder: Path, guard: int) -> None:
        self.world, self.guard = World(database, folder), guard
        self.held: list[Any] = []
        self.sets = dict.fromkeys(NAMES, "")
        self.keys = "last_name"
        #: What was ever said against writing, by application: whoever joins it has it too.
        self.against: dict[str, set[Any]] = {name: set() for name in NAMES}

    async def begin(self) -> None:
        async with self.world.database.begin() as connection:
            await delete_everything(connection)
        await self.world.begin(*map(self._row, NAMES), setup=self._setup())

    def _setup(self) -> str:
        guarded = SETUP.replace("repeat_guard_days: 30", f"repeat_guard_days: {self.guard}")
        return guarded.replace("sync_minutes: 5", f"sync_minutes: 5, duplicate_keys: [{self.keys}]")

    def _row(self, name: str) -> str:
        # A1 and A2 have one last name, A2 and A3 one birthday.
        last, born = {"A1": ("Eins", "1"), "A2": ("Eins", "2"), "A3": ("Drei", "2"), "A4": ("Vier", "4")}[name]
        return f"{name},{self.sets[name]},{last},{name}@x.example,Neu,1990-01-0{born}"

    async def take(self, step: tuple[str, Any, Any]) -> None:
        what, first, second = step
        await getattr(self, f"_{what.replace(' ', '_')}")(first, second)
        await self._check()

    async def _move(self, name: str, to: str) -> None:
        self.sets[name] = to
        await self.world.applicants(self._row(name))

    async def _keys(self, keys: str, _: Any) -> None:
        self.keys = keys
        await apply(self.world.database, self._setup(), now=self.world.clock.now())
        async for _ in assign_persons(self.world.database, now=self.world.clock.now(), author="anna"):
            await self._check()

    async def _run(self, days: int, _: Any) -> None:
        await self.world.run(on=DAY + days * TOMORROW)

    async def _plan(self, _: Any, __: Any) -> None:
        await self.world.turn()

    async def _claim(self, count: int, _: Any) -> None:
        queued = [row["id"] for row in await self.world.rows() if row["state"] == "queued"]
        self.held += (await self.world.claim(*queued[:count])).orders

    async def _send(self, answer: str, _: Any) -> None:
        held, self.held = self.held, []
        for order in held:
            if await self.world.intend(order):
                await self._check_first_letter(order.id)
                await self.world.settle(order, answer, reason=None, not_before=self.world.clock.now())
            else:
                await self.world.settle(order, "queued", not_before=self.world.clock.now())

    async def _block(self, which: int, scope: str) -> None:
        orders = await self.world.rows()
        if orders:
            order_id, now = orders[which % len(orders)]["id"], self.world.clock.now()
            await block(self.world.database, order_id, scope=scope, reason=str(which), until=None, now=now, author="a")

    async def _opt_out(self, name: str, _: Any) -> None:
        async with self.world.database.begin() as connection:
            theirs = select(applications.c.person_id).where(applications.c.external_id == name)
            which = update(persons).where(persons.c.id.in_(theirs))
            await connection.execute(which.values(opted_out_at=self.world.clock.now(), opted_out_by=name))

    async def _orders(self) -> list[Mapping[Any, Any]]:
        """With the present person of the application."""
        o, a = write_orders.c, applications.c
        statement = select(write_orders, a.person_id.label("present")).join(applications, a.id == o.application_id)
        async with self.world.database.read() as connection:
            return list((await connection.execute(statement.order_by(o.id))).mappings())

    async def _check_first_letter(self, order_id: int) -> None:
        """No other letter of lineage and day was handed over to whoever gets this one."""
        orders = await self._orders()
        (this,) = [row for row in orders if row["id"] == order_id]
        same = [
            row for row in orders if (row["present"], row["occasion_day"]) == (this["present"], this["occasion_day"])
        ]
        assert [row["id"] for row in same if row["handed_over_at"] or row["state"] == "sent"] == [order_id]

    async def _check(self) -> None:
        live = [row for row in await self._orders() if row["state"] != "withdrawn"]
        fixed = {row["id"] for row in live if row["state"] not in ("planned", "queued", "sending")}
        fixed |= {row["id"] for row in live if row["phase"] == "handed_over"}
        days = Counter((row["present"], row["occasion_day"]) for row in live)
        for row in live:
            assert row["id"] in fixed or days[row["present"], row["occasion_day"]] == 1, live
            assert row["state"] != "planned" or row["person_id"] == row["present"], row
        under_way = Counter(row["present"] for row in live if row["state"] in ("queued", "sending"))
        assert max(under_way.values(), default=0) <= 1, live
        await self._check_restrictions()

    async def _check_restrictions(self) -> None:
        now: dict[str, set[Any]] = {}
        async with self.world.database.read() as connection:
            opted = select(applications.c.external_id, persons.c.opted_out_by).join(
                persons, persons.c.id == applications.c.person_id
            )
            for row in await connection.execute(opted):
                now[row.external_id] = {"opted out"} if row.opted_out_by else set()
            b = blocks.c
            standing = select(applications.c.external_id, b.scope, b.lineage_id, b.reason)
            joined = standing.join(blocks, b.person_id == applications.c.person_id).where(b.lifted_at.is_(None))
            for row in await connection.execute(joined):
                now[row.external_id].add((row.scope, row.lineage_id, row.reason))
        for name, before in self.against.items():
            assert before <= now[name], (name, before, now[name])
        self.against = now


async def _installed(url: str) -> Database:
    database = Database(url, pool_size=2)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return database


def _try(url: str, folder: Path, examples: int) -> None:
    with asyncio.Runner() as runner:

        def run(work: Coroutine[Any, Any, T]) -> T:
            return runner.run(work)

        database = run(_installed(url))

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(GUARDS, STEPS)
        def example(guard: int, steps: list[tuple[str, Any, Any]]) -> None:
            async def all_steps() -> None:
                history = History(database, folder, guard)
                await history.begin()
                for step in steps:
                    await history.take(step)

            run(all_steps())

        example()
        run(database.close())


def test_d24_merging_and_splitting_in_any_order_on_sqlite(tmp_path: Path) -> None:
    _try(f"sqlite:///{tmp_path / 'moves.sqlite3'}", tmp_path, 15)


def test_d24_merging_and_splitting_in_any_order_on_postgresql(servers: Mapping[str, str], tmp_path: Path) -> None:
    with fresh_database(servers["TEST_DATABASE_URL"]) as url:
        _try(url, tmp_path, 10)
