"""What writes a letter once more: the mailer's side of the evidence file, which knows nothing of mailers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

#: Why a letter is not in the file as it was handed over; told in words by `words.WHY`.
ERASED, NOT_NOTED, DIFFERS, NOT_WRITABLE = "erased", "not_noted", "differs", "not_writable"


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The very bytes that were handed over, and the data in it, by placeholder; or None, and why not."""

    content: bytes | None
    why: str | None = None
    data: Mapping[str, object] | None = None


class WriteAgain(Protocol):
    """Writes letters of one file once more; it may keep what it has read, so each file has one of its own."""

    def means(self) -> Mapping[str, Any]:
        """What it has to do it with, without a secret: how many keys of links, which signature."""

    async def write(
        self, connection: AsyncConnection, order: Mapping[str, Any], message_id: str, digest: str
    ) -> Rewritten:
        """The mail of an order, if it is byte for byte the one whose SHA-256 was kept."""
