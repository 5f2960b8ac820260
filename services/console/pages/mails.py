"""The demo's mails: what a mail catcher holds instead of sending it. Without a catcher there are no such pages."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from starlette.responses import HTMLResponse, Response

from services.console.routing import Page
from services.console.surroundings import CaughtMail
from services.console.visits import Visit
from shared.errors import NotFound

#: Mails shown at once, newest first.
SHOWN = 200
#: A mail is somebody else's page: it may show itself and its pictures, and neither run nor fetch anything.
MAIL_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_HEADERS = ("From", "To", "Reply-To", "Subject", "Date", "Message-ID")


async def show_mails(visit: Visit) -> Response:
    """The newest mails."""
    mails = _caught(visit)
    newest = list(enumerate(mails))[: -SHOWN - 1 : -1]
    return visit.render("mails.html", mails=newest, count=len(mails), most=SHOWN)


async def show_mail(visit: Visit) -> Response:
    """One mail: headers, text, and the formatted part in a frame of its own."""
    message = _message(visit)
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    return visit.render(
        "mails_one.html",
        number=visit.path("number"),
        headers=[(name, str(message[name])) for name in _HEADERS if message[name]],
        subject=str(message["Subject"] or ""),
        plain=plain.get_content() if plain else "",
        has_html=rich is not None,
    )


async def show_html(visit: Visit) -> Response:
    """The formatted part alone, under its own strict policy."""
    rich = _message(visit).get_body(("html",))
    if rich is None:
        raise NotFound("mail", visit.path("number"))
    headers = {"Content-Security-Policy": MAIL_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(rich.get_content(), headers=headers)


def _caught(visit: Visit) -> list[CaughtMail]:
    if visit.surroundings.mails is None:
        raise NotFound("page", "mails")
    return list(visit.surroundings.mails)


def _message(visit: Visit) -> EmailMessage:
    mails, number = _caught(visit), visit.path("number")
    if number >= len(mails):
        raise NotFound("mail", number)
    return message_from_bytes(mails[number].content, policy=default)


PAGES = (
    Page("/mails", show_mails, "view"),
    Page("/mails/{number:int}", show_mail, "view"),
    Page("/mails/{number:int}/html", show_html, "view"),
)
