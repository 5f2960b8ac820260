"""Mailers, a relay whose answers get lost, people and time as a state machine over write orders, and what must hold."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import update

from shared.db.column_types import lease_clock
from shared.db.engine import Database
from shared.db.order_commands import block, retry, settle, unblock
from shared.db.tables import contact_entries, metadata, write_orders
from shared.db.write_orders.claims import ClaimedOrder
from shared.db.write_orders.intents import give_back
from shared.errors import Refused
from tests.services.state_moves import documented_moves, take_moves
from tests.services.world import SETUP, World

T = TypeVar("T")
#: The guard outlasts every example: whoever may have got a letter never gets another by the rules alone.
WITH_A_LONG_GUARD = SETUP.replace("repeat_guard_days: 30", "repeat_guard_days: 365")
#: A1 and A2 are one person.
SETS = {"A1": "S1", "A2": "S1", "A3": "", "A4": "", "A5": ""}
#: (e-mail, status) of an application; the first stands for no obstacle, and is given most often.
PROFILES = [*[("a@x.example", "Neu")] * 3, ("b@x.example", "Neu"), ("", "Neu"), ("a@x.example", "Pool")]
ENDED_BY_RULE = {"planned", "withdrawn", "blocked", "no_address"}
PAUSES = [timedelta(minutes=1), timedelta(minutes=16), timedelta(hours=9), timedelta(days=1)]
#: What becomes of a hand-over, as the mailer judges it.
ANSWERS = ("sent", "queued", "failed", "unclear")
MAY_BE_ACCEPTED = {"sent", "unclear"}
BLOCKABLE = ("planned", "queued", "sending", "unclear")
pick = st.integers(0, 5)


@dataclass
class Held:
    """An order in a mailer's hands; `answer` is what the relay said, or will have said, to the dot."""

    order: ClaimedOrder
    mailer: str
    switches_before: int
    answer: str | None = None


class Delivery(RuleBasedStateMachine):
    """The machine; an installation is emptied and set up anew for each example."""

    def __init__(self, runner: asyncio.Runner, database: Database, folder: Path) -> None:
        super().__init__()
        self.runner = runner
        self.world = World(database, folder)
        self.held: list[Held] = []
        #: By person: letters that the relay may have accepted, and decisions of people that allow another.
        self.letters: Counter[int] = Counter()
        self.decisions: Counter[int] = Counter()
        #: (order, lease token) of hand-overs of which nobody knows the answer.
        self.unknown: set[tuple[int, int]] = set()
        #: By order: the token of its last claim. Tokens whose lease ran out.
        self.newest: dict[int, int] = {}
        self.expired: set[int] = set()
        #: Orders whose hand-over the relay put off, in the present step.
        self.put_off: set[int] = set()
        self.accepted: set[int] = set()
        self.said_sent: set[int] = set()
        #: Orders of which the database was told that a letter was accepted.
        self.told: set[int] = set()
        self.off = False
        #: How often the job was switched.
        self.switches = 0
        self.profiles = dict.fromkeys(SETS, PROFILES[0])
        self.seen: list[dict[str, Any]] | None = None
        self.allowed = documented_moves()
        self.run(self._empty())
        self.run(self.world.begin(*map(self._row, SETS), setup=WITH_A_LONG_GUARD))
        self.run(self.world.turn())

    @initialize(released=st.sampled_from((True, True, False)), again=st.integers(0, 2))
    def it_begins(self, released: bool, again: int) -> None:
        """With planned orders, or with queued ones of which some were handed over before and are sent again."""
        if not released:
            return
        self.run(self.world.run(on=None))
        if again:
            self.a_mailer_sends(["unclear"] * again)
            for _ in range(again):
                self.a_person_settles(0, "resend")
            self.world.clock.advance(timedelta(minutes=16))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self.seen = None
        return self.runner.run(work)

    async def _empty(self) -> None:
        async with self.world.database.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
            await take_moves(connection)

    def _row(self, name: str) -> str:
        return f"{name},{SETS[name]},Eins,{','.join(self.profiles[name])},"

    def _orders(self, *states: str) -> list[dict[str, Any]]:
        if self.seen is None:
            self.seen = self.runner.run(self.world.rows())
        return [row for row in self.seen if row["state"] in states]

    # The services

    @rule(pause=st.sampled_from(PAUSES))
    def time_passes(self, pause: timedelta) -> None:
        self.world.clock.advance(pause)
        self.run(self.world.turn())

    @precondition(lambda self: self._orders("queued"))
    @rule(mailer=st.sampled_from(("m1", "m2")), count=st.integers(1, 4))
    def a_mailer_claims(self, mailer: str, count: int) -> None:
        ids = [row["id"] for row in self._orders("queued", "sending")]
        in_hands = {row["id"] for row in self._orders("sending")}
        claimed = self.run(self.world.claim(*ids[:count], mailer=mailer)).orders
        assert in_hands.isdisjoint(order.id for order in claimed)
        self.held += [Held(order, mailer, self.switches) for order in claimed]
        self.newest |= {order.id: order.token for order in claimed}

    @precondition(lambda self: any(held.answer is None for held in self.held))
    @rule(which=pick, answer=st.sampled_from(ANSWERS))
    def a_mailer_hands_over(self, which: int, answer: str) -> None:
        self._hand_over(_chosen([one for one in self.held if one.answer is None], which), answer)

    def _hand_over(self, held: Held, answer: str) -> None:
        order = self.run(self._order(held.order.id))
        if not self.run(self.world.intend(held.order)):
            self.run(self._give_back(held))
            self.held.remove(held)
            return
        assert held.order.id not in self.told  # I20
        assert held.order.token not in self.expired and held.order.token == self.newest[held.order.id]  # I11
        assert not self.off and held.switches_before == self.switches  # I8, I9
        assert self.profiles[order["external_id"]][0] == held.order.email != ""  # I10
        held.answer = answer
        self.unknown.add((held.order.id, held.order.token))
        if answer in MAY_BE_ACCEPTED:
            self.letters[order["person_id"]] += 1
        if answer == "sent":
            self.accepted.add(held.order.id)
        assert not self.run(self.world.intend(held.order))

    async def _order(self, order_id: int) -> dict[str, Any]:
        (found,) = [row for row in await self.world.rows() if row["id"] == order_id]
        return found

    async def _give_back(self, held: Held) -> None:
        async with self.world.database.begin() as connection:
            await give_back(connection, {held.order.id: held.order.token}, self.world.clock.now(), "refused")

    @precondition(lambda self: any(held.answer is None for held in self.held))
    @rule(which=pick, state=st.sampled_from(("queued", "failed")))
    def a_mailer_fails_before_the_dot(self, which: int, state: str) -> None:
        held = _chosen([one for one in self.held if one.answer is None], which)
        self.held.remove(held)
        self._settle(held, state)

    @precondition(lambda self: any(held.answer for held in self.held))
    @rule(which=pick)
    def a_mailer_settles(self, which: int) -> None:
        held = _chosen([one for one in self.held if one.answer], which)
        self.held.remove(held)
        self._settle(held, held.answer or "")

    @precondition(lambda self: self._orders("queued"))
    @rule(answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3))
    def a_mailer_sends(self, answers: list[str]) -> None:
        others = len(self.held)
        self.a_mailer_claims("m1", len(answers))
        for held, answer in zip(self.held[others:], answers, strict=False):
            self._hand_over(held, answer)
            if held.answer:
                self.held.remove(held)
                self._settle(held, answer)

    @precondition(lambda self: self._orders("queued"))
    @rule(what=st.sampled_from(("switched", "blocked", "moved", "lost")), answer=st.sampled_from(ANSWERS))
    def a_mailer_is_overtaken(self, what: str, answer: str) -> None:
        """Something happens between the claim and the dot: what random steps seldom put just there."""
        others = len(self.held)
        self.a_mailer_claims("m1", 1)
        for held in self.held[others:]:
            if what == "switched":
                self.a_person_switches_the_job(True)
            elif what == "blocked":
                self.a_person_blocks(0, "letter")
            elif what == "moved":
                self.an_application_changes(held.order.application["external_id"], PROFILES[-3])
            else:
                self.every_lease_runs_out("none", answer == "sent")
            self._hand_over(held, answer)

    def _settle(self, held: Held, state: str) -> None:
        values = {"reason": None if state == "sent" else state, "not_before": self.world.clock.now()}
        if state == "sent":
            self.told.add(held.order.id)
        if not self.run(self.world.settle(held.order, state, **values)):
            return
        # Only what was accepted counts from whoever tells it (I20).
        assert state == "sent" or held.order.token == self.newest[held.order.id]  # I11
        if state != "unclear":
            self.unknown.discard((held.order.id, held.order.token))
        if state == "queued":
            self.put_off.add(held.order.id)
        again = self.run(self.world.settle(held.order, state, **values))
        assert state == "unclear" or not again  # I6

    def _is_unknown(self, order_id: int) -> bool:
        return any(order_id == one for one, _ in self.unknown)

    @precondition(lambda self: self._orders("sending"))
    @rule(dead=st.sampled_from(("m1", "m2", "none")), swept=st.booleans())
    def every_lease_runs_out(self, dead: str, swept: bool) -> None:
        self.expired |= {row["lease_token"] for row in self._orders("sending")}
        self.held = [held for held in self.held if held.mailer != dead]
        self.run(self._expire())
        if swept:
            self.run(self.world.sweep())
            self.world.bus.taken()

    async def _expire(self) -> None:
        async with self.world.database.begin() as connection:
            sending = update(write_orders).where(write_orders.c.state == "sending")
            await connection.execute(sending.values(lease_until=lease_clock(-1)))

    # People

    @rule(back=st.sampled_from((True, True, False)))
    def a_person_switches_the_job(self, back: bool) -> None:
        for status in ("An",) if self.off else ("Aus", "An") if back else ("Aus",):
            self.run(self.world.change(status=status))
            self.off = status == "Aus"
            self.switches += 1

    @precondition(lambda self: not self.off and self._orders("planned", "withdrawn"))
    @rule()
    def a_person_runs_the_job(self) -> None:
        self.run(self.world.run(on=None))

    @rule(name=st.sampled_from(tuple(SETS)), profile=st.sampled_from(PROFILES))
    def an_application_changes(self, name: str, profile: tuple[str, str]) -> None:
        self.profiles[name] = profile
        self.run(self.world.applicants(self._row(name)))

    @precondition(lambda self: self._orders(*BLOCKABLE))
    @rule(which=pick, scope=st.sampled_from(("letter", "letter", "job", "all")))
    def a_person_blocks(self, which: int, scope: str) -> None:
        order = _chosen(sorted(self._orders(*BLOCKABLE), key=lambda row: row["state"] != "sending"), which)
        answer = self.run(block(self.world.database, order["id"], scope=scope, reason="x", until=None, **self._who()))
        past = order["state"] == "unclear" or self._is_unknown(order["id"])
        assert answer == ("too late" if past else "blocked")  # I8

    @precondition(lambda self: self._orders("blocked"))
    @rule(which=pick)
    def a_person_unblocks(self, which: int) -> None:
        order = _chosen(self._orders("blocked"), which)
        self.run(unblock(self.world.database, order["id"], **self._who()))

    @precondition(lambda self: self._orders("unclear"))
    @rule(which=pick, decision=st.sampled_from(("sent", "resend", "resend", "failed")))
    def a_person_settles(self, which: int, decision: str) -> None:
        order = _chosen(self._orders("unclear"), which)
        if not self._allowed(settle(self.world.database, order["id"], decision, **self._who())):
            return
        if decision == "resend":
            self.decisions[order["person_id"]] += 1
        if decision == "sent":
            self.said_sent.add(order["id"])

    @precondition(lambda self: self._orders("failed", "no_address"))
    @rule(which=pick)
    def a_person_retries(self, which: int) -> None:
        order = _chosen(self._orders("failed", "no_address"), which)
        if self._allowed(retry(self.world.database, order["id"], **self._who())):
            self.decisions[order["person_id"]] += 1

    def _allowed(self, work: Coroutine[Any, Any, None]) -> bool:
        try:
            self.run(work)
        except Refused as exc:
            assert "under way" in str(exc)
            return False
        return True

    def _who(self) -> Mapping[str, Any]:
        return {"now": self.world.clock.now(), "author": "anna"}

    # What holds at every moment

    @invariant()
    def i3_nobody_may_have_got_a_second_letter_without_a_person_s_decision(self) -> None:
        for person, letters in self.letters.items():
            assert letters <= 1 + self.decisions[person]

    @invariant()
    def orders_move_only_as_documented(self) -> None:
        for move in self.run(self._moves()):
            assert (move.old, move.new) in self.allowed, move
            if (move.old, move.new) == ("sending / handed over", "queued"):
                assert move.order_id in self.put_off, move  # I4
            if move.new in ENDED_BY_RULE:
                assert not self._is_unknown(move.order_id), move  # D37
        self.put_off.clear()

    async def _moves(self) -> list[Any]:
        async with self.world.database.begin() as connection:
            return await take_moves(connection)

    @invariant()
    def i2_d40_what_counts_as_sent_was_accepted_and_is_documented(self) -> None:
        sent = self._orders("sent")
        assert {row["id"] for row in sent} <= self.accepted | self.said_sent
        assert self.run(self.world.count(contact_entries)) == len(sent)

    @invariant()
    def d13_one_letter_of_a_lineage_is_on_its_way_to_a_person(self) -> None:
        under_way = Counter(row["person_id"] for row in self._orders("queued", "sending"))
        assert all(count == 1 for count in under_way.values())


def _chosen(among: list[T], which: int) -> T:
    return among[which % len(among)]
