"""The mailer's loops: intake by batches, a fixed number of senders, renewed leases, an orderly end."""

import asyncio
import os
import socket
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from time import time_ns
from typing import Any, TypeVar

from services.mailer.ahead import Composed, Holding, compose_ahead
from services.mailer.deliver import Deliverer, Timing
from services.mailer.high_water import HighWater
from services.mailer.journal import Journal, JournalEntry
from services.mailer.lane import LONGEST_WAIT, Lane, Lanes
from services.mailer.letter_span import begin_letter, ending, tell_not_claimed
from services.mailer.letters import Writing, open_letters
from services.mailer.smtp import SmtpPool
from services.mailer.smtp_address import parse_smtp_url
from shared.bus.interface import Bus, Delivery, Subscription
from shared.bus.messages import WriteOrderReady
from shared.clock import Clock
from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.db.write_orders.claims import ClaimedOrder
from shared.db.write_orders.outcomes import Settlement, settle
from shared.errors import Conflict, KontaktpflegeError, Unavailable
from shared.lifecycle import every, pause, unless_stopped
from shared.metrics import JOURNAL_WRITABLE, RELAY_AWAY, SMTP_CONNECTIONS, begin_counting
from shared.settings import Settings

T = TypeVar("T")
#: One batch waits for its claim, one for senders, one is on its way, one waits for its settlement.
BATCHES_ASKED_FOR = 4
#: RabbitMQ closes a consumer that holds a message for 30 minutes.
HELD_SECONDS = 600
#: Seconds to wait for more doorbells before a batch is claimed.
LINGER = 0.005
#: Seconds between two notes of the last letter handed over.
REMEMBER_SECONDS = 2.0


async def run_mailer(
    database: Database, bus: Bus, clock: Clock, settings: Settings, log: Any, stop: asyncio.Event
) -> None:
    """Sends what doorbells name until `stop`, then drains: nothing new, finish or give back, ack, QUIT (I19)."""
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
    journal = Journal.open(settings.kp_state_dir, name)
    instance_id = await _waited_for(partial(_begin, database, journal, log), stop, log)
    if instance_id is None:  # told to end while the database was away
        journal.close()
        return
    high_water = HighWater(settings.kp_state_dir, instance_id)
    pool = _pool(settings, log)
    timing = Timing(
        settings.kp_lease_seconds,
        settings.kp_reply_lease_seconds,
        settings.kp_backoff_seconds,
        settings.kp_relay_rate,
        settings.kp_domain_rate,
    )
    deliverer = Deliverer(name, database, clock, pool, journal, open_letters(settings), timing, high_water, log)
    begin_counting()
    SMTP_CONNECTIONS.set_function(lambda: pool.connections)
    RELAY_AWAY.labels("sender").set_function(lambda: pool.refuses_senders)
    JOURNAL_WRITABLE.labels("mailer").set_function(lambda: journal.writable)
    subscription = await bus.subscribe(WriteOrderReady, prefetch=_prefetch(settings))
    try:
        await _work(deliverer, subscription, settings, log, stop)
    finally:
        await pool.close()
        journal.close()
        high_water.save()


async def _begin(database: Database, journal: Journal, log: Any) -> str:
    """What a lost mailer of this machine left behind is settled; returns the database's instance id."""
    await replay(database, journal, log)
    async with database.read() as connection:
        return (await load_system_settings(connection)).instance_id


def _prefetch(settings: Settings) -> int:
    """Messages held at once: at a low rate not more than go out long before a broker asks for its acks back."""
    rate = settings.kp_relay_rate
    wanted = BATCHES_ASKED_FOR * settings.claim_batch
    return wanted if rate is None else max(1, min(wanted, int(rate * HELD_SECONDS)))


def _pool(settings: Settings, log: Any) -> SmtpPool:
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    return SmtpPool(
        parse_smtp_url(settings.smtp_url.get_secret_value(), password),
        size=settings.kp_smtp_connections,
        timeout=settings.kp_smtp_timeout_seconds,
        final_timeout=settings.kp_smtp_final_timeout_seconds,
        reply_lease=settings.kp_reply_lease_seconds,
        log=log,
    )


async def _work(
    deliverer: Deliverer, subscription: Subscription, settings: Settings, log: Any, stop: asyncio.Event
) -> None:
    # Bounded: a slow relay holds few claims, and their leases are renewed meanwhile. Empty, the second has room for one
    # word to each sender.
    claimed: asyncio.Queue[Holding] = asyncio.Queue(maxsize=settings.claim_batch)
    composed = Composed(settings.kp_smtp_connections, deliverer.intents)
    left: deque[Holding] = deque()
    done = asyncio.Event()
    collected = (deliverer.intents, deliverer.records, deliverer.settlements, deliverer.pace.fresh)
    groups = [asyncio.create_task(group.run()) for group in collected]
    renewing = asyncio.create_task(every(settings.kp_lease_seconds / 3, deliverer.renew_leases, done, log))
    remembering = asyncio.create_task(every(REMEMBER_SECONDS, deliverer.remember, done, log))
    composing = asyncio.create_task(compose_ahead(deliverer.letters, claimed, composed, left))
    # Under a rate limit each letter has its own moment.
    lanes = Lanes(composed, settings.kp_smtp_connections, ahead=not deliverer.pace.limits)
    senders = [asyncio.create_task(_send(deliverer, lane, log)) for lane in lanes.all]
    making_way = asyncio.create_task(every(LONGEST_WAIT, lanes.make_way, done, log))
    closing = asyncio.create_task(_close_on(stop, subscription))
    acks = Acks(subscription)
    acking = asyncio.create_task(acks.run())
    parts = (*groups, composing, *senders, closing, acking)
    for part in parts:
        _end_with(part, stop, log)
    try:
        left_over = await _take_in(deliverer, subscription, claimed, acks, settings.claim_batch, stop, log)
        over_at = asyncio.get_running_loop().time() + settings.kp_grace_seconds
        composing.cancel()
        await asyncio.wait([composing])
        while not claimed.empty():
            left.append(claimed.get_nowait())
        left.extend(lanes.take_back())
        await _drain(deliverer, composed, [*left, *left_over], senders, over_at, log)
        # At least a moment for what the last senders left.
        if not await deliverer.finish(max(1.0, over_at - asyncio.get_running_loop().time())):
            log.warning("settlements_left", action="draining", hint="the journal holds what was sent")
        await acks.flush()
    finally:
        done.set()
        for part in parts:
            part.cancel()
        await asyncio.gather(renewing, remembering, making_way, *parts, return_exceptions=True)
    for part in parts:
        if not part.cancelled():
            part.result()  # raises what it broke with: a supervisor is to start the mailer again


async def _take_in(
    deliverer: Deliverer,
    subscription: Subscription,
    claimed: "asyncio.Queue[Holding]",
    acks: "Acks",
    limit: int,
    stop: asyncio.Event,
    log: Any,
) -> Sequence[Holding]:
    """Claims what doorbells name until `stop`; returns what it holds then and no sender can have."""
    while deliveries := await subscription.batch(limit=limit, linger=LINGER):
        by_order: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            assert isinstance(delivery.message, WriteOrderReady)  # noqa: S101 - the route carries nothing else
            by_order.setdefault(delivery.message.order_id, []).append(delivery)
        waiting = list(by_order)
        while waiting:
            await deliverer.ready(stop)
            slots = await _waited_for(partial(deliverer.pace.take_slots, len(waiting), stop), stop, log)
            first, count = slots or (None, 0)
            now, waiting, began = waiting[:count], waiting[count:], time_ns()
            found = await _claimed(deliverer, now, [], stop, log) if now else None
            if found is None:
                return []
            mine = {order.id for order, _ in found}
            for order_id in now:
                if order_id not in mine and not stop.is_set():
                    acks.add(by_order[order_id])  # not ours to send: the row knows why
                    tell_not_claimed(order_id, by_order[order_id], began)
            held = deque(
                _held(order, writing, by_order[order.id], acks, deliverer.pace.slot(first, number), began)
                for number, (order, writing) in enumerate(found)
            )
            if not await unless_stopped(_put_all(claimed, held), stop):
                return held
    return []


def _held(
    order: ClaimedOrder, writing: Writing, doorbells: list[Delivery], acks: "Acks", slot: datetime | None, began: int
) -> Holding:
    span = begin_letter(order.id, doorbells, began)
    return Holding(order, writing, ending(span, partial(acks.add, doorbells)), slot, span=span)


async def _put_all(claimed: "asyncio.Queue[Holding]", held: deque[Holding]) -> None:
    """Hands over one after another as senders make room; cancelled, it leaves in `held` what was not handed over."""
    while held:
        await claimed.put(held[0])
        held.popleft()


async def _claimed(
    deliverer: Deliverer, ids: Sequence[int], tries: list[int], stop: asyncio.Event, log: Any
) -> list[tuple[ClaimedOrder, Writing]] | None:
    """Claims a batch, waiting for a database that is away; None when the service is to end. `tries`: of this batch.

    A claim that breaks is tried order by order, so that the one at fault holds up nobody else (I15).
    """
    try:
        claimed = await _waited_for(lambda: deliverer.claim(ids, tries), stop, log)
    except Exception as exc:
        if len(ids) == 1:
            return await _given_up(deliverer, ids[0], exc, log)
        log.warning("claim_broken", action="claim", orders=len(ids), reason=type(exc).__name__)
        alone = [await _claimed(deliverer, [order_id], tries, stop, log) for order_id in ids]
        return [one for found_alone in alone for one in found_alone or []]
    if claimed is None:
        return None
    found, writing = claimed
    return [(order, writing) for order in found.orders] if writing else []


async def _waited_for(step: Callable[[], Awaitable[T]], stop: asyncio.Event, log: Any) -> T | None:
    """What `step` returns, once the database is there; None when the service is to end before."""
    wait = 0.2
    while not stop.is_set():
        try:
            return await step()
        except (Unavailable, Conflict) as exc:
            log.warning("database_waits", action="database_waits", reason=str(exc))
            await pause(wait, stop)
            wait = min(wait * 2, 10.0)
    return None


async def _given_up(
    deliverer: Deliverer, order_id: int, exc: Exception, log: Any
) -> list[tuple[ClaimedOrder, Writing]] | None:
    """Fails the order at fault, visibly; should even that break, the row stays and its doorbell is acked."""
    known = isinstance(exc, KontaktpflegeError)
    reason = str(exc) if known else f"internal error: {type(exc).__name__}"
    log.error("order_given_up", action="claim", order=order_id, reason=reason, exc_info=None if known else exc)
    try:
        await deliverer.give_up(order_id, reason)
    except Exception:
        log.exception("not_given_up", action="claim", order=order_id)
    return []


async def _send(deliverer: Deliverer, lane: Lane, log: Any) -> None:
    written = 0
    try:
        while (holding := await lane.next()) is not None:
            try:
                written = await deliverer.deliver(holding, written, lane)
            except Exception as exc:
                # Neither acked nor renewed: the lease runs out and the sweep decides from the row.
                log.exception("delivery_broken", action="deliver", order=holding.order.id)
                holding.span.fail(type(exc).__name__)
                holding.span.end()
                deliverer.let_go(holding.order.id, holding.order.token)
    finally:
        lane.give_up()


def _end_with(task: "asyncio.Task[None]", stop: asyncio.Event, log: Any) -> None:
    """A part of the mailer that breaks ends the mailer: it would go on in silence and send nothing (I18)."""

    def ended(_: object) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("mailer_broken", action="mailer_broken", exc_info=exc)
            stop.set()

    task.add_done_callback(ended)


async def _drain(
    deliverer: Deliverer,
    composed: Composed,
    left: Sequence[Holding],
    senders: Sequence["asyncio.Task[None]"],
    over_at: float,
    log: Any,
) -> None:
    """Gives back what is not begun; senders have until `over_at`, by the loop's clock, for what they have begun."""
    waiting = list(left)
    while not composed.empty():
        if (holding := composed.get_nowait()) is not None:
            waiting.append(holding)
    log.info("draining", action="draining", given_back=len(waiting))
    await deliverer.give_back_held([holding.order.id for holding in waiting], "the mailer ends")
    for holding in waiting:
        holding.release()
    for _ in senders:
        composed.put_nowait(None)
    _, late = await asyncio.wait(senders, timeout=max(0.0, over_at - asyncio.get_running_loop().time()))
    if late:
        log.warning("grace_over", action="draining", senders=len(late))
        for task in late:
            task.cancel()
        await asyncio.wait(late)
    # Whatever else is held, by letters that waited for their slot or by claims that were cut short.
    await deliverer.give_back_held(list(deliverer.held), "the mailer ends")


async def _close_on(stop: asyncio.Event, subscription: Subscription) -> None:
    await stop.wait()
    await subscription.close()


class Acks:
    """Collects what is dealt with and acks it in groups."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._waiting: list[Delivery] = []
        self._arrived = asyncio.Event()

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Dealt with: to be acked soon."""
        self._waiting.extend(deliveries)
        self._arrived.set()

    async def run(self) -> None:
        """Acks group after group until cancelled."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(LINGER)
            await self.flush()

    async def flush(self) -> None:
        """Acks what waits now."""
        self._arrived.clear()
        waiting, self._waiting = self._waiting, []
        if waiting:
            await self._subscription.ack(waiting)


async def replay(database: Database, journal: Journal, log: Any) -> None:
    """Settles what a lost mailer of this machine knew to be accepted (I20)."""
    entries = journal.replay()
    if entries:
        async with database.begin() as connection:
            kept = await settle(connection, [_settlement(entry) for entry in entries], author="journal")
        log.info("journal_replayed", action="journal_replayed", entries=len(entries), settled=len(kept))
    journal.forget_adopted()


def _settlement(entry: JournalEntry) -> Settlement:
    return Settlement(
        order_id=entry.order_id,
        token=entry.token,
        state="sent",
        at=entry.at,
        code=entry.code,
        text=entry.text,
        subject=entry.subject,
        message_id=entry.message_id,
    )
