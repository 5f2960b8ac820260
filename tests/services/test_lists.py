"""What the lists find, whichever way a statement looks for it."""

from typing import Any

import pytest
from sqlalchemy import insert, update

from shared.db import application_list
from shared.db.application_list import application_rows, search_applications
from shared.db.engine import Database
from shared.db.job_orders import job_order_rows, job_orders
from shared.db.jobs import delete_job
from shared.db.order_list import STATES, OrderFilter
from shared.db.order_pages import deleted_jobs, ids_of, orders_page
from shared.db.tables import applications, write_orders
from tests.services.setup_files import row
from tests.services.world import DAY, JOB, World

LONG = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(3000))
PEOPLE = (
    # As long as no entry of an index may be.
    f"A0,,{'x' * 70}{LONG},a0@x.example,Neu,",
    *("A1,,Meyer,old@x.example,Neu,", "A2,,Özkan,a2@x.example,Neu,", "A3,,Lang-Meyer,a3@x.example,Neu,"),
    *("A4,,Meyerling,a4@x.example,Neu,", "A5,,meyer,a5@x.example,Neu,", "A6,,Ott,A1@y.example,Neu,"),
)

ASKED_OF_A_JOB = (("meyerl", "", ["A4"]), ("meyer", "queued", ["A1", "A3", "A4", "A5"]), ("ö", "", ["A2"]))


async def _found(database: Database, asked: str) -> list[str]:
    async with database.read() as connection:
        statement = application_rows(await search_applications(connection, asked))
        rows = (await connection.execute(statement.order_by(applications.c.id))).mappings()
        return [one["external_id"] for one in rows]


@pytest.mark.parametrize("few", [20_000, 1], ids=["few", "many"])
@pytest.mark.parametrize(
    ("asked", "newest", "all_searched"),
    [
        ("meyer", ["A1", "A4", "A5"], ["A1", "A3", "A4", "A5"]),
        ("MEYERL", ["A4"], ["A4"]),
        ("Meyer old@", ["A1"], ["A1"]),
        ("Öz", ["A2"], ["A2"]),
        ("özkan", ["A2"], ["A2"]),
        ("A1", ["A1", "A6"], ["A1", "A6"]),
        ("y.example", ["A6"], ["A6"]),
        ("%", [], []),
        ("niemand", [], []),
        ("x" * 70, ["A0"], ["A0"]),
    ],
)
async def test_a_search_finds_beginnings_among_all_and_parts_among_the_newest(
    world: World, monkeypatch: pytest.MonkeyPatch, asked: str, newest: list[str], all_searched: list[str], few: int
) -> None:
    await world.begin(*PEOPLE)
    monkeypatch.setattr(application_list, "FEW", few)
    assert await _found(world.database, asked) == all_searched
    monkeypatch.setattr(application_list, "SEARCHED", 1)
    assert await _found(world.database, asked) == newest


async def test_a_filter_finds_the_same_orders_whether_few_or_many_fit(world: World) -> None:
    ids = await world.queued(*PEOPLE)
    job = (await row(world.database, write_orders, id=ids[0]))["job_id"]
    manual = {**await row(world.database, write_orders, id=ids[0]), "type": "manual", "task": "contract"}
    manual |= dict.fromkeys(("run_id", "job_id", "job_name", "lineage_id"))
    del manual["id"]
    async with world.database.begin() as connection:
        await connection.execute(insert(write_orders).values(manual))
        for order, state in zip(ids, ("failed", "unclear", "blocked", "sent"), strict=False):
            await connection.execute(update(write_orders).where(write_orders.c.id == order).values(state=state))
        other = update(applications).where(applications.c.external_id == "A1")
        await connection.execute(other.values(recruiter="B. Ost", recruiter_folded="b. ost"))
    every = [one["id"] for one in reversed(await world.rows())]
    by_state = [OrderFilter(state=state) for state in STATES]
    others = (
        (OrderFilter(), every),
        (OrderFilter(job_id=job), sorted(ids, reverse=True)),
        (OrderFilter(on=DAY), every),
        (OrderFilter(type="manual"), every[:1]),
        (OrderFilter(type="manual", on=DAY), every[:1]),
        (OrderFilter(type="manual", task="contract"), every[:1]),
        (OrderFilter(type="manual", task="rejection"), []),
        (OrderFilter(deleted_job=JOB), []),
        (OrderFilter(recruiter="B. Ost"), [ids[1]]),
        (OrderFilter(needs_person=True), sorted(ids[:2], reverse=True)),
        (OrderFilter(needs_person=True, recruiter="B. Ost", on=DAY), [ids[1]]),
    )
    states = {one["id"]: one["state"] for one in await world.rows()}
    wanted = [*others, *((one, [i for i in every if states[i] == one.state]) for one in by_state)]
    for which, found in wanted:
        for few in (True, False):
            assert await _pages(world.database, which, few) == found, (which, few)


async def test_d35_the_orders_of_a_deleted_job_are_found_by_its_name(world: World) -> None:
    ids = await world.queued(*PEOPLE)
    await delete_job(world.database, JOB, author="anna", now=world.clock.now())
    async with world.database.read() as connection:
        assert await deleted_jobs(connection) == [JOB]
    for few in (True, False):
        assert await _pages(world.database, OrderFilter(deleted_job=JOB), few) == sorted(ids, reverse=True)
        assert await _pages(world.database, OrderFilter(deleted_job="Anderer"), few) == []


async def _pages(database: Database, which: OrderFilter, few: bool) -> list[int]:
    """Ids of two pages of two orders, and the rest."""
    found: list[int] = []
    async with database.read() as connection:
        for size in (2, 2, 100):
            rows = await orders_page(connection, which, found[-1] if found else None, size, few=few)
            found += [one["id"] for one in rows]
        counted: list[Any] = list((await connection.execute(await ids_of(connection, which))).scalars())
    assert sorted(counted, reverse=True) == found
    return found


@pytest.mark.parametrize("few", [20_000, 1], ids=["few", "many"])
async def test_a_job_shows_the_orders_of_whom_one_looks_for(
    world: World, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    ids = await world.queued(*PEOPLE)
    monkeypatch.setattr(application_list, "FEW", few)
    job = (await row(world.database, write_orders, id=ids[0]))["job_id"]
    async with world.database.read() as connection:
        for asked, state, wanted in ASKED_OF_A_JOB:
            who = await search_applications(connection, asked)
            statement = job_orders(job, ended=False, today=DAY, who=who, state=state)
            found = list((await connection.execute(statement.order_by(write_orders.c.id))).scalars())
            rows = await job_order_rows(connection, found)
            assert [one["external_id"] for one in rows] == wanted
            assert [one["id"] for one in rows] == found
