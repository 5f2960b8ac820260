"""docs/write-order-states.md in plain Python: where each write order must be after each event.

It knows nothing of the product's code. What an order's row alone decides (its dates, whose it is) it is told; the state
it works out itself, and `meet` compares. Only planning leaves it a choice: `_planned` says which.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

RESEND_AFTER = timedelta(minutes=15)
CATCH_UP = timedelta(hours=6)
#: Claims without an outcome after which an order is given up, and from which on it may have to wait for others.
POISON, SUSPECT = 5, 2
CLAIMED, HANDED_OVER = "sending / claimed", "sending / handed over"
UNDER_WAY = frozenset({"queued", CLAIMED, HANDED_OVER})
#: Others of the same person that keep a letter back while the repeat guard lasts; `no_address` by its address.
_GUARDING = UNDER_WAY | {"sent", "unclear", "failed"}


@dataclass
class Order:
    """One write order, and what its row says that the model does not work out."""

    id: int
    person: int
    application: str
    planned_for: datetime
    expires_at: datetime
    state: str = "planned"
    #: From when on it may be claimed.
    not_before: datetime | None = None
    token: int | None = None
    lease_ran_out: bool = False
    #: Claims at all, and since something last came of one.
    attempts: int = 0
    fruitless: int = 0
    #: What it was claimed with: the job's changes so far, the address; with its first claim the letter's edition (I12).
    epoch: int = 0
    address: str = ""
    edition: int | None = None
    #: When it was handed over, by token, for hand-overs that no definite answer ended.
    unanswered: dict[int, datetime] = field(default_factory=dict)
    #: The last of them, as settlements and T2 left it. While there is one, what stops the order makes it unclear (D37).
    doubt: datetime | None = None
    #: When its mailer was noticed to be lost, and whether its resend was stopped: then only a person sends it again.
    noticed: datetime | None = None
    stopped: bool = False
    block: int | None = None

    def stop(self, state: str) -> set[str]:
        """Where it goes when somebody or something stops it; as it is if that is too late."""
        if self.state not in ("planned", "queued", CLAIMED):
            return {self.state}
        self.token = None
        if self.doubt is None or self.state == "planned":
            return {state}
        self.stopped = True
        return {"unclear"}


@dataclass
class Model:
    """One job, its people, and its orders by id. Events change it as the document says; `meet` compares."""

    #: `on_unclear: resend`; a repeat guard that outlasts everything, or none.
    resends: bool
    guards: bool
    #: (address, status) by application, and the names of those that are one person.
    profiles: dict[str, tuple[str, str]]
    duplicates: Collection[str]
    statuses: set[str] = field(default_factory=lambda: {"Neu"})
    on: bool = True
    off_since: datetime | None = None
    priority: int = 10
    valid_days: int = 2
    epoch: int = 0
    #: Of the letter: editions so far, the latest of them.
    edition: int = 0
    orders: dict[int, Order] = field(default_factory=dict)
    #: Wider blocks that stand: (block, person), and how many blocks there have been.
    blocks: set[tuple[int, int]] = field(default_factory=set)
    block_count: int = 0
    #: By order: how often people or a `resend` job allowed another letter.
    released: Counter[int] = field(default_factory=Counter)
    #: Where orders must be now, where that is not where they were.
    expected: dict[int, set[str]] = field(default_factory=dict)
    #: Orders whose way from unclear to queued is a resend, and whether new orders may be there.
    releasing: set[int] = field(default_factory=set)
    may_plan: bool = False

    def meet(self, rows: Iterable[Mapping[str, Any]], now: datetime) -> None:
        """Compares every order with its row, and takes over what was left to choose."""
        found = {row["id"]: row for row in rows}
        assert self.orders.keys() <= found.keys()
        for order_id, row in found.items():
            state = f"sending / {row['phase'].replace('_', ' ')}" if row["phase"] else row["state"]
            facts = row["person_id"], row["external_id"], row["planned_for"], row["expires_at"]
            if order_id not in self.orders:
                assert self.may_plan and state in ("planned", "queued"), row
                self.orders[order_id] = Order(order_id, *facts)
                self.expected[order_id] = {state}
            order = self.orders[order_id]
            allowed = self.expected.get(order_id, {order.state})
            assert state in allowed, f"{order} should be {allowed}: {row}"
            if state == "queued" and order.state in ("planned", "withdrawn"):
                order.not_before = now
            if state == "queued" and order.state == "unclear" and order_id in self.releasing:
                self.released[order.id] += 1
                order.not_before, order.token = now, None
            order.state = state
            order.person, order.application, order.planned_for, order.expires_at = facts
        self.expected.clear()
        self.releasing.clear()
        self.may_plan = False

    # The mailer

    def claim(self, ids: Collection[int], now: datetime) -> None:
        """T1 of what is queued and due: claimed, or where an obstacle sends it (the last look, D33)."""
        due = [self.orders[one] for one in ids if one in self.orders]
        due = [order for order in due if order.state == "queued" and order.not_before and order.not_before <= now]
        suspects = sum(order.fruitless >= SUSPECT for order in due)
        for order in due:
            obstacles = set(self._obstacles(order, now))
            if obstacles:
                self.expected[order.id] = {"unclear"} if order.doubt else obstacles
                order.stopped = order.doubt is not None
            elif order.fruitless >= SUSPECT and suspects > 1:
                self.expected[order.id] = {CLAIMED, "queued"}
            else:
                self.expected[order.id] = {CLAIMED}

    def _obstacles(self, order: Order, now: datetime) -> Iterable[str]:
        address, status = self.profiles[order.application]
        if order.fruitless >= POISON:
            yield "failed"
        if not self.on:
            yield "planned"
        if order.expires_at <= now or status not in self.statuses or self.is_blocked(order.person):
            yield "withdrawn"
        if self.guards and any(self._guards(other) for other in self.others(order)):
            yield "withdrawn"
        if not address:
            yield "no_address"

    def _guards(self, other: Order) -> bool:
        if other.state == "no_address":
            return self.profiles[other.application][0] == other.address
        own_block = other.state == "blocked" and (other.block, other.person) not in self.blocks
        return own_block or other.state in _GUARDING

    def others(self, order: Order) -> list[Order]:
        """Of the same person."""
        return [one for one in self.orders.values() if one.person == order.person and one.id != order.id]

    def is_blocked(self, person: int) -> bool:
        """By a block that is wider than one letter."""
        return any(person == one for _, one in self.blocks)

    def claimed(self, order_id: int, token: int) -> Order:
        """What a claim writes down."""
        order = self.orders[order_id]
        order.token, order.lease_ran_out, order.epoch = token, False, self.epoch
        order.attempts, order.fruitless = order.attempts + 1, order.fruitless + 1
        order.address = self.profiles[order.application][0]
        order.edition = self.edition if order.edition is None else order.edition
        return order

    def documented(self, order_id: int) -> None:
        """Ended without an address, which is kept: another one may come (D34)."""
        order = self.orders[order_id]
        order.address = self.profiles[order.application][0]

    def intend(self, order_id: int, token: int, now: datetime) -> bool:
        """T2: whether the letter may be handed over."""
        order = self.orders[order_id]
        held = order.state == CLAIMED and order.token == token and not order.lease_ran_out
        unchanged = self.on and order.epoch == self.epoch
        if not held or not unchanged or self.profiles[order.application][0] != order.address:
            return False
        self.expected[order_id] = {HANDED_OVER}
        order.unanswered[token] = order.doubt = now
        return True

    def give_back(self, order_id: int, token: int, now: datetime) -> None:
        """T2 was refused, or the mailer drains."""
        order = self.orders[order_id]
        if order.state == CLAIMED and order.token == token:
            self.expected[order_id] = {"queued"}
            order.not_before, order.token, order.fruitless = now, None, order.fruitless - 1

    def settle(self, order_id: int, token: int, answer: str, now: datetime) -> bool:
        """T3; whether it moved the order. Of what its token does not hold only "accepted" counts (I11, I20)."""
        order = self.orders[order_id]
        held = order.token == token and order.state in (CLAIMED, HANDED_OVER, "unclear")
        if answer in ("queued", "failed"):
            order.unanswered.pop(token, None)
        if not held:
            late = answer == "sent" and order.state in UNDER_WAY | {"unclear", "failed"}
            if late:
                self.expected[order_id] = {"sent"}
            return late
        order.fruitless, order.noticed = 0, None
        order.doubt = max(order.unanswered.values(), default=None)
        self.expected[order_id] = {answer}
        if answer == "failed" and order.doubt:  # decision 32
            self.expected[order_id], order.stopped = {"unclear"}, True
        if answer == "queued":
            order.not_before = now
        if answer == "unclear":
            order.stopped = False
        else:
            order.token = None
        return True

    def leases_run_out(self) -> None:
        """Of everything that is held."""
        for order in self.orders.values():
            order.lease_ran_out |= order.state in (CLAIMED, HANDED_OVER)

    # The scheduler and the evaluator

    def turn(self, now: datetime) -> None:
        """Plans are made and kept, runs released; then a sweep."""
        self.may_plan = self.on
        if self.on:
            for order in self.orders.values():
                self.expected[order.id] = self._planned(order, order.planned_for + CATCH_UP <= now)
        self.sweep(now)

    def run_now(self) -> None:
        """`job run`."""
        self.may_plan = True
        for order in self.orders.values():
            self.expected[order.id] = self._planned(order, missed=False)

    def _planned(self, order: Order, missed: bool) -> set[str]:
        """Who matches is not withdrawn, who does not is not queued; what was tried once is not planned again (D14)."""
        if order.state not in ("planned", "withdrawn") or (order.state == "withdrawn" and order.attempts):
            return {order.state}
        found = {order.state, "planned", "withdrawn", "queued"}
        wanted = self._is_wanted(order)
        others = self.others(order)
        if not wanted or any(one.state in UNDER_WAY for one in others):
            found.discard("queued")
        may_be_guarded = any(one.state != "withdrawn" for one in others)
        if order.state == "planned" and wanted and not missed and not may_be_guarded:
            found.discard("withdrawn")
        return found

    def _is_wanted(self, order: Order) -> bool:
        theirs = self.duplicates if order.application in self.duplicates else (order.application,)
        return not self.is_blocked(order.person) and any(self.profiles[one][1] in self.statuses for one in theirs)

    def sweep(self, now: datetime) -> None:
        """Leases that ran out, orders that expired, resends that are due - in this order."""
        for order in self.orders.values():
            self.expected[order.id] = self._returned(order, now)
            may_wait = self.expected[order.id] & {"planned", "queued"}
            # What returns in this very step has a validity of its own.
            if self.on and order.expires_at <= now and may_wait and order.state != "withdrawn":
                order.stopped |= order.doubt is not None
                self.expected[order.id] = {"unclear"} if order.doubt else {"withdrawn"}
        due = [order for order in self.orders.values() if self._resends(order, now)]
        for number, order in enumerate(due):
            theirs = [self.expected[one.id] for one in self.others(order)]
            # Of several to one person the first goes first (D13).
            if any(one.person == order.person for one in due[:number]) or any(one <= UNDER_WAY for one in theirs):
                continue
            self.releasing.add(order.id)
            self.expected[order.id] = {"queued"} | ({"unclear"} if any(one & UNDER_WAY for one in theirs) else set())

    def _returned(self, order: Order, now: datetime) -> set[str]:
        if order.state == CLAIMED and order.lease_ran_out:
            order.token, order.not_before = None, now
            return {"queued"}
        if order.state == HANDED_OVER and order.lease_ran_out:
            order.noticed, order.stopped = now, False
            return {"unclear"}
        return self.expected.get(order.id, {order.state})

    def _resends(self, order: Order, now: datetime) -> bool:
        """A job that says so, a quarter of an hour after the hand-over and after its mailer was missed (D37, I20)."""
        released = self.on and self.resends and not order.stopped and order.expires_at > now
        waited = all(moment < now - RESEND_AFTER for moment in (order.doubt, order.noticed) if moment)
        return released and waited and order.doubt is not None and self.expected[order.id] == {"unclear"}

    # People

    def switch(self, on: bool, now: datetime) -> None:
        """Aus, or An: then what passed meanwhile is withdrawn (D4)."""
        self.on, self.epoch = on, self.epoch + 1
        if not on:
            self.off_since = now
        elif self.off_since and self.off_since < now - CATCH_UP:
            for order in self.orders.values():
                if order.planned_for < now - CATCH_UP:
                    self.expected[order.id] = order.stop("withdrawn")

    def edit_letter(self) -> None:
        """Saved anew: who was claimed before keeps the edition of then (I12), others get this one (I9)."""
        self.edition, self.epoch = self.edition + 1, self.epoch + 1

    def edit_query(self) -> None:
        """It asks for one status more, or for one less."""
        self.statuses ^= {"Pool"}
        self.epoch += 1

    def edit_job(self, field_name: str) -> str:
        """Another value of a field; returns it."""
        self.epoch += 1
        if field_name == "on_unclear":
            self.resends = not self.resends
            return "resend" if self.resends else "ask"
        old: int = getattr(self, field_name)
        setattr(self, field_name, old ^ 1)
        return str(old ^ 1)

    def block(self, order_id: int, wide: bool) -> bool:
        """Blocks an order, or all of its person; whether it was in time (I8)."""
        order = self.orders[order_id]
        self.block_count += 1
        if wide:
            self.blocks.add((self.block_count, order.person))
        for one in (order, *(self.others(order) if wide else ())):
            self.expected[one.id] = one.stop("blocked")
            if self.expected[one.id] == {"blocked"} and one.state != "blocked":
                one.block = self.block_count
        return order.state in ("planned", "queued", CLAIMED)

    def unblock(self, order_id: int, now: datetime) -> None:
        """Lifts an order's block: whom it stopped waits again, or is too late."""
        block = self.orders[order_id].block
        self.blocks = {one for one in self.blocks if one[0] != block}
        for order in self.orders.values():
            if order.state == "blocked" and order.block == block:
                self.expected[order.id] = {"withdrawn" if order.planned_for <= now else "planned"}

    def decide(self, order_id: int, decision: str, now: datetime) -> bool:
        """A person's decision on an unclear letter, or `retry`; whether it is offered (D13: not beside another)."""
        order = self.orders[order_id]
        if decision in ("sent", "failed"):
            self.expected[order_id] = {decision}
            order.token = order.token if decision == "sent" else None
            return True
        if any(one.state in UNDER_WAY for one in self.others(order)):
            return False
        self.expected[order_id] = {"queued"}
        self.released[order.id] += 1
        order.token, order.fruitless, order.stopped = None, 0, False
        order.not_before = max(now, order.doubt + RESEND_AFTER) if decision == "resend" and order.doubt else now
        return True
