"""One request of one person: who they are, in which language, and what they may do."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.exc import DataError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from services.console.notices import NOTICE_COOKIE, pack
from services.console.reached import is_by_https, session_cookie
from services.console.rendering import Renderer
from services.console.surroundings import Surroundings
from services.console.words import translated_reason
from shared.db.actors import ROLES, Actor
from shared.db.console_sessions import ConsoleSession, load_session
from shared.db.engine import Database
from shared.errors import InvalidInput, KontaktpflegeError, NotFound, Refused
from shared.web.forms import bounded

LANGUAGE_COOKIE = "kp_language"
_SAFE = ("GET", "HEAD")
#: The largest id that a record can have.
LARGEST_ID = 2**63 - 1


class Forbidden(Refused):
    """The signed-in person's role does not reach that far (D5)."""


class NotSignedIn(Refused):
    """Somebody must sign in first."""


class ForeignForm(Refused):
    """The form does not come from a page of this session: reload the page and send it again."""


@dataclass(frozen=True)
class Visit:
    """A request with its person. Handlers take nothing else."""

    request: Request
    surroundings: Surroundings
    renderer: Renderer
    session: ConsoleSession | None
    form: FormData
    #: The system's time zone, by name, for a page of somebody signed in.
    zone: str = "UTC"

    @property
    def database(self) -> Database:
        """The open database."""
        return self.surroundings.database

    @property
    def now(self) -> datetime:
        """The current instant."""
        return self.surroundings.now

    async def today(self) -> date:
        """Today in the system's time zone."""
        return await self.surroundings.today()

    @property
    def signed_in(self) -> ConsoleSession:
        """The person's session; raises NotSignedIn on a page for everybody."""
        if self.session is None:
            raise NotSignedIn("sign in first")
        return self.session

    @property
    def actor(self) -> Actor:
        """Who acts, for the service functions."""
        return Actor(self.signed_in.user_name, self.signed_in.role)

    @property
    def author(self) -> str:
        """The name under which changes are recorded."""
        return self.actor.name

    def may(self, role: str) -> bool:
        """Whether the person has a right: what they may not do is not shown."""
        return self.session is not None and ROLES.index(self.session.role) >= ROLES.index(role)

    @property
    def is_partial(self) -> bool:
        """Asked for by htmx: a part of a page is wanted."""
        return self.request.headers.get("HX-Request") == "true"

    @property
    def is_printing(self) -> bool:
        """The whole list is wanted, for paper: without its pages and forms."""
        return self.asked("print") == "1"

    @property
    def is_secure(self) -> bool:
        """Whether the browser speaks https, so that its cookies may be bound to that."""
        return is_by_https(self.request, self.surroundings.settings.kp_console_url)

    def path(self, name: str) -> int:
        """An id in the address; raises NotFound for one that no record can have."""
        number = int(self.request.path_params[name])
        if number > LARGEST_ID:
            raise NotFound("record", number)
        return number

    def asked(self, name: str, default: str = "") -> str:
        """A value of the address's query, trimmed."""
        return self.request.query_params.get(name, default).strip()

    def field(self, name: str, default: str = "") -> str:
        """A text field of the form, trimmed; line ends as LF."""
        value = self.form.get(name, default)
        return value.replace("\r\n", "\n").strip() if isinstance(value, str) else default

    def ids(self, name: str) -> list[int]:
        """The ids ticked in a form; what is none is left out."""
        return [number for value in self.fields(name) if (number := id_of(value)) is not None]

    def fields(self, name: str) -> list[str]:
        """Every value of a field that may stand there several times."""
        return [value.strip() for value in self.form.getlist(name) if isinstance(value, str)]

    def text(self, message: str, **values: object) -> str:
        """A message in the person's language."""
        return self.renderer.text(self.language, message, **values)

    def refusal(self, exc: KontaktpflegeError) -> str:
        """What a refusal says, in the person's language; of an input what to do about it, without its place."""
        return translated_reason(exc.fix if isinstance(exc, InvalidInput) else str(exc), self.text)

    @property
    def language(self) -> str:
        """`de` or `en`: chosen, else the browser's, else German."""
        return language_of(self.request)

    def url(self, path: str) -> str:
        """An address of the console, whatever prefix a proxy puts before it."""
        return str(self.request.scope.get("root_path", "")) + path

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page (or a part of one) from its template."""
        return self.renderer.response(self, template, status, values)

    def stream(self, template: str, part: str, lists: AsyncIterator[Any], **values: Any) -> Response:
        """A page that may be long, sent while its rows are read; `part` is the template of some rows."""
        return self.renderer.stream(self, template, values, part, lists)

    def go(self, path: str, notice: str = "", **values: object) -> Response:
        """Sends the browser on to a page (after a POST), with a notice in the person's language."""
        target = self.url(path)
        if self.is_partial:
            response: Response = Response(status_code=204, headers={"HX-Redirect": target})
        else:
            response = RedirectResponse(target, status_code=303)
        if notice:
            text = pack(self.text(notice, **values))
            response.set_cookie(NOTICE_COOKIE, text, max_age=60, httponly=True, samesite="lax", secure=self.is_secure)
        return response


def id_of(text: str) -> int | None:
    """The id that a text writes; None for one that no record can have."""
    number = int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else 0
    return number if 0 < number <= LARGEST_ID else None


def whole(text: str) -> int:
    """A whole number of a form; 0 where there is none."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def language_of(request: Request) -> str:
    """The language of the answer."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in ("de", "en"):
        return chosen
    accepted = (part.strip()[:2].lower() for part in request.headers.get("accept-language", "").split(","))
    return next((one for one in accepted if one in ("de", "en")), "de")


def visiting(
    handler: Callable[[Visit], Awaitable[Response]], right: str, most_bytes: int, *, by_itself: bool = False
) -> Callable[[Request], Awaitable[Response]]:
    """The handler behind its gate: signed in, the right, and for a change the session's own form of a bounded size."""

    async def endpoint(request: Request) -> Response:
        surroundings: Surroundings = request.app.state.surroundings
        session = await session_of(request, surroundings, is_use=not by_itself)
        if right != "nobody":
            _let_in(session, right)
        form = FormData()
        if request.method not in _SAFE:
            _check_origin(request)
            # Files are spooled to the disk while they come: bounded before they are read, and for everybody.
            form = await Request(request.scope, bounded(request.receive, most_bytes)).form(max_files=1, max_fields=2000)
            if session is not None:
                _check_token(request, form, session)
        zone = (await surroundings.zone()).key if session is not None else "UTC"
        try:
            return await handler(Visit(request, surroundings, request.app.state.renderer, session, form, zone))
        except (OverflowError, DataError) as exc:
            # What pages read of an address or a form is checked there for its meaning, here for its size: numbers and
            # days beyond what databases and calendars hold, characters that no text can have.
            raise InvalidInput("address or form", None, "holds a value that cannot be; go back and correct it") from exc

    return endpoint


async def session_of(request: Request, surroundings: Surroundings, *, is_use: bool = True) -> ConsoleSession | None:
    """Whose request this is."""
    is_secure = is_by_https(request, surroundings.settings.kp_console_url)
    token = request.cookies.get(session_cookie(is_secure))
    return await load_session(surroundings.database, token, surroundings.now, is_use=is_use) if token else None


def _let_in(session: ConsoleSession | None, right: str) -> None:
    if session is None:
        raise NotSignedIn("sign in first")
    if ROLES.index(session.role) < ROLES.index(right):
        raise Forbidden(f"user {session.user_name!r} has the right {session.role!r}; this needs {right!r}")


def _check_origin(request: Request) -> None:
    """A browser says where a form comes from; another site's is refused even before anybody is signed in."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForeignForm("the form comes from another site")
    if origin and origin != "null" and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise ForeignForm("the form comes from another site")


def _check_token(request: Request, form: Mapping[str, Any], session: ConsoleSession) -> None:
    given = request.headers.get("X-CSRF-Token") or str(form.get("csrf", ""))
    if not hmac.compare_digest(given.encode(), session.csrf.encode()):
        raise ForeignForm("the form is not of this session; reload the page and send it again")
