"""What Prometheus is told of a relay that is away: from the first failure until it works, or is tried elsewhere."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.mailer import relay_pause
from services.mailer.outcome import Sent
from shared.metrics import RELAY_AWAY
from tests.services.smtp_sending import DEADLINE, FROM, MAIL, TO, conversation, granted
from tests.smtp_scripts import always, well_behaved


async def test_prometheus_is_told_that_the_relay_is_away_until_a_letter_is_answered(tmp_path: Path) -> None:
    def told(stage: str) -> float | None:
        return REGISTRY.get_sample_value("kontaktpflege_relay_away", {"stage": stage})

    RELAY_AWAY.clear()
    async with conversation(tmp_path, always("421_banner")) as (oracle, pool):
        for _ in range(3):
            await pool.wait_ready(asyncio.Event())
            await pool.send(FROM, TO, MAIL, granted)
            assert told("connect") == 1
        await pool.wait_ready(asyncio.Event())
        assert told("connect") == 1  # a pause that is over says nothing about the relay
        oracle.script = always("421_after_mail")
        await pool.send(FROM, TO, MAIL, granted)
        assert (told("connect"), told("MAIL FROM")) == (0, 1)
        oracle.script = well_behaved
        await pool.wait_ready(asyncio.Event())
        assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)
        assert (told("connect"), told("MAIL FROM")) == (0, 0)
        oracle.script = always("421_after_mail")
        await pool.send(FROM, TO, MAIL, granted)
        assert told("MAIL FROM") == 1
    assert told("MAIL FROM") == 0  # one that is closed, as after a test letter, tells nothing


async def test_a_failure_whose_letter_is_tried_elsewhere_is_not_told_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> float | None:
        return REGISTRY.get_sample_value("kontaktpflege_relay_away", {"stage": "connect"})

    RELAY_AWAY.clear()
    monkeypatch.setattr(relay_pause, "TRIED_AGAIN", 0.5)
    async with conversation(tmp_path, always("421_banner"), pool={"first_pause": 0.5}) as (_, pool):
        await pool.send(FROM, TO, MAIL, granted)
        await pool.wait_ready(asyncio.Event())
        assert told() == 1  # its own letters may still come back here
        # Nothing does: they went out by another mailer.
        for _ in range(int(DEADLINE / 0.05)):
            if told() == 0:
                break
            await asyncio.sleep(0.05)
        assert told() == 0
