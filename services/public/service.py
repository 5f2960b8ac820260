"""The candidates' page as a service: answers on its port until it is to stop."""

import asyncio
from typing import Any

from services.public.app import build_public
from shared.clock import Clock
from shared.db.engine import Database
from shared.errors import InvalidSettings
from shared.settings import Settings
from shared.web_server import answer


async def run_public(database: Database, clock: Clock, settings: Settings, log: Any, stop: asyncio.Event) -> None:
    """Answers requests until `stop`. Raises InvalidSettings without a port: nobody is surprised by an open one."""
    if settings.kp_public_port is None:
        raise InvalidSettings("setting KP_PUBLIC_PORT: is needed for the candidates' page")
    app, host = build_public(database, clock, settings), settings.kp_public_host
    await answer(app, "public", host, settings.kp_public_port, log, stop, proxies=settings.public_proxies())
