"""What breaks in one order's claim or letter ends there, with its reason, and holds up nobody else (I15, C22)."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from services.mailer.letters import Letters
from shared.db.tables import form_letter_versions, form_letters
from tests.services.running import running, settings_for, until
from tests.services.world import SETUP, World
from tests.smtp_oracle import SmtpOracle

TWO_JOBS = (
    SETUP
    + """\
  - {name: Ende, status: An, query: Geburtstag, letter: Ende, dispatch: rolling, time: "08:00", sender: "user:a.weber"}
"""
)
PEOPLE = ("A1,,Eins,a1@x.example,Neu,", "A2,,Zwei,a2@x.example,Neu,", "B1,,Drei,b1@x.example,Pool,1990-11-23")


async def spoil(world: World, letter: str) -> None:
    """A stored letter that a later release does not allow any more."""
    async with world.database.begin() as connection:
        its = select(form_letters.c.id).where(form_letters.c.name == letter).scalar_subquery()
        broken = {"composed": None, "text": "{% for x in range(10) %}{% endfor %}"}
        of_letter = update(form_letter_versions).where(form_letter_versions.c.letter_id == its)
        await connection.execute(of_letter.values(broken))


async def test_i15_c22_a_letter_that_cannot_be_made_ready_fails_alone_and_visibly(world: World, tmp_path: Path) -> None:
    await world.begin(*PEOPLE, setup=TWO_JOBS)
    await world.run()
    await world.run("Ende")
    await spoil(world, "Ende")
    async with SmtpOracle(tmp_path / "ledger") as oracle, running(world, settings_for(tmp_path, oracle.url)):
        ended = await until(world, lambda found: set(found.values()) <= {"sent", "failed"})
        assert {mail.recipient for mail in oracle.mails} == {"a1@x.example", "a2@x.example"}
    assert ended == {"A1": "sent", "A2": "sent", "B1": "failed"}
    assert "for" in (await world.order("B1"))["reason"]


async def test_i15_c22_a_bug_in_a_claim_ends_neither_the_mailer_nor_other_letters(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.begin(*PEOPLE[:2])
    await world.run()
    prepare = Letters.prepare

    async def broken(self: Letters, connection: Any, orders: Any, settings: Any) -> Any:
        if any(order.email == "a2@x.example" for order in orders):
            raise ZeroDivisionError
        return await prepare(self, connection, orders, settings)

    monkeypatch.setattr(Letters, "prepare", broken)
    async with SmtpOracle(tmp_path / "ledger") as oracle, running(world, settings_for(tmp_path, oracle.url)):
        ended = await until(world, lambda found: set(found.values()) <= {"sent", "failed"})
    assert ended == {"A1": "sent", "A2": "failed"}
    assert (await world.order("A2"))["reason"] == "internal error: ZeroDivisionError"
