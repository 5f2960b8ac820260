"""What a platform asks a process: does it live, does it take work, how is it doing (`/livez`, `/readyz`, `/metrics`).

Without names, addresses or letters; it listens on this machine's loopback unless told otherwise.
"""

import asyncio
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.metrics import READY, describe_build
from shared.readiness import Readiness
from shared.settings import Settings
from shared.web_server import answer


def build_probes(readiness: Readiness) -> Starlette:
    """The application that answers."""

    async def livez(_: Request) -> Response:
        # That it answers says that its loop turns. A database that is away is no reason to kill anybody.
        return JSONResponse({"alive": True})

    async def readyz(_: Request) -> Response:
        reasons = await readiness.reasons()
        READY.set(not reasons)
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(_: Request) -> Response:
        READY.set(not await readiness.reasons())
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


async def answer_probes(readiness: Readiness, settings: Settings, log: Any, stop: asyncio.Event) -> None:
    """Answers until `stop`, which comes after the drain."""
    describe_build()
    port = settings.kp_health_port or 0
    await answer(build_probes(readiness), "health", settings.kp_health_host, port, log, stop)
