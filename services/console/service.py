"""The console as a service: answers on its port until it is to stop."""

import asyncio
from typing import Any

from services.console.app import build_console
from services.console.surroundings import Surroundings
from shared.web_server import answer


async def run_console(surroundings: Surroundings, log: Any, stop: asyncio.Event) -> None:
    """Answers requests until `stop`."""
    settings = surroundings.settings
    host, port, proxies = settings.kp_console_host, settings.kp_console_port, settings.console_proxies()
    await answer(build_console(surroundings), "console", host, port, log, stop, proxies=proxies)
