"""The console as a service: answers on its port until it is to stop."""

import asyncio
from typing import Any

from services.console.app import build_console
from services.console.surroundings import Surroundings
from shared.lifecycle import pause
from shared.web_server import address_of, listen, serve

#: Seconds after which a port that is taken is tried again.
TRY_AGAIN_SECONDS = 10.0


async def run_console(surroundings: Surroundings, log: Any, stop: asyncio.Event) -> None:
    """Answers requests until `stop`; waits for a port that is taken, for the letters must go out meanwhile."""
    settings = surroundings.settings
    while not stop.is_set():
        try:
            listening = listen(settings.kp_console_host, settings.kp_console_port)
        except OSError as exc:
            address = f"{settings.kp_console_host}:{settings.kp_console_port}"
            log.error("console_cannot_listen", action="console_cannot_listen", address=address, reason=exc.strerror)
            await pause(TRY_AGAIN_SECONDS, stop)
            continue
        with listening:
            log.info("console_listens", action="console_listens", address=address_of(listening))
            await serve(build_console(surroundings), listening, stop, settings.console_proxies())
