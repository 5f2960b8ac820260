"""The candidates' page as a service: answers on its port until it is to stop."""

import asyncio
from typing import Any

from services.public.app import build_public
from services.public.said import LOOK_SECONDS, open_journal
from shared.clock import Clock
from shared.db.engine import Database
from shared.errors import InvalidSettings
from shared.lifecycle import every
from shared.settings import Settings
from shared.web_server import answer


async def run_public(database: Database, clock: Clock, settings: Settings, log: Any, stop: asyncio.Event) -> None:
    """Answers requests until `stop`. Raises InvalidSettings without a port: nobody is surprised by an open one.

    A database that has forgotten what candidates said here is told again, before the first request and at any time.
    """
    if settings.kp_public_port is None:
        raise InvalidSettings("setting KP_PUBLIC_PORT: is needed for the candidates' page")
    journal = await open_journal(database, clock, settings, log)
    app, host = build_public(database, clock, settings, journal), settings.kp_public_host
    ended = asyncio.Event()
    looking = asyncio.create_task(every(LOOK_SECONDS, journal.look, ended, log))
    try:
        await answer(app, "public", host, settings.kp_public_port, log, stop, proxies=settings.public_proxies())
    finally:
        ended.set()
        await looking
