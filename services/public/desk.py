"""What the pages for candidates have in common: what a request is answered with, and what its form says."""

from dataclasses import dataclass

from starlette.datastructures import FormData

from shared.clock import Clock
from shared.db.engine import Database
from shared.domain.link_tokens import LinkTokens
from shared.web.bounds import Bound


@dataclass(frozen=True)
class Desk:
    """What a request is answered with."""

    database: Database
    clock: Clock
    tokens: LinkTokens
    bound: Bound


def field_of(form: FormData | None, name: str) -> str:
    """A field of a form, trimmed; the empty text where there is none."""
    value = form.get(name, "") if form is not None else ""
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""
