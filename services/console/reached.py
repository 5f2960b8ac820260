"""How browsers reach the console, where a proxy stands before it: its path, and whether by https."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def prefix_of(console_url: str | None) -> str:
    """The path that KP_CONSOLE_URL puts before every page, without a slash at its end."""
    return urlsplit(console_url or "").path.rstrip("/")


def is_at(request: Request, console_url: str) -> bool:
    """Whether the browser has the console open at this address's host."""
    parts = urlsplit(console_url)
    usual = {"https": ":443", "http": ":80"}[parts.scheme]
    here = request.headers.get("host", "").lower()
    return here.removesuffix(usual) == parts.netloc.lower().removesuffix(usual)


def is_by_https(request: Request, console_url: str | None) -> bool:
    """Whether the browser speaks https: seen here, told by a trusted proxy, or known of the address it has open."""
    if request.url.scheme == "https":
        return True
    return console_url is not None and console_url.startswith("https:") and is_at(request, console_url)


def session_cookie(is_secure: bool) -> str:
    """The cookie's name: with this prefix browsers take it from this very host only, by https."""
    return "__Host-kp_session" if is_secure else "kp_session"


class Prefixed:
    """Takes the proxy's path before every page, whether the proxy takes it off or not."""

    def __init__(self, app: Any, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        path = scope.get("path", "")
        if path != self._prefix and not path.startswith(f"{self._prefix}/"):
            path = self._prefix + path
        await self._app({**scope, "path": path, "root_path": self._prefix}, receive, send)
