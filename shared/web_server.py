"""Answering HTTP beside the other work of a process, until told to end."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn

from shared.lifecycle import pause

#: Seconds after which a port that is taken is tried again.
TRY_AGAIN_SECONDS = 10.0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the service's business: they end all parts of a process in order."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; raises OSError, for instance where the port is taken."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=200)


def address_of(listening: socket.socket) -> str:
    """Where people find it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def answer(
    app: Any, what: str, host: str, port: int, log: Any, stop: asyncio.Event, *, proxies: Sequence[str] = ()
) -> None:
    """Answers with an ASGI application until `stop`; waits for a port that is taken, for the rest must go on meanwhile.

    `what`: its name in the log. `proxies`: whose word about the browser is taken.
    """
    while not stop.is_set():
        try:
            listening = listen(host, port)
        except OSError as exc:
            action = f"{what}_cannot_listen"
            log.error(action, action=action, address=f"{host}:{port}", reason=exc.strerror)
            await pause(TRY_AGAIN_SECONDS, stop)
            continue
        with listening:
            log.info(f"{what}_listens", action=f"{what}_listens", address=address_of(listening))
            await _serve(app, listening, stop, proxies)


async def _serve(app: Any, listening: socket.socket, stop: asyncio.Event, proxies: Sequence[str]) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=10,
        forwarded_allow_ips=list(proxies),
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
