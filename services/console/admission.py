"""Letting people in, however they prove who they are: the sign-in page, what refusals cost, the new session."""

from starlette.responses import Response

from services.console.reached import session_cookie
from services.console.throttle import Throttle
from services.console.visits import Visit
from shared.db.console_sessions import NewSession, sign_out
from shared.logs import get_logger

#: One for all ways in.
THROTTLE = Throttle()


def client_of(visit: Visit) -> str:
    """The address that a visit comes from."""
    return visit.request.client.host if visit.request.client else ""


def own_path(visit: Visit, path: str) -> str:
    """A page of the console that somebody names, never another site; without the prefix that `go` adds."""
    path = path.removeprefix(visit.url(""))
    # Browsers take a backslash for a slash, and leave out what is not printable.
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() else "/"


def sign_in_page(visit: Visit, to: str, error: str | None = None, *, status: int = 200, name: str = "") -> Response:
    """The form, and why it is shown again."""
    return visit.render("sign_in.html", status, to=to, name=name, error=error)


def too_many(visit: Visit, to: str, wait: float, name: str = "") -> Response:
    """The form, for somebody who failed too often."""
    error = visit.text("Too many attempts. Try again in %(seconds)s seconds.", seconds=round(wait + 0.5))
    return sign_in_page(visit, to, error, status=429, name=name)


def refuse(
    visit: Visit,
    status: int,
    to: str,
    error: str,
    *,
    way: str,
    reason: str,
    name: str | None = None,
    counts: bool = True,
) -> Response:
    """The form with the reason; the failure is counted and noted, without what was typed or sent."""
    if counts:
        THROTTLE.failed(name, client_of(visit))
    get_logger("console").warning("sign_in_refused", action="sign_in_refused", way=way, reason=reason)
    return sign_in_page(visit, to, error, status=status, name=name or "")


async def admit(visit: Visit, session: NewSession, to: str, *, way: str) -> Response:
    """Sends the browser on with its new session; the one that it had before ends."""
    if visit.session is not None:
        await sign_out(visit.database, visit.session.token_hash)
    get_logger("console").info("signed_in", action="signed_in", user_id=session.user_id, way=way)
    response = visit.go(own_path(visit, to))
    name = session_cookie(visit.is_secure)
    response.set_cookie(name, session.token, httponly=True, samesite="lax", secure=visit.is_secure)
    return response
