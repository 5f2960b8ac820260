"""One letter, from the claim to its settlement: claim -> compose -> send -> judge -> settle, in that order."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from services.mailer.ahead import Holding
from services.mailer.group_commit import GroupCommit
from services.mailer.high_water import HighWater
from services.mailer.journal import PROBE_SECONDS, Journal, JournalEntry
from services.mailer.lane import Lane
from services.mailer.letter_span import follow_settlement, tell_outcome
from services.mailer.letters import Letters, Mail, Writing
from services.mailer.outcome import Deferred, NotHandedOver, Outcome, Refused, Sent, Unclear, backoff_seconds
from services.mailer.pace import Pace
from services.mailer.settled import report_settled
from services.mailer.smtp import SmtpPool
from shared.clock import Clock
from shared.db.engine import Database
from shared.db.holds import hold_in_force
from shared.db.system_settings import read_settings_rows, settings_in
from shared.db.write_orders.claims import Claim, Claimant, ClaimedOrder, claim, give_up
from shared.db.write_orders.intents import Intent, give_back, intend, renew
from shared.db.write_orders.outcomes import Settlement, settle
from shared.errors import Conflict, KontaktpflegeError, Unavailable
from shared.lifecycle import pause
from shared.metrics import COMMIT_ORDERS, COMMIT_SECONDS, NOT_CLAIMED, SEND_SECONDS, timed
from shared.retry import retry_conflicts

#: Seconds between two tries of a settlement that breaks, doubling from the first to the longest.
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0


@dataclass(slots=True)
class Timing:
    """Durations of the sending path, in seconds, and its rates."""

    lease: float
    reply_lease: float
    backoff: float
    #: Letters a second of all mailers, to the relay and to one recipient domain; None: no limit (I16).
    relay_rate: float | None = None
    domain_rate: float | None = None


class Deliverer:
    """Everything between a claimed batch and its settlements. Knows no queue: `Mailer` feeds it."""

    def __init__(
        self,
        name: str,
        database: Database,
        clock: Clock,
        pool: SmtpPool,
        journal: Journal,
        letters: Letters,
        timing: Timing,
        high_water: HighWater,
        log: Any,
    ) -> None:
        self._name, self._database, self._clock, self._pool = name, database, clock, pool
        self._journal, self.letters, self._timing, self._log = journal, letters, timing, log
        self._high_water = high_water
        self._random = Random()  # noqa: S311 - jitter
        #: Orders held before T2, by id, with their tokens: what is renewed, and given back when draining.
        self.held: dict[int, int] = {}
        #: Tokens of claims whose T2 may or may not be committed; their dot was not written: they are not unclear (I5).
        self._unanswered_intents: set[int] = set()
        #: Seconds until the next try of settlements that break, by token.
        self._broken_settlements: dict[int, float] = {}
        #: Under a rate limit: when a letter may go (I16).
        self.pace = Pace(database, clock, pool.address, timing.relay_rate, timing.domain_rate, log)
        #: Under a rate limit: until when a letter may go at its slot, by token.
        self._goes_until: dict[int, datetime] = {}
        self.records: GroupCommit[JournalEntry, None] = GroupCommit(self._write_down, 0)
        #: Those on their way to T2, by token; and the number of the record that is to be in the journal before it.
        self._coming: set[int] = set()
        self._recorded_first: dict[int, int] = {}
        #: None: the letter's slot passed before T2 was begun, which must wait for another one.
        self.intents: GroupCommit[Intent, bool | None] = GroupCommit(
            self._commit_intents, 0.004, coming=lambda: len(self._coming), before=self._recorded
        )
        # What was not accepted is in no journal: a kill before its T3 makes it unclear, so it does not wait.
        self.settlements: GroupCommit[Settlement, bool] = GroupCommit(
            self._commit_settlements, 0.06, urgent=lambda one: one.state != "sent"
        )

    async def claim(self, order_ids: Sequence[int], tries: list[int] | None = None) -> tuple[Claim, Writing | None]:
        """T1 for a batch, with the last look. `tries` is one list for every try of the batch, empty at first.

        It keeps the token bases of tries that came to their COMMIT: what one of them claimed without an answer is taken
        over by the next (C25).
        """
        bases = [] if tries is None else tries

        async def once() -> tuple[Claim, Writing | None]:
            async with self._database.begin() as connection:
                rows = await read_settings_rows(connection)
                if held := await hold_in_force(connection, self._high_water.token, self._clock.now(), rows):
                    return Claim(others={f"held: {held}": len(order_ids)}), None
                settings = settings_in(rows)
                message_ids = self.letters.message_ids(settings)
                now, relay = self._clock.now(), self._pool.address
                rate = self._timing.domain_rate
                who = Claimant(
                    self._name, self._timing.lease, now, settings, message_ids, relay, rate, earlier_bases=bases
                )
                found = await claim(connection, order_ids, who)
                if not found.orders:
                    return found, None
                writing = await self.letters.prepare(connection, found.orders, settings)
                bases.append(who.token_base)
                return found, writing

        with timed(COMMIT_SECONDS.labels("claim")):
            found, writing = await retry_conflicts(once)
        COMMIT_ORDERS.labels("claim").observe(len(order_ids))
        self.held |= {order.id: order.token for order in found.orders}
        for reason, count in found.others.items():
            NOT_CLAIMED.labels(reason.partition(":")[0]).inc(count)
            self._log.info("not_claimed", action="last_look", reason=reason, orders=count)
        return found, writing

    async def give_up(self, order_id: int, reason: str) -> None:
        """An order that cannot even be claimed ends as failed, with its reason (I15)."""
        async with self._database.begin() as connection:
            await give_up(connection, order_id, reason, self._clock.now())

    async def deliver(self, holding: Holding, last: int = 0, lane: Lane | None = None) -> int:
        """Compose, send, judge, settle. Returns when the settlement is on its way; `release` follows its commit.

        What it returns is the number of the sender's last accepted letter among `records`. Give it as `last` with the
        same sender's next letter, whose T2 waits for it: a kill makes at most one letter per connection unclear.
        `lane`: the sender's.
        """
        order = holding.order
        mail = holding.mail
        granted = False

        async def intend_it(intent: Intent) -> bool:
            nonlocal granted
            self._coming.discard(order.token)
            with sending.step("intent"):
                while (answer := await self.intents.submit(intent)) is None:
                    await self._at_its_slot(holding)
            granted = answer
            return granted

        await self._at_its_slot(holding)
        try:
            mail = mail or holding.compose(self.letters)
            intent = Intent(order.id, order.token, order.job_id, len(mail.content), mail.body_hash)
            self._coming.add(order.token)
            self._recorded_first[order.token] = last
            with timed(SEND_SECONDS), holding.span.step("send", kind="client") as sending:
                outcome = await self._pool.send(
                    mail.envelope_from, mail.recipient, mail.content, lambda: intend_it(intent), lane
                )
                tell_outcome(sending, outcome)
        except asyncio.CancelledError:
            # No dot is written, or there were an outcome. T2 may be committed all the same: T3 answers it either way.
            self.let_go(order.id, order.token)
            ended = Deferred("the mailer ends", counts=False, not_before_seconds=0.0)
            self._enqueue(self._settlement(order, mail, ended), holding)
            raise
        except Exception as exc:
            outcome = self._broken(order, exc, after_intent=granted)
        finally:
            self._recorded_first.pop(order.token, None)
            if order.token in self._coming:
                self._coming.discard(order.token)
                self.intents.look_again()
        if order.token in self._unanswered_intents:
            self._unanswered_intents.discard(order.token)
            outcome = Deferred("the database did not answer before the final dot", not_before_seconds=1.0, counts=False)
        if isinstance(outcome, NotHandedOver):
            await self._give_back({order.id: order.token}, outcome.reason)
            holding.release()
            return last
        self.let_go(order.id, order.token)
        settlement = self._settlement(order, mail, outcome)
        if settlement.state != "sent":
            self._enqueue(settlement, holding)
            return last
        return self.records.hand_over(JournalEntry.of(settlement), lambda _: self._enqueue(settlement, holding))

    def _broken(self, order: ClaimedOrder, exc: Exception, *, after_intent: bool) -> Outcome:
        """What an exception means for a letter: it is to blame only for what it says itself (I4, I14)."""
        if isinstance(exc, KontaktpflegeError) and not after_intent:
            return Refused(str(exc), None)
        self._log.exception("letter_broken", action="deliver", order=order.id)
        what = f"internal error: {type(exc).__name__}"
        if after_intent:
            return Unclear(f"handed over to the mail server, answer unknown: {what}")
        if isinstance(exc, OSError | MemoryError) or "new thread" in str(exc):
            # No file descriptor, no memory, no thread: the machine's trouble, which the next letter would meet too.
            return Deferred(f"this machine: {exc}", counts=False, not_before_seconds=self._timing.backoff)
        return Refused(what, None)

    async def _at_its_slot(self, holding: Holding) -> None:
        if not self.pace.limits:
            return
        order = holding.order
        # Its lease is renewed meanwhile, as of everything held.
        until = await self.pace.wait(holding.send_at, order.email.rpartition("@")[2].lower(), order.send_at)
        if until is not None:
            self._goes_until[order.token] = until

    async def finish(self, seconds: float) -> bool:
        """Waits until everything that was sent is recorded and settled; False if that takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self.records.idle()
                # What a record leads to is on its way by now.
                await self.settlements.idle()
        except TimeoutError:
            return False
        return not self._broken_settlements

    def _enqueue(self, settlement: Settlement, holding: Holding) -> None:
        if not holding.span.recording:
            self.settlements.hand_over(settlement, lambda answer: self._settled(answer, settlement, holding))
            return
        settled = self.settlements.enqueue(settlement)
        follow_settlement(holding.span, settlement, settled)

        def told(done: "asyncio.Future[bool]") -> None:
            if not done.cancelled():
                self._settled(done.exception(), settlement, holding)

        settled.add_done_callback(told)

    def _settled(self, answer: object, settlement: Settlement, holding: Holding) -> None:
        if not isinstance(answer, Exception):
            self._broken_settlements.pop(settlement.token, None)
            holding.release()
            return
        # Given up it would become unclear, though its outcome is known here; only the next mailer reads the journal.
        again = self._broken_settlements.get(settlement.token, FIRST_RETRY)
        self._broken_settlements[settlement.token] = min(2 * again, LONGEST_RETRY)
        fields = {"order": settlement.order_id, "state": settlement.state, "reason": type(answer).__name__}
        self._log.error("settlement_broken", action="settle", **fields, again_in_seconds=again, exc_info=answer)
        asyncio.get_running_loop().call_later(again, self._enqueue, settlement, holding)

    async def give_back_held(self, order_ids: Sequence[int], reason: str) -> None:
        """Puts claimed orders back (draining)."""
        await self._give_back(
            {order_id: self.held[order_id] for order_id in order_ids if order_id in self.held}, reason
        )

    async def ready(self, stop: asyncio.Event) -> None:
        """Waits while the relay is known to be away, or the journal to be unwritable: nothing is claimed in vain."""
        await self._pool.wait_ready(stop)
        while not self._journal.writable and not stop.is_set():
            await pause(PROBE_SECONDS, stop)

    async def renew_leases(self) -> None:
        """Extends the leases of everything held before T2."""
        held = dict(self.held)
        if held:
            async with self._database.begin() as connection:
                kept = await renew(connection, held, self._timing.lease)
            for order_id in held.keys() - kept:
                if self.held.get(order_id) == held[order_id]:
                    self.held.pop(order_id, None)

    async def remember(self) -> None:
        """Notes outside the database what was handed over last, and looks whether the database knows it (C56)."""
        await asyncio.to_thread(self._high_water.save)
        await self._high_water.look(self._database, self._clock.now())

    def _settlement(self, order: ClaimedOrder, mail: Mail | None, outcome: Outcome) -> Settlement:
        now = self._clock.now()
        values: dict[str, Any] = {"order_id": order.id, "token": order.token, "at": now, "relay": self._pool.address}
        if mail is not None:
            values["subject"], values["message_id"] = mail.subject, mail.message_id
            values["body_hash"], values["bytes"] = mail.body_hash, len(mail.content)
        match outcome:
            case Sent(code=code, text=text):
                return Settlement(**values, state="sent", code=code, text=text)
            case Refused(reason=reason, code=code):
                return Settlement(**values, state="failed", reason=reason, code=code)
            case Unclear(reason=reason):
                return Settlement(**values, state="unclear", reason=reason)
            case Deferred(reason=reason, code=code):
                later = self._later(order, outcome, now)
                return Settlement(
                    **values, state="queued", reason=reason, code=code, not_before=later, counts=outcome.counts
                )

    def _later(self, order: ClaimedOrder, outcome: Deferred, now: datetime) -> datetime:
        seconds = outcome.not_before_seconds
        if seconds is None:
            # What is no fault of the letter does not make it wait longer and longer.
            seconds = backoff_seconds(order.deferrals + 1 if outcome.counts else 1, self._timing.backoff, self._random)
        return now + timedelta(seconds=seconds)

    async def _recorded(self, waiting: Sequence[Intent]) -> None:
        """Waits until the journal has the letters that their senders sent before these."""
        await self.records.flushed(max(self._recorded_first.get(one.token, 0) for one in waiting))

    async def _commit_intents(self, waiting: Sequence[Intent]) -> list[bool | None]:
        """T2 for whoever waits before the dot (I8, I9, I11, I20). Without a commit nobody may send."""
        if not self._journal.writable:
            return [False] * len(waiting)
        now = self._clock.now()
        # Those that waited here while the database stood still would all go at once after it (I16).
        late = {one.token for one in waiting if now > self._goes_until.get(one.token, now)} if self._goes_until else ()
        granted = await self._granted([one for one in waiting if one.token not in late])
        return [None if one.token in late else one.token in granted for one in waiting]

    async def _granted(self, intents: Sequence[Intent]) -> set[int]:
        """The tokens of those whose T2 is committed."""
        if not intents:
            return set()
        # A mailer that was stopped may hold an order under an old claim and under a new one: only the new one counts.
        asked = {one.order_id: one for one in intents}
        asked |= {one.order_id: one for one in intents if self.held.get(one.order_id) == one.token}

        async def once() -> set[int]:
            async with self._database.begin(at_once=True) as connection:
                now, made = self._clock.now(), self._database.connections_made
                if await self._high_water.hold_if_forgotten(connection, made, now):
                    return set()
                return await intend(connection, list(asked.values()), self._timing.reply_lease, now)

        COMMIT_ORDERS.labels("intent").observe(len(asked))
        try:
            with timed(COMMIT_SECONDS.labels("intent")):
                granted = await retry_conflicts(once)
        except Exception as exc:
            # Whatever it is, no letter is to blame, and whether T2 was committed is not known.
            self._log.warning("intent_failed", action="intent", orders=len(intents), **_told(exc))
            granted = set()
            self._unanswered_intents |= {one.token for one in intents}
        if granted:
            self._high_water.token = asked[max(granted)].token
        return {asked[order_id].token for order_id in granted}

    async def _commit_settlements(self, settlements: Sequence[Settlement]) -> list[bool]:
        """T3. What was handed over is in the journal already: a lost database cannot make it unclear (I20)."""
        pause = 0.2
        COMMIT_ORDERS.labels("settlement").observe(len(settlements))
        while True:
            try:
                with timed(COMMIT_SECONDS.labels("settlement")):
                    kept = await retry_conflicts(lambda: self._settle(settlements))
                break
            except (Unavailable, Conflict) as exc:
                self._log.warning("settlement_waits", action="settle", orders=len(settlements), reason=str(exc))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)
        await self._journal.settle([one.token for one in settlements if one.state == "sent"])
        report_settled(self._log, settlements, kept)
        return [one.order_id in kept for one in settlements]

    async def _write_down(self, entries: Sequence[JournalEntry]) -> list[None]:
        try:
            await self._journal.append(entries)
        except Exception as exc:
            # The journal says itself that it is not writable any more, and T2 sends nothing without it.
            self._log.error("journal_failed", action="journal", **_told(exc))
        return [None] * len(entries)

    async def _settle(self, settlements: Sequence[Settlement]) -> set[int]:
        async with self._database.begin() as connection:
            return await settle(connection, settlements)

    async def _give_back(self, held: dict[int, int], reason: str) -> None:
        if not held:
            return
        try:
            async with self._database.begin() as connection:
                await give_back(connection, held, self._clock.now(), reason)
        except Exception as exc:
            # The lease runs out by itself and the sweep returns the order.
            self._log.warning("give_back_failed", action="give_back", orders=len(held), **_told(exc))
        for order_id, token in held.items():
            self.let_go(order_id, token)

    def let_go(self, order_id: int, token: int) -> None:
        """This claim is dealt with, or out of these hands; a newer one of the same order stays held."""
        self._goes_until.pop(token, None)
        if self.held.get(order_id) == token:
            del self.held[order_id]


def _told(exc: Exception) -> dict[str, Any]:
    """How the log tells of it: what an operator can act on in one line, a bug with its traceback."""
    if isinstance(exc, KontaktpflegeError):
        return {"reason": str(exc)}
    return {"reason": type(exc).__name__, "exc_info": exc}
