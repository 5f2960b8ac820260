"""The end of a run: no more faults, everything comes to rest, the judge looks."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import and_, func, or_, select, text

from shared.db.engine import Database
from shared.db.tables import contact_jobs, dispatch_runs, write_orders
from shared.errors import Conflict, Unavailable
from tests.chaos.checker import Verdict, judge
from tests.chaos.evidence import deliveries_of, gather
from tests.chaos.faults import OF_THE_DATABASE, switch_on_again
from tests.chaos.leaks import in_command_lines, in_files, in_rows
from tests.chaos.scene import Scene
from tests.smtp_ledger import read_ledger

#: Seconds without a fault after which everything must have come to rest.
QUIESCENCE = 120.0
#: Seconds after which a started process certainly listens to SIGTERM.
START_SECONDS = 3.0

Progress = Callable[[int, int], None]


async def conclude(scene: Scene, progress: Progress = lambda *_: None) -> Verdict:
    """Lets everything end, tells the services to end too (I19), and judges."""
    scene.crew.disarm()
    await switch_on_again(scene)
    await _come_to_rest(scene, progress)
    scene.rested = time.monotonic()
    await _all_at_work(scene)
    shown = in_command_lines(slot.process.pid for slot in scene.crew.slots if slot.process and slot.process.pid)
    unclear = await _count(scene.database, write_orders.c.state == "unclear")
    codes = await asyncio.to_thread(scene.crew.end)
    verdict = await _judge(scene)
    verdict.violations += shown
    if await _count(scene.database, write_orders.c.state == "unclear") != unclear:
        verdict.violations.append("I19: SIGTERM left letters unclear")
    verdict.violations += [f"I19: {name} ended with {code}" for name, code in codes.items() if code]
    died = [one for one in scene.crew.deaths if one.exit_code != -9 and not one.told]
    verdict.violations += [f"I18: {one.slot} ended by itself with {one.exit_code}" for one in died]
    return verdict


async def _come_to_rest(scene: Scene, progress: Progress) -> None:
    """Waits until every run is dispatched and no order waits; the checker tells what did not."""
    deadline = time.monotonic() + QUIESCENCE
    while time.monotonic() < deadline:
        scene.crew.look_after()
        progress(len(scene.mail.accepted), scene.workload.orders)
        try:
            if await _is_at_rest(scene):
                return
        except (Unavailable, Conflict):
            pass
        await asyncio.sleep(0.3)


async def _all_at_work(scene: Scene) -> None:
    """Waits until nobody has just been started: SIGTERM ends a process that cannot listen to it yet at once."""
    deadline = time.monotonic() + QUIESCENCE
    while time.monotonic() < deadline:
        scene.crew.look_after()
        if all(slot.process is not None and slot.lived > START_SECONDS for slot in scene.crew.slots):
            return
        await asyncio.sleep(0.2)


async def _is_at_rest(scene: Scene) -> bool:
    done = await _count(scene.database, dispatch_runs.c.state == "dispatched")
    if done < scene.workload.jobs or await _count(scene.database, dispatch_runs.c.state != "dispatched"):
        return False
    return not await _waiting(scene.database)


async def _waiting(database: Database) -> int:
    """Orders on their way, or unclear ones that their job sends again by itself after a quarter of an hour.

    One statement: between two of them an order may go from one to the other, and be seen by neither.
    """
    job, order = contact_jobs.c, write_orders.c
    resend = and_(order.state == "unclear", job.on_unclear == "resend", ~order.reason.startswith("resend stopped"))
    waits = or_(order.state.in_(("planned", "queued", "sending")), resend)
    source = write_orders.outerjoin(contact_jobs, job.id == order.job_id)
    async with database.read() as connection:
        statement = select(func.count()).select_from(source).where(waits)
        return int((await connection.execute(statement)).scalar_one())


async def _count(database: Database, where: Any) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).where(where))).scalar_one())


async def _judge(scene: Scene) -> Verdict:
    mails = deliveries_of(scene.mail.accepted, scene.asked)
    evidence = await gather(scene.database, read_ledger(scene.folder / "ledger.jsonl"), scene.acts, mails)
    evidence.fallen = frozenset({one.pid for one in scene.crew.deaths if one.pid is not None} | scene.stopped)
    evidence.database_was_away = bool(scene.effects.keys() & OF_THE_DATABASE)
    evidence.left_at_body = frozenset(scene.mail.oracle.left_at_body)
    verdict = judge(evidence, scene.workload.expected())
    if verdict.violations:
        # The database goes with the run's own servers: what a violation names is to be looked at afterwards.
        rows: dict[str, Any] = {"orders": evidence.orders, "attempts": evidence.attempts, "runs": evidence.runs}
        rows |= {"events": evidence.events, "acts": evidence.acts, "deliveries": evidence.deliveries}
        (scene.folder / "evidence.json").write_text(json.dumps(rows, default=str), encoding="utf-8")
    verdict.violations += in_files(scene.folder.glob("*.log")) + await in_rows(scene.database)
    if scene.broker is not None:
        # What a quorum queue keeps stands in its files as it was sent: messages are ids, nothing else.
        verdict.violations += in_files(file for file in scene.broker.folder.rglob("*") if file.is_file())
    if scene.embedded:
        async with scene.database.read() as connection:
            sound = (await connection.execute(text("PRAGMA integrity_check"))).scalar_one()
        verdict.violations += [] if sound == "ok" else [f"C29: integrity check: {sound}"]
    return verdict
