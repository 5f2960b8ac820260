"""How a mailer ends: at once, with nothing lost and nothing held (I19, C8), and not before its time (I18)."""

import time
from pathlib import Path

from tests.services.running import running, settings_for, until
from tests.services.world import World
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import always


async def test_i19_c8_a_mailer_before_a_slow_relay_gives_back_at_once_what_it_has_not_begun(
    world: World, tmp_path: Path
) -> None:
    await world.begin(*(f"A{number},,Eins{number},a{number}@x.example,Neu," for number in range(30)))
    await world.run()
    async with SmtpOracle(tmp_path / "ledger", always("slow:0.2")) as oracle:
        settings = settings_for(tmp_path, oracle.url, KP_CLAIM_BATCH=5, KP_SMTP_CONNECTIONS=2, KP_GRACE_SECONDS=10)
        async with running(world, settings):
            await until(world, lambda found: list(found.values()).count("sent") >= 2)
            sent, stopped_at = len(oracle.mails), time.monotonic()
        assert time.monotonic() - stopped_at < 4
        assert len(oracle.mails) - sent <= 2  # one for each connection
        states = list((await world.orders()).values())
        assert sorted(set(states)) == ["queued", "sent"] and states.count("sent") == len(oracle.mails)
