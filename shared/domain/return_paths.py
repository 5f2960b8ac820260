"""Return paths (VERP): every letter has an envelope sender of its own, so that a bounce says which letter it is about.

`bounce+TOKEN@mail.firma.example`: the token is an order's id, signed (S32); local parts may be lowered on their way.
"""

from shared.domain.link_tokens import LinkTokens, Purpose
from shared.domain.mail_addresses import ascii_domain_address, usable_address
from shared.errors import InvalidSettings

#: Characters of a local part (RFC 5321), of which the token takes most.
_LONGEST_LOCAL = 64


class ReturnPaths:
    """Makes and reads the addresses; raises InvalidSettings for a base that leaves no room or is none."""

    def __init__(self, base: str, tokens: LinkTokens) -> None:
        usable = usable_address(base.strip())
        self._local, _, self._domain = (ascii_domain_address(usable) if usable else "").rpartition("@")
        most = _LONGEST_LOCAL - len(tokens.sign_id(Purpose.RETURN_PATH, 0)) - 1
        if not self._local or not self._local.isascii() or "+" in self._local or len(self._local) > most:
            fix = f"give an address like bounce@mail.firma.example, before the @ at most {most} characters, without +"
            raise InvalidSettings(f"setting KP_BOUNCE_ADDRESS: {base!r}; {fix}")
        self._tokens = tokens

    def of(self, order_id: int) -> str:
        """The envelope sender of an order's letter, the same on every attempt."""
        return f"{self._local}+{self._tokens.sign_id(Purpose.RETURN_PATH, order_id)}@{self._domain}"

    def order_of(self, address: str) -> int | None:
        """The order of an address that was made here; None for every other, in whatever case."""
        local, _, domain = address.rpartition("@")
        base, _, token = local.partition("+")
        if base.lower() != self._local.lower() or domain.lower() != self._domain.lower():
            return None
        return self._tokens.id_of(Purpose.RETURN_PATH, token)


def common_sender(envelope_from: str) -> str:
    """What the return paths of all letters have in common: a server that refuses one refuses all."""
    local, _, domain = envelope_from.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"
