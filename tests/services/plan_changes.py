"""Random things that happen between two looks at a plan, all by the product's own functions."""

import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import exists, select, update

from shared.db import person_commands as people
from shared.db.core_data import reduce_to_core_data
from shared.db.duplicates import assign_persons
from shared.db.jobs import copy_job, delete_job
from shared.db.order_commands import block, retry, settle, unblock
from shared.db.system_settings import load_system_settings, save_system_settings
from shared.db.tables import applications, blocks, persons, write_orders
from shared.errors import Refused
from tests.data_generator import CONTACT_COLUMNS, write_files
from tests.services.import_files import Files, lines
from tests.services.world import DAY, World

_STATUSES = ("Neu online", "Interview vereinbart", "Absage", "Bewerber-Pool", "Eingestellt")

NAMES = (
    *("edit_applications", "edit_applications", "import_contacts", "import_contacts", "import_people", "opt_out"),
    *("opt_in", "opt_in", "block_person", "unblock_person", "unblock_person", "block_order", "edit_blocks"),
    *("unblock_order", "send_k", "send_k", "send_j", "retry_order", "settle_order", "edit_address", "assign", "reduce"),
    *("copy_and_delete", "another_program", "edit_field", "edit_field", "edit_field"),
)


class Changes:
    """What may happen in an installation with the job J, whose plans are looked at, and K, which goes before it."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.files = Files(world.database, world.folder)
        self.done = 0

    async def happen(self) -> str:
        """One of them; its name."""
        self.done += 1
        name = self.rng.choice(NAMES)
        with suppress(Refused):
            await getattr(self, name)()
        return name

    async def application(self, *where: Any) -> str:
        """An application's external id: one of these, else mostly of one whom a plan is about."""
        a, o = applications.c, write_orders.c
        every = select(a.external_id).join(persons, persons.c.id == a.person_id).order_by(a.external_id)
        planned = every.where(exists().where(o.application_id == a.id))
        chosen = every.where(*where) if where else planned if self.rng.random() < 0.7 else every
        async with self.world.database.read() as connection:
            found = list((await connection.execute(chosen)).scalars())
            return self.rng.choice(found or list((await connection.execute(every)).scalars()))

    async def edit_applications(self) -> None:
        columns = {
            "email": ("", "neu@x.example", "keine"),
            "status": _STATUSES,
            "department": ("IT", "Technik", "Kantine", ""),
            "duplicate_set": ("S1", "S2", "S3"),
            "birth_date": ("1990-12-24", "1990-06-24", ""),
            "in_pool": ("true", "false"),
            "received_on": ("2020-02-02", "2026-11-20", ""),
            "custom.skills": ("x", "Python", ""),
        }
        for name in self.rng.sample(list(columns), 2):
            row = f"{await self.application()},{self.rng.choice(columns[name])}"
            await self.files.applications(lines(f"external_id,{name}", row))

    async def edit_field(self) -> None:
        row = f"{await self.application()},{self.rng.choice(('x', 'Python', ''))}"
        await self.files.applications(lines("external_id,custom.skills", row))

    async def import_contacts(self) -> None:
        at = self.world.clock.now() - timedelta(days=self.rng.choice((0, 10, 25, 300)))
        medium, direction = self.rng.choice(("mail", "phone", "note")), self.rng.choice(("outgoing", "incoming"))
        who = f"{await self.application()},"
        if self.rng.random() < 0.5:  # an entry of the person, who may have several applications
            async with self.world.database.read() as connection:
                sets = select(persons.c.duplicate_set).where(persons.c.duplicate_set.is_not(None))
                who = f",{self.rng.choice(list((await connection.execute(sets)).scalars()))}"
        row = f"K{self.done},{who},{at.isoformat()},{medium},{direction},S,,"
        await self.files.contacts(lines(",".join(CONTACT_COLUMNS), row))

    async def import_people(self) -> None:
        folder = Path(self.world.folder) / f"more-{self.done}"
        paths = write_files(folder, 12, 2, self.rng.randint(1, 10_000))
        await self.files.applications(paths[0].read_bytes())
        if self.rng.random() < 0.5:
            await self.files.contacts(paths[1].read_bytes())

    async def opt_out(self) -> None:
        who = await self.application()
        await people.opt_out(self.world.database, who, reason=None, author="a", now=self.world.clock.now())

    async def opt_in(self) -> None:
        who = await self.application(persons.c.opted_out_at.is_not(None))
        await people.opt_in(self.world.database, who, author="a", now=self.world.clock.now())

    async def block_person(self) -> None:
        job = self.rng.choice(("J", "K", None))
        until = None if job else self.rng.choice((None, DAY, DAY + timedelta(days=2)))
        given = {"job": job, "until": until, "reason": f"r{self.done}", "author": "a", "now": self.world.clock.now()}
        await people.block(self.world.database, await self.application(), **given)

    async def unblock_person(self) -> None:
        job = self.rng.choice(("J", None, None))
        who = await self.application(exists().where(blocks.c.person_id == persons.c.id, blocks.c.lifted_at.is_(None)))
        await people.unblock(self.world.database, who, job=job, author="a", now=self.world.clock.now())

    async def _order(self, *states: str) -> int | None:
        found = [row["id"] for row in await self.world.rows() if row["state"] in states]
        return self.rng.choice(found) if found else None

    async def block_order(self) -> None:
        if order := await self._order("planned", "queued"):
            given = {"scope": self.rng.choice(("letter", "job", "all")), "reason": f"r{self.done}", "until": None}
            await block(self.world.database, order, author="a", now=self.world.clock.now(), **given)

    async def unblock_order(self) -> None:
        if order := await self._order("blocked"):
            await unblock(self.world.database, order, author="a", now=self.world.clock.now())

    async def edit_blocks(self) -> None:
        for _ in range(3):
            await self.block_order()
        await self.unblock_order()

    async def send_k(self) -> None:
        """Another job's letters of some day: all that can become of them."""
        await self._send("K", DAY - timedelta(days=self.rng.choice((0, 1, 5))), 8)

    async def send_j(self) -> None:
        """The job's own letters of a day that has passed: what guards the coming days (D13)."""
        await self._send("J", DAY - timedelta(days=self.rng.choice((1, 2))), 15)

    async def _send(self, job: str, on: object, count: int) -> None:
        await self.world.run(job, on)  # type: ignore[arg-type]
        queued = [row["id"] for row in await self.world.rows() if row["state"] == "queued"]
        for order in (await self.world.claim(*self.rng.sample(queued, min(count, len(queued))))).orders:
            if await self.world.intend(order):
                state = self.rng.choice(("sent", "sent", "failed", "unclear", "queued"))
                await self.world.settle(order, state, reason=None, not_before=self.world.clock.now())

    async def retry_order(self) -> None:
        if order := await self._order("failed", "no_address"):
            await retry(self.world.database, order, author="a", now=self.world.clock.now())

    async def settle_order(self) -> None:
        if order := await self._order("unclear"):
            decision = self.rng.choice(("sent", "resend", "failed"))
            await settle(self.world.database, order, decision, author="a", now=self.world.clock.now())

    async def edit_address(self) -> None:
        """What `no_address` and the address of a letter are about."""
        found = [row["external_id"] for row in await self.world.rows() if row["state"] == "no_address"]
        if found:
            row = f"{self.rng.choice(found)},neu{self.done}@x.example"
            await self.files.applications(lines("external_id,email", row))

    async def assign(self) -> None:
        keys = self.rng.choice((["last_name"], ["birth_date"], ["first_name", "last_name"]))
        async with self.world.database.begin() as connection:
            await save_system_settings(connection, {"duplicate_keys": keys})
        async for _ in assign_persons(self.world.database, now=self.world.clock.now(), author="a"):
            pass

    async def reduce(self) -> None:
        who = await self.application()
        async with self.world.database.begin() as connection:
            found = select(applications.c.id).where(applications.c.external_id == who)
            ids = list((await connection.execute(found)).scalars())
            settings = await load_system_settings(connection)
            await reduce_to_core_data(connection, ids, settings, self.world.clock.now(), "a")

    async def copy_and_delete(self) -> None:
        """Orders lose their job, a job loses its rank: both without a word about people."""
        name = f"C{self.done}"
        await copy_job(self.world.database, "K", name, author="a", now=self.world.clock.now())
        await self.world.change(name, status="An", priority="30")
        await self._send(name, DAY, 3)
        if self.rng.random() < 0.5:
            await delete_job(self.world.database, name, author="a", now=self.world.clock.now())

    async def another_program(self) -> None:
        """Somebody with a database tool."""
        a = applications.c
        which = update(applications).where(a.external_id == await self.application())
        async with self.world.database.begin() as connection:
            await connection.execute(which.values(usable_email=None, last_outgoing_at=None))
