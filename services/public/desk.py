"""What the pages for candidates have in common: what a request is answered with, and what its form says."""

from dataclasses import dataclass
from datetime import datetime

from starlette.datastructures import FormData

from services.public.said import SaidJournal, Speaker
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
    #: What candidates say is written down here too; None: nowhere.
    journal: SaidJournal | None = None

    async def speaker(self, order_id: int) -> Speaker | None:
        """Whose link it is, for `note`; asked before anything is said."""
        return await self.journal.speaker(order_id) if self.journal else None

    async def note(self, speaker: Speaker | None, what: str, at: datetime, *, changed: bool) -> None:
        """What was said is on this machine's disk before the candidate is answered."""
        if self.journal and speaker:
            await self.journal.note(speaker, what, at, changed=changed)


def field_of(form: FormData | None, name: str) -> str:
    """A field of a form, trimmed; the empty text where there is none."""
    value = form.get(name, "") if form is not None else ""
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""
