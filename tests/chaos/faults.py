"""Doing what a plan says, to the servers and services of one run."""

import asyncio
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

import pika
from sqlalchemy import select

from services.mailer.service import BATCHES_ASKED_FOR
from shared.bus.connect import look
from shared.bus.messages import JobDue, WriteOrderReady, encode
from shared.bus.topology import EXCHANGE, route_of
from shared.db.dispatch import run_now
from shared.db.tables import attempts, contact_jobs, dispatch_runs, write_orders
from shared.errors import KontaktpflegeError
from tests.chaos.crew import Slot
from tests.chaos.people import people_decide, switch
from tests.chaos.plan import Event, Fault
from tests.chaos.scene import SCALED, Scene

#: Longer than a claim's lease in a run.
STOPPED_SECONDS = 6.0
#: Messages that a full queue holds.
QUEUE_LENGTH = 10
#: Within these it is empty again, usually.
EMPTIED_SECONDS = 20.0
#: Within these a process that was started works, on a busy machine too.
BIRTH_SECONDS = 3.0
_QUEUES = (route_of(JobDue).queue, route_of(WriteOrderReady).queue)
#: None of these may stop a service, or be taken for a doorbell.
_POISON = (
    b"",
    b"\x00\xff garbage",
    b"[1, 2",
    b'{"v": 99, "type": "write_order_ready", "order_id": 1}',
    b'{"v": 1, "type": "write_order_ready", "order_id": "1; DROP TABLE write_orders"}',
    b'{"v": 1, "type": "something_else", "order_id": 1}',
    encode(WriteOrderReady(999_999_999)),
    encode(JobDue(999_999_999)),
    encode(WriteOrderReady(2**80)),
    b"x" * 2_000_000,
)


async def do(scene: Scene, event: Event) -> None:
    """Does one fault and takes it back where it ends; a database that is away just now makes it a short one.

    While it is on, `scene.struck` is set; a fault that is over at once sets it too. `scene.effects` counts those that
    found something to do: not a signal for somebody who is just not there, or a publish that the broker never took.
    """
    async with scene.turn if event.fault in _OF_SERVERS else nullcontext():
        began = time.monotonic()
        with suppress(KontaktpflegeError):
            if await _FAULTS[event.fault](scene, event) is not False:
                scene.effects[event.fault] += 1
        scene.struck.set()
        if event.fault in _OF_ALL:
            scene.windows.append((began, time.monotonic()))


async def _kill(scene: Scene, event: Event) -> bool:
    return scene.crew.send(scene.crew.slots[event.choice % len(scene.crew.slots)], signal.SIGKILL)


async def _stop(scene: Scene, event: Event) -> bool:
    mailers = [slot for slot in scene.crew.slots if slot.role in ("mailer", "all")]
    # Where some hold letters, one of these: the lease of nothing cannot run out.
    for slot in [*await _holding_letters(scene, mailers), mailers[event.choice % len(mailers)]]:
        is_last = slot is mailers[event.choice % len(mailers)]
        with _standing_still(scene, [slot]) as stopped:
            # Looked at again when it stands still: what it held a moment before it may have handed over since.
            if stopped and (is_last or slot in await _holding_letters(scene, mailers)):
                await _on_for(scene, STOPPED_SECONDS)
                return True
    return False


@contextmanager
def _standing_still(scene: Scene, slots: list[Slot]) -> Iterator[list[Slot]]:
    """Stops processes, and lets those go on that are still the same, whatever happens meanwhile."""
    stopped = [(slot, slot.process) for slot in slots if scene.crew.send(slot, signal.SIGSTOP)]
    scene.stopped |= {process.pid for _, process in stopped if process is not None and process.pid is not None}
    try:
        yield [slot for slot, _ in stopped]
    finally:
        for slot, process in stopped:
            if slot.process is process:
                scene.crew.send(slot, signal.SIGCONT)


async def _holding_letters(scene: Scene, mailers: list[Slot]) -> list[Slot]:
    sending = select(attempts.c.mailer).join(write_orders, write_orders.c.lease_token == attempts.c.lease_token)
    async with scene.database.read() as connection:
        names = set((await connection.execute(sending.where(write_orders.c.phase == "claimed"))).scalars())
    pids = {int(name.split(":")[1]) for name in names}
    return [slot for slot in mailers if slot.process is not None and slot.process.pid in pids]


async def _on_for(scene: Scene, seconds: float) -> None:
    scene.struck.set()
    await asyncio.sleep(seconds)


async def _broker_kill(scene: Scene, _: Event) -> None:
    assert scene.broker is not None
    await _off_and_on(scene, scene.broker.kill, 0.0, scene.broker.start, Fault.BROKER_KILL)


async def _broker_restart(scene: Scene, _: Event) -> None:
    assert scene.broker is not None
    await _off_and_on(scene, scene.broker.stop, 3.0, scene.broker.start, Fault.BROKER_RESTART)


async def _broker_wipe(scene: Scene, _: Event) -> None:
    assert scene.broker is not None
    await _off_and_on(scene, scene.broker.wipe, 0.0, scene.broker.start, Fault.BROKER_WIPE)


async def _database_crash(scene: Scene, event: Event) -> None:
    assert scene.server is not None
    await _off_and_on(scene, scene.server.crash, event.choice % 4, scene.server.start, Fault.DATABASE_CRASH)


async def _off_and_on(scene: Scene, off: Callable[[], None], away: float, on: Callable[[], None], fault: Fault) -> None:
    await asyncio.to_thread(off)
    await _on_for(scene, away)
    await asyncio.to_thread(on)
    scene.returns.append((time.monotonic(), fault.value))


async def _queue_deleted(scene: Scene, event: Event) -> None:
    assert scene.broker is not None
    await asyncio.to_thread(scene.broker.delete_queue, _QUEUES[event.choice % 2])


async def _queue_full(scene: Scene, _: Event) -> None:
    """Mailers that take nothing more, and a queue that takes nothing either."""
    assert scene.broker is not None
    mailers = [slot for slot in scene.crew.slots if slot.role == "mailer"]
    with _standing_still(scene, mailers):
        await asyncio.to_thread(scene.broker.limit_queues, QUEUE_LENGTH)
        # More than they have asked for in advance.
        ids = range(999_000_000, 999_000_000 + BATCHES_ASKED_FOR * int(SCALED["KP_CLAIM_BATCH"]) * len(mailers) + 100)
        filling = [(_QUEUES[1], encode(WriteOrderReady(number))) for number in ids]
        await asyncio.to_thread(_publish, scene, filling, confirmed=False)
        await _on_for(scene, 3.0)
    # Emptied first: RabbitMQ 3.10 goes on refusing a publisher it has refused when the limit ends before that.
    await _emptied(scene.broker.url, _QUEUES[1])
    await asyncio.to_thread(scene.broker.limit_queues, None)


async def _emptied(url: str, queue: str) -> None:
    """Waits until nothing waits in a queue, for some time at most."""
    with suppress(TimeoutError, KontaktpflegeError):
        async with asyncio.timeout(EMPTIED_SECONDS):
            while any(depth.queue == queue and depth.messages for depth in await look(url)):  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def _memory_alarm(scene: Scene, _: Event) -> None:
    assert scene.broker is not None
    await asyncio.to_thread(scene.broker.memory_alarm, raised=True)
    await _on_for(scene, 3.0)
    await asyncio.to_thread(scene.broker.memory_alarm, raised=False)


async def _cut(scene: Scene, _: Event) -> bool:
    return sum(relay.cut() for relay in scene.all_relays) > 0


async def _freeze(scene: Scene, _: Event) -> None:
    for relay in scene.all_relays:
        relay.freeze()
    await _on_for(scene, STOPPED_SECONDS)
    for relay in scene.all_relays:
        relay.thaw()


async def _commit_cut(scene: Scene, _: Event) -> bool:
    relays = scene.relays["DATABASE_URL"].values()
    before = sum(relay.commits_cut for relay in relays)
    for relay in relays:
        relay.commits_to_cut = 5
    with suppress(TimeoutError):
        async with asyncio.timeout(5.0):
            while sum(relay.commits_cut for relay in relays) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    return sum(relay.commits_cut for relay in relays) > before


async def _far_away(scene: Scene, _: Event) -> None:
    for relay in scene.all_relays:
        relay.delay = 0.1
    await _on_for(scene, 5.0)
    for relay in scene.all_relays:
        relay.delay = 0.0


async def _read_only(scene: Scene, _: Event) -> None:
    assert scene.server is not None
    await asyncio.to_thread(scene.server.read_only, True)
    await _on_for(scene, 3.0)
    await asyncio.to_thread(scene.server.read_only, False)
    scene.returns.append((time.monotonic(), Fault.READ_ONLY.value))


async def _files(scene: Scene, event: Event) -> bool:
    slot = scene.crew.slots[event.choice % len(scene.crew.slots)]
    # Nothing can be born without file descriptors: an event loop's library aborts. That is the supervisor's to repair.
    for _ in range(100):
        if slot.process is not None and slot.lived > BIRTH_SECONDS:
            break
        await asyncio.sleep(0.1)
    else:
        return False
    await _limited(scene, [slot], resource.RLIMIT_NOFILE, 8)
    return True


async def _disk(scene: Scene, _: Event) -> None:
    await _limited(scene, scene.crew.slots, resource.RLIMIT_FSIZE, 1)


async def _limited(scene: Scene, slots: list[Slot], what: int, limit: int) -> None:
    """A limit of the operating system for running processes, and its end."""
    limited = [slot.process for slot in slots if slot.process is not None]
    before = resource.getrlimit(what)
    for number in (limit, before[0]):
        for process in limited:
            with suppress(ProcessLookupError, ValueError):
                if process.pid is not None:
                    resource.prlimit(process.pid, what, (number, before[1]))
        if number == limit:
            if what == resource.RLIMIT_NOFILE:
                await scene.mail.away(0.0)  # who has to connect again cannot
            await _on_for(scene, 3.0)


async def _mail_server_away(scene: Scene, _: Event) -> None:
    scene.struck.set()
    await scene.mail.away(3.0)


async def _repeated(scene: Scene, _: Event) -> bool:
    async with scene.database.read() as connection:
        orders = list((await connection.execute(select(write_orders.c.id))).scalars())
        runs = list((await connection.execute(select(dispatch_runs.c.id))).scalars())
    chosen = scene.rng.sample(orders, min(100, len(orders))) * 3
    bodies = [(_QUEUES[1], encode(WriteOrderReady(order))) for order in chosen]
    bodies += [(_QUEUES[0], encode(JobDue(run))) for run in scene.rng.sample(runs, min(10, len(runs))) * 2]
    scene.rng.shuffle(bodies)
    return await asyncio.to_thread(_publish, scene, bodies)


async def _poison(scene: Scene, _: Event) -> bool:
    return await asyncio.to_thread(_publish, scene, [(queue, body) for queue in _QUEUES for body in _POISON])


def _publish(scene: Scene, bodies: list[tuple[str, bytes]], *, confirmed: bool = True) -> bool:
    """Whether the broker took any."""
    assert scene.broker is not None
    taken = 0
    with suppress(pika.exceptions.AMQPError, OSError):
        connection = pika.BlockingConnection(pika.URLParameters(scene.broker.url))
        channel = connection.channel()
        if confirmed:
            channel.confirm_delivery()
        for queue, body in bodies:
            channel.basic_publish(EXCHANGE.name, queue, body, mandatory=confirmed)
            taken += 1
        connection.close()
    scene.published += taken * confirmed
    return taken > 0


async def _aus_an(scene: Scene, event: Event) -> None:
    name = await _a_job(scene, event.choice)
    scene.off.add(name)
    await switch(scene, name, "Aus")
    await _on_for(scene, 1.0 + event.choice % 3)
    # Until it is: the clock goes 60 times as fast, and what passes while a job is off for six hours is withdrawn.
    for _ in range(120):
        with suppress(KontaktpflegeError):
            await switch(scene, name, "An")
            scene.off.discard(name)
            break
        await asyncio.sleep(0.5)


async def _released_twice(scene: Scene, event: Event) -> bool:
    name = await _a_job(scene, event.choice)

    async def release() -> None:
        async with scene.database.begin() as connection:
            await run_now(connection, name, None, scene.clock.now(), "test")

    answers = await asyncio.gather(release(), release(), return_exceptions=True)
    broken = [one for one in answers if isinstance(one, BaseException) and not isinstance(one, KontaktpflegeError)]
    if broken:
        raise broken[0]
    # One of them at least was let through; the other one may have been told to try again.
    return any(not isinstance(one, BaseException) for one in answers)


async def _a_job(scene: Scene, choice: int) -> str:
    """A job that is under way, or due next."""
    j, r = contact_jobs.c, dispatch_runs.c
    soon = select(j.name).join(dispatch_runs, r.job_id == j.id).where(r.send_at <= scene.clock.now())
    async with scene.database.read() as connection:
        names = list((await connection.execute(soon.order_by(r.send_at.desc()).limit(5))).scalars())
        names = names or list((await connection.execute(select(j.name).order_by(j.id).limit(5))).scalars())
    return str(names[choice % len(names)])


async def switch_on_again(scene: Scene) -> None:
    """Jobs that a fault left Aus, because the database was away when it wanted them An."""
    for name in sorted(scene.off):
        await switch(scene, name, "An")
    scene.off.clear()


#: What each does; False: it found nothing to do.
_FAULTS: dict[Fault, Callable[[Scene, Event], Awaitable[bool | None]]] = {
    Fault.KILL: _kill,
    Fault.STOP: _stop,
    Fault.BROKER_KILL: _broker_kill,
    Fault.BROKER_RESTART: _broker_restart,
    Fault.BROKER_WIPE: _broker_wipe,
    Fault.QUEUE_DELETED: _queue_deleted,
    Fault.QUEUE_FULL: _queue_full,
    Fault.MEMORY_ALARM: _memory_alarm,
    Fault.DATABASE_CRASH: _database_crash,
    Fault.CUT: _cut,
    Fault.FREEZE: _freeze,
    Fault.COMMIT_CUT: _commit_cut,
    Fault.FAR_AWAY: _far_away,
    Fault.READ_ONLY: _read_only,
    Fault.FILES: _files,
    Fault.DISK: _disk,
    Fault.MAIL_SERVER_AWAY: _mail_server_away,
    Fault.REPEATED: _repeated,
    Fault.POISON: _poison,
    Fault.AUS_AN: _aus_an,
    Fault.RELEASED_TWICE: _released_twice,
    Fault.PEOPLE: people_decide,
}
_OF_SERVERS = frozenset(
    {
        Fault.BROKER_KILL,
        Fault.BROKER_RESTART,
        Fault.BROKER_WIPE,
        Fault.QUEUE_DELETED,
        Fault.QUEUE_FULL,
        Fault.MEMORY_ALARM,
        Fault.DATABASE_CRASH,
        Fault.READ_ONLY,
    }
)
#: T2 may be committed without its mailer hearing of it.
OF_THE_DATABASE = frozenset(
    {Fault.DATABASE_CRASH, Fault.COMMIT_CUT, Fault.CUT, Fault.FREEZE, Fault.READ_ONLY, Fault.FAR_AWAY, Fault.DISK}
)
#: While these last, nobody or hardly anybody can send.
_OF_ALL = _OF_SERVERS | {Fault.FREEZE, Fault.FAR_AWAY, Fault.DISK, Fault.MAIL_SERVER_AWAY}
