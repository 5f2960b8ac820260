"""How browsers reach the console, where a proxy stands before it: whether by https."""

from urllib.parse import urlsplit

from starlette.requests import Request


def is_at(request: Request, console_url: str) -> bool:
    """Whether the browser has the console open at this address's host."""
    parts = urlsplit(console_url)
    usual = {"https": ":443", "http": ":80"}[parts.scheme]
    here = request.headers.get("host", "").lower()
    return here.removesuffix(usual) == parts.netloc.lower().removesuffix(usual)


def is_by_https(request: Request, console_url: str | None) -> bool:
    """Whether the browser speaks https: seen here, told by a trusted proxy, or known of the address it has open."""
    if request.url.scheme == "https":
        return True
    return console_url is not None and console_url.startswith("https:") and is_at(request, console_url)


def session_cookie(is_secure: bool) -> str:
    """The cookie's name: with this prefix browsers take it from this very host only, by https."""
    return "__Host-kp_session" if is_secure else "kp_session"
