"""The candidates' page as an ASGI application (S25): addresses that a letter's links name."""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from services.public.consent import show_consent
from services.public.desk import Desk, field_of
from services.public.rendering import page, refusal
from services.public.said import SaidJournal
from shared.clock import Clock
from shared.db.candidate_wishes import Wish, load_wishes, say
from shared.db.engine import Database
from shared.db.person_commands import OfOrder
from shared.domain.link_tokens import Purpose
from shared.errors import Conflict, InvalidInput, InvalidSettings, NotFound, Refused, Unavailable
from shared.logs import get_logger
from shared.settings import Settings
from shared.web.bounds import Bound, household_of
from shared.web.forms import TooLarge, bounded
from shared.web.headers import Headers
from shared.web.prefix import Prefixed, prefix_of

#: Nothing from elsewhere, no script at all; the address of the page, which is a key, goes nowhere.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
#: Bytes of a form: a correction of the longest kind, percent-encoded.
MOST_BYTES = 32 * 1024
#: Requests of one household within so many seconds. A mail scanner follows many links at once.
MOST_REQUESTS, SECONDS = 120, 60.0


#: Answers a request within its bounds, of which the form was read before anything else.
Handler = Callable[[Desk, Request, FormData | None], Awaitable[Response]]


def build_public(database: Database, clock: Clock, settings: Settings, journal: SaidJournal | None = None) -> Headers:
    """The application; the database belongs to the caller. Raises InvalidSettings where no secret reads links."""
    tokens = settings.link_tokens()
    if tokens is None:
        raise InvalidSettings("setting KP_LINK_KEYS: is needed for the candidates' page")
    desk = Desk(database, clock, tokens, Bound(MOST_REQUESTS, SECONDS), journal)
    static = StaticFiles(directory=str(files("services.public") / "static"))
    app = Starlette(
        routes=[
            Mount("/static", static),
            Route("/robots.txt", _robots),
            Route("/p/{token}", partial(_answer, desk, _preferences), methods=["GET", "POST"]),
            Route("/consent/{answer}/{token}", partial(_answer, desk, show_consent), methods=["GET", "POST"]),
        ],
        exception_handlers={HTTPException: _elsewhere, Exception: _broken},
    )
    prefix = prefix_of(settings.kp_public_url)
    return Headers(Prefixed(app, prefix) if prefix else app, HEADERS)


async def _answer(desk: Desk, handle: Handler, request: Request) -> Response:
    if not desk.bound.allows(household_of(request.client.host if request.client else "")):
        return refusal(request, 429, "too_many")
    try:
        # Read before the link is looked at: whether it is genuine is not told by how a request is taken.
        return await handle(desk, request, await _form_of(request))
    except TooLarge:
        return refusal(request, 413, "too_large")
    except NotFound:
        return refusal(request, 403, "no_link")
    except (Conflict, Unavailable) as exc:
        get_logger("public").warning("public_waits", action="public_waits", reason=str(exc))
        return refusal(request, 503, "away")


async def _preferences(desk: Desk, request: Request, form: FormData | None) -> Response:
    order_id = desk.tokens.id_of(Purpose.PREFERENCES, request.path_params["token"])
    if order_id is None:
        raise NotFound("order", None)
    return await _for_order(desk, request, OfOrder(order_id), form)


async def _for_order(desk: Desk, request: Request, order: OfOrder, form: FormData | None) -> Response:
    status, note = 200, ""
    if form is not None:
        wish, words = _said(form)
        if wish is None:
            status, note = 400, "unknown"
        else:
            try:
                now, speaker = desk.clock.now(), await desk.speaker(order.id)
                changed = await say(desk.database, order, wish, words, now=now)
                await desk.note(speaker, wish.value, now, changed=changed)
                note = wish.value
            except InvalidInput as exc:
                status, note = 422, exc.fix
            except Refused as exc:
                status, note = 409, str(exc)
    async with desk.database.read() as connection:
        wishes = await load_wishes(connection, order, desk.clock.now())
    if wishes is None:
        raise NotFound("order", order.id)
    return page(request, status, wishes, note, typed=field_of(form, "words") if status != 200 else "")


def _said(form: FormData) -> tuple[Wish | None, str | None]:
    """What a form wants: a button of the page, or RFC 8058's one click of a mail program."""
    if form.get("List-Unsubscribe") == "One-Click":
        return Wish.OPT_OUT, None
    given = field_of(form, "wish")
    return (Wish(given) if given in {one.value for one in Wish} else None), field_of(form, "words")


async def _form_of(request: Request) -> FormData | None:
    """What was sent with a POST, up to a bound; None: only looked at."""
    if request.method != "POST":
        return None
    taking = Request(request.scope, bounded(request.receive, MOST_BYTES))
    try:
        return await taking.form(max_files=0, max_fields=10)
    except HTTPException:
        return FormData()  # what cannot be read says nothing


async def _robots(_: Request) -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")


async def _elsewhere(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 404
    return refusal(request, status, "no_link")


async def _broken(request: Request, exc: Exception) -> Response:
    # Not its address: that is a key.
    get_logger("public").error("page_broken", action="page_broken", exc_info=exc)
    return refusal(request, 500, "broken")
