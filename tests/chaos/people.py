"""People at work while letters go out: what they do by the product's own functions, with the times of it."""

import asyncio
import time
from collections.abc import Awaitable
from random import Random

from sqlalchemy import select

from shared.db.jobs import set_job
from shared.db.person_commands import block, opt_out
from shared.db.tables import applications, write_orders
from shared.errors import KontaktpflegeError
from shared.importing.applications import import_applications
from tests.chaos.acts import Act, Kind
from tests.chaos.plan import Event
from tests.chaos.scene import Scene
from tests.services.setup_files import apply

#: How many people one event is about, and of how many that come next.
CHOSEN, AMONG = 16, 80


async def people_decide(scene: Scene, event: Event) -> None:
    """Of those whose letters are under way or come next: addresses change, people opt out, others are blocked."""
    rng = Random(event.choice)
    next_ones = await _next_ones(scene)
    chosen = rng.sample(next_ones, min(CHOSEN, len(next_ones)))
    movers, leavers = chosen[::4], chosen[1::4]
    everywhere, one_job = [name for name, _ in chosen[2::4]], chosen[3::4]
    await asyncio.gather(
        _move(scene, [name for name, _ in movers]),
        *(_opt_out(scene, name) for name, _ in leavers),
        *(_block(scene, name, None) for name in everywhere),
        *(_block(scene, name, job) for name, job in one_job),
        edit_letter(scene),
    )


async def switch(scene: Scene, job: str, status: str) -> None:
    """A job to Aus or An."""
    work = set_job(scene.database, job, {"status": status}, author="test", now=scene.clock.now())
    await _note(scene, Kind.OFF if status == "Aus" else Kind.ON, [job], work, passes_on=True)


async def edit_letter(scene: Scene) -> None:
    """A new edition of the letter that all jobs send."""
    edition = scene.editions = scene.editions + 1
    work = apply(scene.database, scene.workload.letter(edition), now=scene.clock.now())
    await _note(scene, Kind.LETTER, ["Brief"], work, str(edition))


async def _next_ones(scene: Scene) -> list[tuple[str, str]]:
    """External id and job of people with an address, of whom nobody has done anything yet."""
    o, a = write_orders.c, applications.c
    statement = select(a.external_id, o.job_name).join_from(write_orders, applications, a.id == o.application_id)
    statement = statement.where(o.state.in_(("planned", "queued", "sending"))).order_by(o.planned_for, o.id)
    async with scene.database.read() as connection:
        rows = (await connection.execute(statement.limit(AMONG))).all()
    known = {act.whom for act in scene.acts}
    return [(row[0], row[1]) for row in rows if row[0] not in known and scene.workload.has_address(row[0])]


async def _move(scene: Scene, names: list[str]) -> None:
    """New addresses, from a file as another system writes it."""
    file = scene.folder / f"moved-{time.monotonic_ns()}.csv"
    new = {name: scene.workload.address(name, "neu") for name in names}
    lines = ["external_id,email", *(f"{name},{address}" for name, address in new.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    work = import_applications(scene.database, file, now=scene.clock.now(), author="test")
    await _note(scene, Kind.ADDRESS, names, work, *(f"{scene.workload.address(one)} {new[one]}" for one in names))


async def _opt_out(scene: Scene, name: str) -> None:
    work = opt_out(scene.database, name, reason="asked for it", author="test", now=scene.clock.now())
    await _note(scene, Kind.OPT_OUT, [name], work)


async def _block(scene: Scene, name: str, job: str | None) -> None:
    now = scene.clock.now()
    work = block(scene.database, name, job=job, until=None, reason="not now", author="test", now=now)
    await _note(scene, Kind.BLOCK, [name], work)


async def _note(
    scene: Scene, kind: Kind, whom: list[str], work: Awaitable[object], *values: str, passes_on: bool = False
) -> None:
    """Does it and takes down when: one act for each of `whom`. What failed may have happened all the same."""
    began = time.monotonic()
    done: float | None = None
    try:
        await work
        done = time.monotonic()
    except KontaktpflegeError:
        if passes_on:
            raise
    finally:
        at = scene.clock.now()
        told = values or ("",) * len(whom)
        scene.acts += [Act(kind, one, began, done, at, value) for one, value in zip(whom, told, strict=True)]
