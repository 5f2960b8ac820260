"""The console as a service: answers on its port until it is to stop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from services.console.app import build_console
from services.console.surroundings import Surroundings
from shared.lifecycle import pause

#: Seconds after which a port that is taken is tried again.
TRY_AGAIN_SECONDS = 10.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the service's business: they end all parts of a process in order."""
        yield


async def run_console(surroundings: Surroundings, log: Any, stop: asyncio.Event) -> None:
    """Answers requests until `stop`; waits for a port that is taken, for the letters must go out meanwhile."""
    settings = surroundings.settings
    while not stop.is_set():
        try:
            listening = _listen(settings.kp_console_host, settings.kp_console_port)
        except OSError as exc:
            address = f"{settings.kp_console_host}:{settings.kp_console_port}"
            log.error("console_cannot_listen", action="console_cannot_listen", address=address, reason=exc.strerror)
            await pause(TRY_AGAIN_SECONDS, stop)
            continue
        with listening:
            log.info("console_listens", action="console_listens", address=address_of(listening))
            await _serve(surroundings, listening, stop)


def address_of(listening: socket.socket) -> str:
    """Where people find it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=200)


async def _serve(surroundings: Surroundings, listening: socket.socket, stop: asyncio.Event) -> None:
    config = uvicorn.Config(
        build_console(surroundings),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=10,
        forwarded_allow_ips=surroundings.settings.console_proxies(),
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopped.cancel()
