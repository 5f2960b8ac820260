"""A pool that sends to the scripted server, in one loop with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from services.mailer.smtp import SmtpPool
from services.mailer.smtp_address import parse_smtp_url
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import Script, well_behaved

MAIL = b"Subject: x\r\nMessage-ID: <order-1@x.example>\r\n\r\nbody\r\n"
FROM, TO = "s@x.example", "a@b.example"
DEADLINE = 10.0


async def granted() -> bool:
    return True


def pool_for(oracle: SmtpOracle, url: str = "", **given: Any) -> SmtpPool:
    arguments = {"size": 4, "timeout": DEADLINE, "final_timeout": DEADLINE, "first_pause": 0.001} | given
    return SmtpPool(parse_smtp_url(url or oracle.url), log=structlog.get_logger(), **arguments)


@asynccontextmanager
async def conversation(
    tmp_path: Path, script: Script = well_behaved, *, url: str = "", pool: Any = None, **server: Any
) -> AsyncIterator[tuple[SmtpOracle, SmtpPool]]:
    async with SmtpOracle(tmp_path / "ledger", script, **server) as oracle:
        sender = pool_for(oracle, url.format(port=oracle.port), **(pool or {}))
        try:
            yield oracle, sender
        finally:
            await sender.close()
