"""What people do to write orders at any moment: the machine's rules for them."""

from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shared.db.order_commands import block, retry, settle, unblock
from shared.errors import Refused
from tests.services.delivery_stage import PROFILES, SETS, Stage, chosen

BLOCKABLE = ("planned", "queued", "sending", "unclear")
EDITS = ("letter", "letter", "query", "priority", "on_unclear", "valid_days")
pick = st.integers(0, 5)


class People(Stage):
    """Switches, edits, blocks and decisions."""

    @rule(back=st.sampled_from((True, True, False)))
    def a_person_switches_the_job(self, back: bool) -> None:
        for status in ("Aus", "An") if back and self.model.on else ("Aus" if self.model.on else "An",):
            self.model.switch(status == "An", self.world.clock.now())
            self.run(self.world.change(status=status))
            self.meet()

    @rule(what=st.sampled_from(EDITS))
    def a_person_edits(self, what: str) -> None:
        """The letter, the query or the job: nothing claimed before is handed over after it (I9)."""
        if what == "letter":
            self.save_letter()
        elif what == "query":
            self.model.edit_query()
            accepted = ", ".join(sorted(self.model.statuses))
            self.apply(f"queries: [{{name: Neue, filters: [{{field: status, in: [{accepted}]}}]}}]\n")
        else:
            new = self.model.edit_job(what)
            self.run(self.world.change(**{what: new}))
        self.meet()

    @precondition(lambda self: self.model.on and self.rows("planned", "withdrawn"))
    @rule()
    def a_person_runs_the_job(self) -> None:
        self.model.run_now()
        self.run(self.world.run(on=None))
        self.meet()

    @rule(name=st.sampled_from(tuple(SETS)), profile=st.sampled_from(PROFILES))
    def an_application_changes(self, name: str, profile: tuple[str, str]) -> None:
        self.profiles[name] = profile
        self.run(self.world.applicants(self.row(name)))
        self.meet()

    @precondition(lambda self: self.rows(*BLOCKABLE))
    @rule(which=pick, scope=st.sampled_from(("letter", "letter", "job", "all")))
    def a_person_blocks(self, which: int, scope: str) -> None:
        order = chosen(sorted(self.rows(*BLOCKABLE), key=lambda row: row["state"] != "sending"), which)
        resending = self.model.orders[order["id"]].doubt is not None
        in_time = self.model.block(order["id"], scope != "letter") and not resending
        answer = self.run(block(self.world.database, order["id"], scope=scope, reason="x", until=None, **self.who()))
        assert answer == ("blocked" if in_time else "too late")  # I8
        self.meet()

    @precondition(lambda self: self.rows("blocked"))
    @rule(which=pick)
    def a_person_unblocks(self, which: int) -> None:
        order = chosen(self.rows("blocked"), which)
        self.model.unblock(order["id"], self.world.clock.now())
        self.run(unblock(self.world.database, order["id"], **self.who()))
        self.meet()

    @precondition(lambda self: self.rows("unclear"))
    @rule(which=pick, decision=st.sampled_from(("sent", "resend", "resend", "failed")))
    def a_person_settles(self, which: int, decision: str) -> None:
        order = chosen(self.rows("unclear"), which)
        offered = self.model.decide(order["id"], decision, self.world.clock.now())
        assert self._allowed(settle(self.world.database, order["id"], decision, **self.who())) == offered
        if decision == "sent":
            self.said_sent.add(order["id"])
        self.meet()

    @precondition(lambda self: self.rows("failed", "no_address"))
    @rule(which=pick)
    def a_person_retries(self, which: int) -> None:
        order = chosen(self.rows("failed", "no_address"), which)
        offered = self.model.decide(order["id"], "retry", self.world.clock.now())
        assert self._allowed(retry(self.world.database, order["id"], **self.who())) == offered
        self.meet()

    def _allowed(self, work: Coroutine[Any, Any, None]) -> bool:
        try:
            self.run(work)
        except Refused as exc:
            assert "under way" in str(exc)
            return False
        return True
