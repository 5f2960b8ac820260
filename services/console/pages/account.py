"""Signing in and out, the language, the own password."""

from starlette.responses import Response
from starlette.routing import Match, Route

from services.console.admission import THROTTLE, admit, client_of, own_path, refuse, sign_in_page, too_many
from services.console.pages.imports import forget
from services.console.reached import session_cookie
from services.console.routing import Page
from services.console.visits import LANGUAGE_COOKIE, Visit
from shared.db.console_sessions import end_sessions, knows_password, sign_in, sign_out
from shared.db.user_commands import set_password
from shared.errors import InvalidInput


async def show_sign_in(visit: Visit) -> Response:
    """The form."""
    return sign_in_page(visit, visit.asked("to"))


async def take_sign_in(visit: Visit) -> Response:
    """Name and password: a session, or the same form with the reason."""
    name, to, client = visit.field("name"), visit.field("to"), client_of(visit)
    if (wait := THROTTLE.seconds_to_wait(name, client)) > 0:
        return too_many(visit, to, wait, name)
    password = visit.form.get("password")
    # Counted before it is looked at: of guesses that come at once each would be looked at before one has failed.
    THROTTLE.failed(name, client)
    try:
        session = await sign_in(visit.database, name, password if isinstance(password, str) else "", visit.now)
    except Exception:
        THROTTLE.forgive(name, client)
        raise
    if session is None:
        error = visit.text("Name and password do not fit together.")
        return refuse(visit, 401, to, error, way="password", reason="name and password", name=name, counts=False)
    THROTTLE.succeeded(name, client)
    return await admit(visit, session, to, way="password")


def _that_shows(visit: Visit, address: str) -> str:
    """The address, or the nearest one above it that can be asked for: a form's answer stands where only POST goes."""
    path, _, query = address.partition("?")
    if _is_shown(visit, path):
        return f"{path}?{query}" if query else path
    while path.strip("/"):
        path = path.rpartition("/")[0]
        if _is_shown(visit, path):
            return path
    return "/"


def _is_shown(visit: Visit, path: str) -> bool:
    scope = {"type": "http", "method": "GET", "path": path, "root_path": ""}
    pages = (one for one in visit.request.app.routes if isinstance(one, Route))
    return any(page.matches(scope)[0] is Match.FULL for page in pages)


async def take_sign_out(visit: Visit) -> Response:
    """Ends the session."""
    if visit.session is not None:
        await sign_out(visit.database, visit.session.token_hash)
        forget(visit.session.token_hash)
    response = visit.go("/sign-in")
    response.delete_cookie(session_cookie(visit.is_secure), secure=visit.is_secure, httponly=True, samesite="lax")
    return response


async def choose_language(visit: Visit) -> Response:
    """German or English, from now on, in this browser."""
    language, back = visit.field("language"), visit.field("back")
    response = visit.go(_that_shows(visit, own_path(visit, back)))
    if language in ("de", "en"):
        year = 365 * 86400
        response.set_cookie(
            LANGUAGE_COOKIE, language, max_age=year, httponly=True, samesite="lax", secure=visit.is_secure
        )
    return response


async def show_profile(visit: Visit) -> Response:
    """Who one is, and the form for a new password."""
    return visit.render("profile.html", error=None)


async def take_password(visit: Visit) -> Response:
    """A new password of one's own; every other session of the person ends."""
    session = visit.signed_in
    old, new = (str(visit.form.get(name, "")) for name in ("old", "new"))
    if not await knows_password(visit.database, session.user_name, old):
        return visit.render("profile.html", 422, error=("old", visit.text("This is not your present password.")))
    try:
        await set_password(visit.database, session.user_name, new, author=visit.author, now=visit.now)
    except InvalidInput as exc:
        return visit.render("profile.html", 422, error=("new", visit.refusal(exc)))
    async with visit.database.begin() as connection:
        await end_sessions(connection, session.user_id, but=session.token_hash)
    return visit.go("/profile", "Your password is changed; your other sessions have ended.")


PAGES = (
    Page("/sign-in", show_sign_in, "nobody"),
    Page("/sign-in", take_sign_in, "nobody", ("POST",)),
    Page("/sign-out", take_sign_out, "view", ("POST",)),
    Page("/language", choose_language, "nobody", ("POST",)),
    Page("/profile", show_profile, "view"),
    Page("/profile/password", take_password, "view", ("POST",)),
)
