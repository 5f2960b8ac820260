"""Which right each address needs: nothing answers that is not listed with one (D5)."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.responses import Response
from starlette.routing import Route

from services.console.visits import Visit, visiting

Handler = Callable[[Visit], Awaitable[Response]]
#: `nobody`: without signing in.
Right = Literal["nobody", "view", "operate", "edit", "admin"]


@dataclass(frozen=True, slots=True)
class Page:
    """One address: what answers it, by which methods, and the right it needs.

    GET and HEAD change nothing; whatever changes something is a POST.
    """

    path: str
    handler: Handler
    right: Right
    methods: Sequence[str] = ("GET",)


def routes(pages: Iterable[Page]) -> list[Route]:
    """The pages as routes that let nobody in without the right."""
    return [Route(page.path, visiting(page.handler, page.right), methods=list(page.methods)) for page in pages]
