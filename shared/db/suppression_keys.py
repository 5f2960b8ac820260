"""By what somebody is known again whose record is gone: hashes of addresses and identities, keyed by the database."""

import hmac
import secrets
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tables import system_settings
from shared.domain.mail_addresses import compared_address, usable_address
from shared.domain.text import fold

_KEY = "suppression_key"
#: What stands before a hash that took an address's place when its record was reduced (D42).
KEPT_ADDRESS = "hmac:"


class Keys:
    """Hashes that say nothing to whoever lacks the database's secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of_identity(self, identity: str) -> str:
        """Of a person's identity (D24)."""
        return self._hash(f"person {identity}")

    def of_address(self, address: str) -> str:
        """Of an address in normal form, in whatever case."""
        return self._hash(f"address {fold(address)}")

    def of_note(self, key: str, holder: str) -> str:
        """Of what somebody has noted under a hash: one row."""
        return self._hash(f"note {key} {holder}")

    def kept_address(self, given: str) -> str:
        """What is kept of the address that a letter went to, as it was given, when everything else is erased."""
        return KEPT_ADDRESS + self.of_address(compared_address(given))

    def of_letter(self, email: str) -> str | None:
        """Of an order's address, whether it stands there still or what was kept of it; None: nothing to know it by."""
        if email.startswith(KEPT_ADDRESS):
            return email.removeprefix(KEPT_ADDRESS)
        address = usable_address(email)
        return self.of_address(address) if address else None

    def _hash(self, said: str) -> str:
        return hmac.digest(self._secret, said.encode(), sha256).hex()


async def load_keys(connection: AsyncConnection) -> Keys:
    """With the database's own secret, made when it is first needed: whoever imports needs it, and nothing to set."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    stored = select(system_settings.c.value).where(system_settings.c.name == _KEY)
    if (found := (await connection.execute(stored)).scalars().first()) is None:
        new = dialect.insert(system_settings).values(name=_KEY, value=secrets.token_hex(32))
        await connection.execute(new.on_conflict_do_nothing(index_elements=["name"]))
        found = (await connection.execute(stored)).scalar_one()
    return Keys(bytes.fromhex(str(found)))
