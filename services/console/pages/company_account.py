"""Signing in with a company account: to the provider, and back with its answer (S22).

Both are GET, as OpenID Connect has it: the browser comes back from another site, so no form of ours can be asked for.
Instead the answer has to fit the cookie of the browser that began.
"""

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response

from services.console.admission import THROTTLE, admit, client_of, own_path, refuse, sign_in_page, too_many
from services.console.openid.attempt import LONGEST_SECONDS, Attempt, NotTrusted, ProviderTrouble
from services.console.openid.registration import ANSWER_PATH, Registration
from services.console.reached import is_at
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.console_sessions import sign_in_vouched
from shared.errors import NotFound
from shared.logs import get_logger

if TYPE_CHECKING:
    from services.console.openid.provider import Provider

_WAY = "company account"


async def leave_for_provider(visit: Visit) -> Response:
    """Sends the browser to the provider, with a cookie that its answer has to fit."""
    provider, to = _provider(visit), own_path(visit, visit.asked("to"))
    if (wait := THROTTLE.seconds_to_wait(None, client_of(visit))) > 0:
        return too_many(visit, to, wait)
    if not is_at(visit.request, provider.registration.console_url):
        # The cookie would stay behind: the provider sends people to the registered address only.
        address = provider.registration.console_url
        error = visit.text("To sign in with your company account, open %(address)s.", address=address)
        return sign_in_page(visit, to, error, status=400)
    attempt = Attempt.begin(to)
    try:
        target = await provider.address(attempt)
    except ProviderTrouble as exc:
        return _away(visit, to, exc)
    response = RedirectResponse(target, status_code=303)
    _keep(response, provider.registration, attempt)
    return response


async def arrive_from_provider(visit: Visit) -> Response:
    """The provider's answer: a session for a user that there is, or the sign-in page with the reason."""
    provider = _provider(visit)
    attempt = Attempt.unpack(visit.request.cookies.get(_cookie(provider.registration), ""))
    to = attempt.to if attempt else "/"
    if (wait := THROTTLE.seconds_to_wait(None, client_of(visit))) > 0:
        return too_many(visit, to, wait)
    if attempt is None or not attempt.is_answered_by(visit.asked("state")):
        # The cookie stays: a foreign answer does not end the person's own sign-in. Nor is it counted: nobody guesses a
        # state, but any site could send browsers here until nobody behind their address may sign in.
        error = visit.text("This sign-in was not begun in this browser, or it took too long. Please begin again.")
        return refuse(visit, 400, to, error, way=_WAY, reason="not this browser's state", counts=False)
    response = await _answered(visit, provider, attempt)
    response.delete_cookie(
        _cookie(provider.registration), secure=provider.registration.is_secure, httponly=True, samesite="lax"
    )
    return response


async def _answered(visit: Visit, provider: "Provider", attempt: Attempt) -> Response:
    to, code = attempt.to, visit.asked("code")
    if not code or visit.asked("error"):
        denied = visit.asked("error") == "access_denied"
        error = visit.text("The sign-in with the company account was cancelled, or you are not allowed to use it here.")
        return refuse(visit, 401, to, error, way=_WAY, reason="access denied" if denied else "no code")
    try:
        name = await provider.user_name(attempt, code, visit.request.query_params.get("iss"))
    except ProviderTrouble as exc:
        return _away(visit, to, exc)
    except NotTrusted as exc:
        error = visit.text(
            "The answer of the company's sign-in service could not be verified. Please begin again; "
            "if it happens again, tell your administrator."
        )
        return refuse(visit, 401, to, error, way=_WAY, reason=str(exc))
    session = await sign_in_vouched(visit.database, name, visit.now)
    if session is None:
        error = visit.text("There is no user %(name)s here. An administrator can create one.", name=name)
        return refuse(visit, 403, to, error, way=_WAY, reason="no such user")
    THROTTLE.succeeded(None, client_of(visit))
    return await admit(visit, session, to, way=_WAY)


def _provider(visit: Visit) -> "Provider":
    if visit.surroundings.provider is None:
        raise NotFound("page", visit.request.url.path)
    return visit.surroundings.provider


def _away(visit: Visit, to: str, exc: ProviderTrouble) -> Response:
    """Nobody's failure here: it is noted, and not counted."""
    get_logger("console").error("sign_in_service_away", action="sign_in_service_away", reason=str(exc))
    error = visit.text(
        "The company's sign-in service does not answer as it should. "
        "Please try again later, or sign in with your password."
    )
    return sign_in_page(visit, to, error, status=503)


def _cookie(registration: Registration) -> str:
    # With this prefix browsers take it from this very host only, by https: nobody plants a foreign sign-in.
    return "__Host-kp_company" if registration.is_secure else "kp_company"


def _keep(response: Response, registration: Registration, attempt: Attempt) -> None:
    response.set_cookie(
        _cookie(registration),
        attempt.pack(),
        max_age=LONGEST_SECONDS,
        httponly=True,
        samesite="lax",
        secure=registration.is_secure,
    )


PAGES = (
    Page("/sign-in/company", leave_for_provider, "nobody"),
    Page(ANSWER_PATH, arrive_from_provider, "nobody"),
)
