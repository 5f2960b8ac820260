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


#: Bytes of a form, unless its address says otherwise.
USUAL_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """One address: what answers it, by which methods, the right it needs, and the size of what it takes.

    `by_itself`: asked for by a page that comes anew, so that nobody need be there.

    GET and HEAD change nothing; whatever changes something is a POST.
    """

    path: str
    handler: Handler
    right: Right
    methods: Sequence[str] = ("GET",)
    most_bytes: int = USUAL_BYTES
    by_itself: bool = False


def routes(pages: Iterable[Page]) -> list[Route]:
    """The pages as routes that let nobody in without the right."""
    return [
        Route(
            page.path,
            visiting(page.handler, page.right, page.most_bytes, by_itself=page.by_itself),
            methods=list(page.methods),
        )
        for page in pages
    ]
