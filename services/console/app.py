"""The console as an ASGI application: pages, headers, and how failures reach the person."""

from contextlib import suppress
from importlib.resources import files

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from services.console.pages import PAGES
from services.console.rendering import Renderer
from services.console.routing import routes
from services.console.surroundings import Surroundings
from services.console.visits import Forbidden, ForeignForm, NotSignedIn, Visit, session_of
from shared.errors import Conflict, InvalidInput, KontaktpflegeError, NotFound, Refused, Unavailable
from shared.logs import get_logger
from shared.web.forms import TooLarge
from shared.web.headers import Headers
from shared.web.prefix import Prefixed, prefix_of

#: Nothing from elsewhere, no script or style in the page; pictures in the stylesheet are data.
POLICY = (
    "default-src 'self'; script-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (Forbidden, 403),
    (ForeignForm, 403),
    (TooLarge, 413),
    (NotFound, 404),
    (InvalidInput, 422),
    (Refused, 409),
    (Conflict, 503),
    (Unavailable, 503),
)
#: What cannot be reached, by its name, as people are told.
_AWAY = {
    "database": "the database cannot be reached at the moment; nothing is lost, please try again in a minute",
    "broker": "the message broker cannot be reached at the moment; nothing is lost, please try again in a minute",
    "mail server": "the mail server cannot be reached at the moment; please try again in a minute",
}
_BUSY = "others are changing the same records at this moment; please try again"


def build_console(surroundings: Surroundings) -> Headers:
    """The application, an ASGI one; `surroundings` belong to the caller, who closes them."""
    static = Mount("/static", StaticFiles(directory=str(files("services.console") / "static")), name="static")
    app = Starlette(
        routes=[static, *routes(PAGES)],
        exception_handlers={
            KontaktpflegeError: _told,
            HTTPException: _not_there,
            Exception: _broken,
        },
    )
    app.state.surroundings, app.state.renderer = surroundings, Renderer()
    prefix = prefix_of(surroundings.settings.kp_console_url)
    # Around everything: what answers when a page breaks stands outside of Starlette's own middleware.
    return Headers(Prefixed(app, prefix) if prefix else app, HEADERS, timed=True)


async def _told(request: Request, exc: Exception) -> Response:
    """A failure that a person can understand: said in a page, or in a notice where a part of one was asked for."""
    if isinstance(exc, NotSignedIn):
        return _to_sign_in(request)
    status = next((code for kind, code in _STATUS if isinstance(exc, kind)), 400)
    if isinstance(exc, InvalidInput):
        return await _error_page(request, status, exc.fix, str(exc.value or ""))
    if status != 503:
        return await _error_page(request, status, str(exc))
    # Its address and the server's own words are for the log: whoever is not signed in yet sees this page too.
    get_logger("console").warning("console_waits", action="console_waits", reason=str(exc))
    return await _error_page(request, status, _AWAY.get(getattr(exc, "what", ""), _BUSY))


def _to_sign_in(request: Request) -> Response:
    target = f"{request.scope.get('root_path', '')}/sign-in"
    if request.headers.get("HX-Request") == "true":
        # Not led away: what was typed into the page would be gone. The page itself says so.
        return Response(status_code=401, headers={"X-Signed-Out": "1"})
    wanted = f"?to={request.url.path}" if request.method == "GET" and request.url.path != "/" else ""
    return RedirectResponse(target + wanted, status_code=303)


async def _not_there(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 404
    reasons = {404: "there is no such page", 405: "this page cannot be opened like this; please go there by the menu"}
    return await _error_page(request, status, reasons.get(status, str(exc)))


async def _broken(request: Request, exc: Exception) -> Response:
    get_logger("console").error("page_broken", action="page_broken", path=request.url.path, exc_info=exc)
    return await _error_page(request, 500, "something went wrong here; it was written to the log")


async def _error_page(request: Request, status: int, reason: str, value: str = "") -> Response:
    surroundings: Surroundings = request.app.state.surroundings
    session = None
    # The menu stays, unless just that is what cannot be had.
    with suppress(Exception):
        session = await session_of(request, surroundings) if status not in (500, 503) else None
    visit = Visit(request, surroundings, request.app.state.renderer, session, FormData())
    template = "error_part.html" if visit.is_partial else "error.html"
    return visit.render(template, status, code=status, reason=reason, value=value)
