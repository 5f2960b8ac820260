"""Clients that block, opt out, switch, edit and delete while letters go out, and write down what they were answered."""

import asyncio
import csv
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from shared.clock import Clock
from shared.db import order_commands as orders
from shared.db import person_commands as people
from shared.db.engine import Database
from shared.db.jobs import copy_job, delete_job, set_job
from shared.db.tables import applications, contact_jobs, write_orders
from shared.errors import Conflict, Refused
from tests.services.setup_files import apply

LOCATIONS = 10
_O, _A, _J = write_orders.c, applications.c, contact_jobs.c


@dataclass(frozen=True, slots=True)
class Race:
    """One action, when it was confirmed (time.monotonic), and whom nothing may be sent to from then on.

    `excused` were past T2 when the confirmation had come; `until`: when the client took it back.
    """

    action: str
    answer: str
    confirmed: float
    stopped: frozenset[int]
    excused: frozenset[int]
    until: float | None = None
    #: Orders that may only be sent if they were claimed under this epoch of the job or a later one (I9).
    epoch: int | None = None


@dataclass
class Client:
    """A person at work on a job of their own, and on its orders."""

    number: int
    database: Database
    clock: Clock
    rng: random.Random
    races: list[Race] = field(default_factory=list)
    excluded: int = 0

    @property
    def job(self) -> str:
        return f"J{self.number}"

    async def work(self, count: int) -> None:
        """So many races; the last one deletes the job."""
        actions = [self.block] * 9 + [self.delete_order, self.opt_out, self.unblock, self.aus_and_an, self.edit]
        while len(self.races) < count - 1:
            try:
                await self.rng.choice([*actions, self.exclude] if self.excluded < LOCATIONS // 2 else actions)()
            except (Refused, Conflict):
                continue
            await asyncio.sleep(self.rng.random() * 0.15)
        await self.copy_and_delete()

    async def block(self) -> None:
        order_id = await self._on_its_way()
        if order_id is not None:
            scope = self.rng.choice(["letter", "job", "all"])
            await self._answered(order_id, f"block {scope}", scope)

    async def delete_order(self) -> None:
        order_id = await self._on_its_way()
        if order_id is not None:
            await self._answered(order_id, "delete", "job")

    async def _answered(self, order_id: int, action: str, scope: str) -> None:
        answer = await orders.block(
            self.database, order_id, scope=scope, reason="race", until=None, now=self.clock.now(), author=self.job
        )
        confirmed, one = time.monotonic(), frozenset({order_id})
        # A withdrawn letter may match again: nothing was blocked.
        excused = one if answer in ("too late", "is withdrawn") else frozenset()
        self.races.append(Race(action, answer, confirmed, one, excused))

    async def unblock(self) -> None:
        blocked = await self._ids(_O.state == "blocked", limit=1)
        for order_id in blocked:
            answer = await orders.unblock(self.database, order_id, now=self.clock.now(), author=self.job)
            # After its send moment nothing comes back.
            stopped = frozenset(blocked if answer == "withdrawn" else ())
            self.races.append(Race("unblock", answer, time.monotonic(), stopped, frozenset()))

    async def opt_out(self) -> None:
        order_id = await self._on_its_way()
        if order_id is None:
            return
        async with self.database.read() as connection:
            name = select(_A.external_id).join(write_orders, _O.application_id == _A.id).where(_O.id == order_id)
            application = str((await connection.execute(name)).scalar_one())
        done = await people.opt_out(self.database, application, reason=None, author=self.job, now=self.clock.now())
        confirmed, one = time.monotonic(), frozenset({order_id})
        answer = "opted out" if done.changed else "had opted out"
        self.races.append(Race("opt-out", answer, confirmed, one, frozenset(await self._handed_over(one))))

    async def aus_and_an(self) -> None:
        await self._set(status="Aus")
        confirmed = time.monotonic()
        mine = frozenset(await self._ids())
        excused = frozenset(await self._handed_over(mine))
        await asyncio.sleep(self.rng.random() * 0.1)
        until = time.monotonic()
        await self._set(status="An")
        self.races.append(Race("Aus", "off", confirmed, mine, excused, until))

    async def edit(self) -> None:
        await self._set(note=str(self.rng.random()))
        await self._changed("edit the job")

    async def exclude(self) -> None:
        """The query lets another location out: its people get no letter from then on."""
        self.excluded += 1
        out = ", ".join(f"L{number}" for number in range(self.excluded))
        await apply(self.database, f"queries:\n  - {a_query(self.number, out)}\n", now=self.clock.now())
        confirmed = time.monotonic()
        gone = frozenset(await self._ids(_A.location == f"L{self.excluded - 1}"))
        self.races.append(Race("edit the query", "saved", confirmed, gone, frozenset(await self._handed_over(gone))))

    async def _changed(self, action: str) -> None:
        confirmed = time.monotonic()
        mine = frozenset(await self._ids())
        async with self.database.read() as connection:
            epoch = (await connection.execute(select(_J.epoch).where(_J.name == self.job))).scalar_one()
        excused = frozenset(await self._handed_over(mine))
        self.races.append(Race(action, "saved", confirmed, mine, excused, epoch=epoch))

    async def copy_and_delete(self) -> None:
        """The recommended repair; the copy stays Aus."""
        mine = frozenset(await self._ids())
        await copy_job(self.database, self.job, f"{self.job} Kopie", author=self.job, now=self.clock.now())
        await delete_job(self.database, self.job, author=self.job, now=self.clock.now())
        confirmed = time.monotonic()
        self.races.append(Race("delete the job", "deleted", confirmed, mine, frozenset(await self._handed_over(mine))))

    async def _set(self, **pairs: str) -> None:
        await set_job(self.database, self.job, pairs, author=self.job, now=self.clock.now())

    async def _on_its_way(self) -> int | None:
        """An order that is being sent, or waits for a mailer; those at the head of the queue rather."""
        found = await self._ids(_O.state == "sending", limit=20) or await self._ids(_O.state == "queued", limit=60)
        return self.rng.choice(found) if found else None

    async def _ids(self, *where: Any, limit: int | None = None) -> list[int]:
        statement = (
            select(_O.id).join(applications, _A.id == _O.application_id).where(_A.department == self.job, *where)
        )
        async with self.database.read() as connection:
            return list((await connection.execute(statement.order_by(_O.id).limit(limit))).scalars())

    async def _handed_over(self, order_ids: frozenset[int]) -> set[int]:
        statement = select(_O.id).where(_O.id.in_(order_ids), _O.handed_over_at.is_not(None))
        async with self.database.read() as connection:
            return set((await connection.execute(statement)).scalars())


def a_query(number: int, locations_out: str = "") -> str:
    without = f", {{field: location, not_in: [{locations_out}]}}" if locations_out else ""
    return f"{{name: Q{number}, filters: [{{field: department, in: [J{number}]}}{without}]}}"


def a_setup(clients: int) -> str:
    queries = "".join(f"  - {a_query(number)}\n" for number in range(clients))
    rest = "status: An, letter: Brief, dispatch: rolling, time: '08:00', sender: 'HR <hr@firma.example>'"
    jobs = "".join(f"  - {{name: J{number}, query: Q{number}, {rest}}}\n" for number in range(clients))
    letters = "letters: [{name: Brief, subject: Hallo, text: Guten Tag}]\n"
    return f"settings: {{sender: 'HR <hr@firma.example>'}}\nqueries:\n{queries}{letters}jobs:\n{jobs}"


def write_applicants(file: Path, clients: int, each: int) -> None:
    """Applicants of each client's job, spread over the locations."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["external_id", "last_name", "email", "department", "location"])
        for client in range(clients):
            for number in range(each):
                name = f"{client}-{number}"
                place = [f"J{client}", f"L{number % LOCATIONS}"]
                writer.writerow([name, f"Muster{number}", f"t{name}@firma.example", *place])


def violations(races: list[Race], sent: Mapping[int, float], rows: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """What was sent although a confirmed action had stopped it."""
    found = []
    for race in races:
        for order_id in (race.stopped - race.excused) & sent.keys():
            at = sent[order_id]
            if at < race.confirmed or (race.until is not None and at >= race.until):
                continue
            if race.epoch is not None and rows[order_id]["claimed_epoch"] >= race.epoch:
                continue
            late = at - race.confirmed
            found.append(f"{race.action} ({race.answer}): order {order_id} was sent {late:.3f} s after it")
        if race.answer == "blocked" and race.stopped & sent.keys():
            found.append(f"{race.action}: order {race.stopped} was blocked and sent")
        # Too late is a letter that was handed over, or that a last look had withdrawn meanwhile.
        if race.answer == "too late" and not all(_had_ended(rows[one]) for one in race.stopped):
            found.append(f"{race.action}: order {race.stopped} was not too late")
    return found


def _had_ended(row: Mapping[str, Any]) -> bool:
    return row["handed_over_at"] is not None or row["withdrawn_by"] == "last_look"
