"""What the machine over write orders stands on: an installation, the model beside it, and their comparison."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import update

from services.mailer.letters import Letters
from shared.db.column_types import lease_clock
from shared.db.engine import Database
from shared.db.system_settings import load_system_settings
from shared.db.tables import write_orders
from shared.db.write_orders.claims import ClaimedOrder
from shared.db.write_orders.intents import give_back, renew
from tests.services.history_guards import delete_everything
from tests.services.order_model import CLAIMED, Model
from tests.services.setup_files import apply
from tests.services.state_moves import take_moves
from tests.services.world import SETUP, World

T = TypeVar("T")
#: A1 and A2 are one person.
SETS = {"A1": "S1", "A2": "S1", "A3": "", "A4": "", "A5": ""}
#: (e-mail, status) of an application; the first stands for no obstacle, and is given most often.
PROFILES = [*[("a@x.example", "Neu")] * 3, ("b@x.example", "Neu"), ("", "Neu"), ("a@x.example", "Pool")]
#: Seconds of the database's clock: no lease runs out but where the machine says so.
LEASE = 86_400


@dataclass
class Held:
    """An order in a mailer's hands; `answer` is what the relay said, or will have said, to the dot."""

    order: ClaimedOrder
    mailer: str
    answer: str | None = None


class Stage(RuleBasedStateMachine):
    """An installation that is emptied and set up anew for each example."""

    def __init__(self, runner: asyncio.Runner, database: Database, folder: Path) -> None:
        super().__init__()
        self.runner = runner
        self.world = World(database, folder)
        self.latest = self.world.clock.now()
        self.letters = Letters(None)
        self.held: list[Held] = []
        #: By order: mails that the relay may have accepted, and what is the same in all of them (I12).
        self.mails: Counter[int] = Counter()
        self.same: dict[tuple[int, str], str] = {}
        #: Orders of which the relay accepted a mail, people said so, or the database was told.
        self.accepted: set[int] = set()
        self.said_sent: set[int] = set()
        self.told: set[int] = set()
        self.profiles = dict.fromkeys(SETS, PROFILES[0])
        self.seen: list[dict[str, Any]] | None = None

    def begin(self, resends: bool, guards: bool) -> None:
        """A job with five applicants, on the morning of its first dispatch."""
        self.model = Model(resends, guards, self.profiles, [name for name, group in SETS.items() if group])
        job = f"repeat_guard_days: {365 if guards else 0}, on_unclear: {'resend' if resends else 'ask'}"
        self.run(self._empty())
        self.run(self.world.begin(*map(self.row, SETS), setup=SETUP.replace("repeat_guard_days: 30", job)))
        self.save_letter()
        self.turn()

    async def _empty(self) -> None:
        async with self.world.database.begin() as connection:
            await delete_everything(connection)
            await take_moves(connection)

    def row(self, name: str) -> str:
        """An application's row in a file."""
        return f"{name},{SETS[name]},Eins,{','.join(self.profiles[name])},"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self.seen = None
        return self.runner.run(work)

    def meet(self) -> None:
        """Orders must be where the model says."""
        self.model.meet(self.rows(), self.world.clock.now())

    def rows(self, *states: str) -> list[dict[str, Any]]:
        """The orders, or those in one of these states."""
        if self.seen is None:
            self.seen = self.runner.run(self.world.rows())
        return [row for row in self.seen if not states or row["state"] in states]

    # What the services do, each compared with the model at once

    def turn(self) -> list[int]:
        """Tick, evaluations and sweep; the orders rung for."""
        self.model.turn(self.world.clock.now())
        rung = self.run(self.world.turn())
        self.meet()
        return rung

    def sweep(self) -> None:
        self.model.sweep(self.world.clock.now())
        self.run(self.world.sweep())
        self.world.bus.taken()
        self.meet()

    def claim(self, ids: list[int], mailer: str) -> list[Held]:
        """T1 of these, in whatever state they are: a doorbell may come late or twice."""
        self.model.claim(ids, self.world.clock.now())
        found = self.run(self.world.claim(*ids, mailer=mailer, lease=LEASE)).orders
        self.meet()
        held = [Held(order, mailer) for order in found]
        assert {order.id for order in found} == {
            one for one in ids if self.model.orders[one].state == CLAIMED and self.model.orders[one].token is None
        }
        for order in found:
            known = self.model.claimed(order.id, order.token)
            # A letter keeps what its first claim gave it (I9, I12), and is never older than what was saved by then.
            assert order.letter_version == (known.edition or 0) + 1
            assert (order.email, order.on_unclear) == (known.address, "resend" if self.model.resends else "ask")
        for row in self.rows("no_address"):
            self.model.documented(row["id"])
        self.held += held
        return held

    def hand_over(self, held: Held, answer: str) -> None:
        """T2 and, if it is granted, the final dot."""
        order, now = held.order, self.world.clock.now()
        granted = self.model.intend(order.id, order.token, now)
        assert self.run(self.world.intend(order, reply_lease=LEASE)) == ({order.id} if granted else set())
        self.meet()
        if not granted:  # I8, I9, I10, I11
            self.give_back(held)
            return
        assert order.id not in self.told  # I20
        mail, known = self.run(self._written(order)), self.model.orders[order.id]
        assert mail.recipient == self.profiles[known.application][0] != ""  # I10
        assert f"Fassung-{known.edition}." in mail.content.decode()  # I9
        assert self.same.setdefault((order.id, mail.recipient), mail.body_hash) == mail.body_hash  # I12
        assert self.same.setdefault((order.id, "Message-ID"), mail.message_id) == mail.message_id  # I12
        held.answer = answer
        if answer in ("sent", "unclear"):
            self.mails[order.id] += 1
        if answer == "sent":
            self.accepted.add(order.id)
        assert not self.run(self.world.intend(order, reply_lease=LEASE))

    async def _written(self, order: ClaimedOrder) -> Any:
        async with self.world.database.begin() as connection:
            settings = await load_system_settings(connection)
            writing = await self.letters.prepare(connection, [order], settings)
        return self.letters.write(order, writing)

    def give_back(self, held: Held) -> None:
        self.held.remove(held)
        now = self.world.clock.now()
        self.model.give_back(held.order.id, held.order.token, now)
        self.run(self._give_back(held, now))
        self.meet()

    async def _give_back(self, held: Held, now: Any) -> None:
        async with self.world.database.begin() as connection:
            await give_back(connection, {held.order.id: held.order.token}, now, "refused")

    def renewed(self, held: Held) -> bool:
        """Whether the mailer still holds it."""

        async def once() -> set[int]:
            async with self.world.database.begin() as connection:
                return await renew(connection, {held.order.id: held.order.token}, LEASE)

        return self.run(once()) == {held.order.id}

    def settle(self, held: Held, answer: str) -> None:
        """T3, and once more: the answer to its COMMIT may have been lost."""
        self.held.remove(held)
        order, now = held.order, self.world.clock.now()
        if answer == "sent":
            self.told.add(order.id)
        values = {} if answer == "sent" else {"reason": answer, "not_before": now if answer == "queued" else None}
        for _ in range(2):
            moved = self.model.settle(order.id, order.token, answer, now)
            assert self.run(self.world.settle(order, answer, **values)) == ({order.id} if moved else set())  # I6, I11
            self.meet()

    def leases_run_out(self) -> None:
        """Of everything that is held."""
        self.model.leases_run_out()
        self.run(self._expire())

    async def _expire(self) -> None:
        async with self.world.database.begin() as connection:
            sending = update(write_orders).where(write_orders.c.state == "sending")
            await connection.execute(sending.values(lease_until=lease_clock(-1)))

    # What people do

    def save_letter(self) -> None:
        """Another edition of the letter."""
        self.model.edit_letter()
        text = f"'Guten Tag {{{{ applicant.last_name }}}}. Fassung-{self.model.edition}.'"
        self.apply(f"letters: [{{name: Brief, subject: Guten Tag, text: {text}}}]\n")

    def apply(self, setup: str) -> None:
        self.run(apply(self.world.database, setup, now=self.world.clock.now()))

    def pass_time(self, pause: timedelta) -> None:
        """Or takes it back."""
        self.world.clock.advance(pause)
        self.latest = max(self.latest, self.world.clock.now())

    def who(self) -> Mapping[str, Any]:
        """Who does something, and when."""
        return {"now": self.world.clock.now(), "author": "anna"}


def chosen(among: list[T], which: int) -> T:
    """One of them, whatever number is drawn."""
    return among[which % len(among)]
