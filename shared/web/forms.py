"""What people send, up to a bound."""

from collections.abc import MutableMapping
from typing import Any

from shared.errors import Refused
from shared.web.prefix import Receive


class TooLarge(Refused):
    """What was sent is larger than this address takes. Nothing was changed."""


def bounded(receive: Receive, most_bytes: int) -> Receive:
    """The same, but it raises TooLarge as soon as more bytes than that have come."""
    left = most_bytes

    async def receiving() -> MutableMapping[str, Any]:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLarge("this is too large to be sent here")
        return message

    return receiving
