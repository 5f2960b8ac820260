"""The path that a proxy puts before every page."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def prefix_of(url: str | None) -> str:
    """The path of the address at which people find the pages, without a slash at its end."""
    return urlsplit(url or "").path.rstrip("/")


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
