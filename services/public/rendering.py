"""The page and its refusals in two languages."""

from functools import lru_cache
from typing import Any

from babel.dates import format_date
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from shared.db.candidate_requests import LONGEST_WORDS
from shared.db.candidate_wishes import Wishes
from shared.web.templates import Catalog, Environment, environment_of

LANGUAGES = ("de", "en")
#: What is said after something was done, by its name; the catalogs translate it.
NOTES = {
    "opt_out": "You will get no more contact-care letters from us.",
    "opt_in": "You take part in contact care again.",
    "pause": "The pause has begun.",
    "end_pause": "The pause is over.",
    "no_birthday": "You will get no birthday letters.",
    "birthday": "You will get birthday letters again.",
    "yearly": "You will get at most one letter a year.",
    "as_usual": "You will get letters as usual again.",
    "correct": "Thank you. We will look at what you wrote.",
    "delete": "We have your request for deletion and will deal with it. Until then you get no contact-care letters.",
    "keep": "Your request for deletion is taken back. You get no contact-care letters unless you sign up again.",
    "unknown": "That was not understood. Nothing was changed.",
}
REFUSALS = {
    "no_link": "This link is not valid. Please use the link of one of our letters as it stands there.",
    "no_question": "This letter does not ask you anything any more.",
    "too_many": "Too many requests. Please try again in a minute.",
    "too_large": "That was too long. Nothing was changed.",
    "away": "We cannot be reached at the moment. Nothing was changed; please try again in some minutes.",
    "broken": "Something went wrong here. Please try again later.",
}


def language_of(request: Request) -> str:
    """Chosen by the page's own link, else the browser's, else German."""
    chosen = request.query_params.get("lang", "")
    if chosen in LANGUAGES:
        return chosen
    accepted = (part.strip()[:2].lower() for part in request.headers.get("accept-language", "").split(","))
    return next((one for one in accepted if one in LANGUAGES), LANGUAGES[0])


def page(request: Request, status: int, wishes: Wishes, note: str, *, typed: str) -> Response:
    """What holds now, and what can be said; `note`: what has just been done, or why it was not."""
    said = text(language_of(request), NOTES.get(note, note))
    values: dict[str, Any] = {"wishes": wishes, "note": said, "typed": typed, "longest": LONGEST_WORDS}
    return filled(request, "preferences.html", status, {**values, "is_error": status != 200})


def refusal(request: Request, status: int, why: str) -> Response:
    """A page that tells nothing but why it is none."""
    return filled(request, "refusal.html", status, {"said": text(language_of(request), REFUSALS[why])})


def text(language: str, message: str) -> str:
    """A message in a language; as it is where nobody has translated it."""
    return _catalog(language).gettext(message)


def filled(request: Request, template: str, status: int, values: dict[str, Any]) -> Response:
    """A template in the language of the request."""
    language = language_of(request)
    prefix = str(request.scope.get("root_path", ""))
    html = _environment(language).get_template(template).render(language=language, prefix=prefix, **values)
    return HTMLResponse(html, status)


@lru_cache
def _catalog(language: str) -> Catalog:
    return Catalog("services.public", language)


@lru_cache
def _environment(language: str) -> Environment:
    locale = "de" if language == "de" else "en_GB"
    return environment_of(
        "services.public", _catalog(language), {"day": lambda value: format_date(value, "long", locale=locale)}
    )
