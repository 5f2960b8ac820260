"""The headers that every answer has, whatever answers."""

import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from shared.web.prefix import Receive, Scope, Send


class Headers:
    """Adds headers that an answer does not have itself; what lies under /static/ may be kept by browsers.

    `timed`: and how long the server took (Server-Timing, in milliseconds).
    """

    def __init__(self, app: Any, headers: Mapping[str, str], *, timed: bool = False) -> None:
        self._app, self._headers, self._timed = app, headers, timed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        is_static = "/static/" in scope["path"]

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                extra = dict(self._headers)
                if self._timed:
                    extra["Server-Timing"] = f"app;dur={1000 * (time.perf_counter() - began):.1f}"
                # Not the error page: it stands in the person's own frame.
                if is_static and message["status"] < 400:
                    extra["Cache-Control"] = "public, max-age=3600"
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in extra.items() if k.lower().encode() not in own),
                ]
            await send(message)

        await self._app(scope, receive, sending)
