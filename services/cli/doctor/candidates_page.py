"""What is asked of the candidates' page: whether a letter's link leads to it, by https, under the same secrets."""

import asyncio
import ssl
from http.client import HTTPException, HTTPResponse
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from sqlalchemy import func, select

from services.cli.doctor.findings import Answer, Installation, Trouble
from shared.db.tables import write_orders
from shared.public_links import PublicLinks, public_links

#: Seconds for the answer; how much of it is read.
_PATIENCE, _MOST_BYTES = 5.0, 1 << 16
_PLACE = "setting KP_PUBLIC_URL"
_FIX = "run `run public` there behind a proxy with https, or correct the address: letters lead there to unsubscribe"
#: By which the page is known, whatever it answers.
_MARKS = ("X-Robots-Tag", "Content-Security-Policy")


class _NoRedirects(HTTPRedirectHandler):
    """A mail program's POST is not sent on (RFC 8058), so nothing is that leads elsewhere first."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


async def candidates_page(installation: Installation) -> Answer:
    """Asked by GET as the recipient of the newest letter would, which changes nothing; letters go out all the same."""
    links = public_links(installation.settings)
    if links is None or not installation.runs("mailer", "console", "public"):
        return f"not asked: the {installation.role} writes no links"
    newest = await _newest_order(installation) if installation.database_is_right else None
    try:
        answer, body = await asyncio.to_thread(_get, links.preferences(newest or 0))
    except (URLError, HTTPException, OSError, ValueError) as exc:
        said = getattr(exc, "reason", exc)
        return [Trouble(_PLACE, f"{links.url} cannot be reached from here: {said}", _FIX, grave=False)]
    return _judged(links, newest, answer, body)


async def _newest_order(installation: Installation) -> int | None:
    async with installation.database.read() as connection:
        found: int | None = (await connection.execute(select(func.max(write_orders.c.id)))).scalar_one()
    return found


def _get(url: str) -> tuple[HTTPResponse, bytes]:
    opener = build_opener(_NoRedirects, HTTPSHandler(context=ssl.create_default_context()))
    request = Request(url, headers={"User-Agent": "kontaktpflege doctor"})  # noqa: S310 - https, or this machine
    try:
        answer = opener.open(request, timeout=_PATIENCE)
    except HTTPError as exc:
        # An answer all the same.
        answer = cast(HTTPResponse, exc)
    with answer:
        return answer, answer.read(_MOST_BYTES)


def _judged(links: PublicLinks, newest: int | None, answer: HTTPResponse, body: bytes) -> Answer:
    from services.public.app import HEADERS  # noqa: PLC0415 - brings what only pages need

    if 300 <= answer.status < 400:
        value = f"{links.url} leads elsewhere ({answer.status} to {answer.headers['Location']})"
        return [Trouble(_PLACE, value, "give the address that it leads to: mail programs do not follow", grave=False)]
    if any(answer.headers[name] != HEADERS[name] for name in _MARKS):
        return [Trouble(_PLACE, f"at {links.url} answers somebody else ({answer.status})", _FIX, grave=False)]
    if newest is not None and answer.status == 403:
        value, fix = f"the page at {links.url} believes none of our links", "give it the same secrets and database"
        return [Trouble("setting KP_LINK_KEYS", value, fix, grave=False)]
    if answer.status != (200 if newest else 403):
        fix = "see what its log says at `public`"
        return [Trouble(_PLACE, f"the page at {links.url} answers {answer.status}", fix, grave=False)]
    return f"{links.url} answers" + (" by a letter's link" if newest else ", no letter to try a link of yet")
