"""Mailers, a relay whose answers get lost, people and time as a state machine over write orders, and what must hold."""

import sys
from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from shared.db.tables import contact_entries
from tests.services.delivery_people import People
from tests.services.delivery_stage import PROFILES, Held, chosen
from tests.services.order_model import CLAIMED
from tests.services.state_moves import documented_moves, take_moves

ENDED_BY_RULE = {"planned", "withdrawn", "blocked", "no_address"}
PAUSES = [timedelta(minutes=1), timedelta(minutes=16), timedelta(hours=9), timedelta(days=1)]
#: What becomes of a hand-over, as the mailer judges it.
ANSWERS = ("sent", "queued", "failed", "unclear")
#: Turns of 16 minutes in which everything comes to rest once nothing happens any more.
PATIENCE = 12
pick = st.integers(0, 5)
ALLOWED = documented_moves()


class Delivery(People):
    """The machine."""

    @initialize(
        released=st.sampled_from((True, True, False)),
        again=st.integers(0, 2),
        resends=st.booleans(),
        guards=st.sampled_from((True, True, False)),
    )
    def it_begins(self, released: bool, again: int, resends: bool, guards: bool) -> None:
        """With planned orders, or with queued ones of which some were handed over before and are sent again."""
        self.begin(resends, guards)
        if not released:
            return
        self.a_person_runs_the_job()
        if again:
            self.a_mailer_sends(["unclear"] * again)
            for _ in range(again):
                self.a_person_settles(0, "resend")
            self.pass_time(timedelta(minutes=16))

    # The services

    @rule(pause=st.sampled_from(PAUSES))
    def time_passes(self, pause: timedelta) -> None:
        self.pass_time(pause)
        self.turn()

    @rule(hours=st.sampled_from((-2, -1, 1)))
    def the_clock_jumps(self, hours: int) -> None:
        """The application's; what is due by it may be due twice or never (I21)."""
        self.pass_time(timedelta(hours=hours))

    @precondition(lambda self: self.rows("queued"))
    @rule(mailer=st.sampled_from(("m1", "m2")), count=st.integers(1, 4), all_again=st.booleans())
    def a_mailer_claims(self, mailer: str, count: int, all_again: bool) -> None:
        """By doorbells, that come twice, late, and for orders that others hold or that have ended."""
        ids = [row["id"] for row in (self.rows() if all_again else self.rows("queued", "sending"))]
        self.claim(ids + ids[:1] if all_again else ids[:count], mailer)

    def _before_the_dot(self) -> list[Held]:
        return [held for held in self.held if held.answer is None]

    @precondition(lambda self: self._before_the_dot())
    @rule(which=pick, answer=st.sampled_from(ANSWERS))
    def a_mailer_hands_over(self, which: int, answer: str) -> None:
        self.hand_over(chosen(self._before_the_dot(), which), answer)

    @precondition(lambda self: self._before_the_dot())
    @rule(which=pick, state=st.sampled_from(("queued", "failed")))
    def a_mailer_fails_before_the_dot(self, which: int, state: str) -> None:
        self.settle(chosen(self._before_the_dot(), which), state)

    @precondition(lambda self: self._before_the_dot())
    @rule(which=pick)
    def a_mailer_drains(self, which: int) -> None:
        self.give_back(chosen(self._before_the_dot(), which))

    @precondition(lambda self: self._before_the_dot())
    @rule(which=pick)
    def a_mailer_renews(self, which: int) -> None:
        held = chosen(self._before_the_dot(), which)
        known = self.model.orders[held.order.id]
        holds = known.state == CLAIMED and known.token == held.order.token and not known.lease_ran_out
        assert self.renewed(held) == holds  # I11

    @precondition(lambda self: any(held.answer for held in self.held))
    @rule(which=pick)
    def a_mailer_settles(self, which: int) -> None:
        held = chosen([one for one in self.held if one.answer], which)
        self.settle(held, held.answer or "")

    @precondition(lambda self: self.rows("queued"))
    @rule(answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3))
    def a_mailer_sends(self, answers: list[str]) -> None:
        ids = [row["id"] for row in self.rows("queued")][: len(answers)]
        for held, answer in zip(self.claim(ids, "m1"), answers, strict=False):
            self.hand_over(held, answer)
            if held.answer:
                self.settle(held, answer)

    @precondition(lambda self: self.rows("queued"))
    @rule(what=st.sampled_from(("switched", "edited", "blocked", "moved", "lost")), answer=st.sampled_from(ANSWERS))
    def a_mailer_is_overtaken(self, what: str, answer: str) -> None:
        """Something happens between the claim and the dot: what random steps seldom put just there."""
        for held in self.claim([self.rows("queued")[0]["id"]], "m1"):
            if what == "switched":
                self.a_person_switches_the_job(True)
            elif what == "edited":
                self.a_person_edits("letter")
            elif what == "blocked":
                self.a_person_blocks(0, "letter")
            elif what == "moved":
                self.an_application_changes(held.order.application["external_id"], PROFILES[-3])
            else:
                self.every_lease_runs_out("none", answer == "sent")
            self.hand_over(held, answer)

    @precondition(lambda self: self.rows("sending"))
    @rule(dead=st.sampled_from(("m1", "m2", "none")), swept=st.booleans())
    def every_lease_runs_out(self, dead: str, swept: bool) -> None:
        self.held = [held for held in self.held if held.mailer != dead]
        self.leases_run_out()
        if swept:
            self.sweep()

    # What holds at every moment

    @invariant()
    def i3_an_order_may_have_arrived_once_and_once_more_for_each_release(self) -> None:
        for order_id, mails in self.mails.items():
            assert mails <= 1 + self.model.released[order_id]
        if self.model.guards:
            per_person: Counter[int] = Counter()
            for order_id, mails in self.mails.items():
                per_person[self.model.orders[order_id].person] += mails - self.model.released[order_id]
            assert all(mails <= 1 for mails in per_person.values())

    @invariant()
    def orders_move_only_as_documented(self) -> None:
        for move in self.run(self._moves()):
            assert (move.old, move.new) in ALLOWED, move
            if move.new in ENDED_BY_RULE:
                assert not self.model.orders[move.order_id].unanswered, move  # D37

    async def _moves(self) -> list[Any]:
        async with self.world.database.begin() as connection:
            return await take_moves(connection)

    @invariant()
    def i2_d40_what_counts_as_sent_was_accepted_and_is_documented(self) -> None:
        sent = self.rows("sent")
        assert {row["id"] for row in sent} <= self.accepted | self.said_sent
        assert self.run(self.world.count(contact_entries)) == len(sent)

    @invariant()
    def d13_one_letter_of_a_lineage_is_on_its_way_to_a_person(self) -> None:
        under_way = Counter(row["person_id"] for row in self.rows("queued", "sending"))
        assert all(count == 1 for count in under_way.values())

    def teardown(self) -> None:
        """I1, I18: whatever happened, once nothing more does, every order comes to rest."""
        if sys.exc_info()[0] is not None:
            return
        self.held.clear()
        self.leases_run_out()
        if not self.model.on:
            self.a_person_switches_the_job(False)
        self.pass_time(self.latest - self.world.clock.now())
        self.world.bus.waiting = 0
        for _ in range(PATIENCE):
            self.pass_time(timedelta(minutes=16))
            for held in self.claim(self.turn(), "m3"):
                self.hand_over(held, "sent")
                self.settle(held, "sent")
        assert not self.rows("queued", "sending"), (self.world.clock.now(), self.rows("queued", "sending"))
        self.i3_an_order_may_have_arrived_once_and_once_more_for_each_release()
        self.orders_move_only_as_documented()
        self.i2_d40_what_counts_as_sent_was_accepted_and_is_documented()
