"""What is asked of the mailbox that is read for mails that come back: greeting, TLS, login, folder."""

import asyncio

from services.cli.doctor.findings import Answer, Installation, Trouble
from services.mailbox.imap import imap_place, open_mailbox
from shared.errors import Unavailable

#: Seconds that the server has for each answer.
_PATIENCE = 5.0
_FIX = (
    "correct host, port, user and folder in KP_IMAP_URL, or KP_IMAP_PASSWORD (or the file that KP_IMAP_PASSWORD_FILE "
    "names); name the host as its certificate does, or let SSL_CERT_FILE name your own authority's certificate"
)


async def mailbox(installation: Installation) -> Answer:
    """Opened as the reader does it; no mail is read or moved."""
    place = imap_place(installation.settings)

    def look() -> str:
        with open_mailbox(place, _PATIENCE) as opened:
            return f"{place.address} lets us in, TLS {place.tls}, {opened.messages} mails in {place.folder}"

    try:
        return await asyncio.to_thread(look)
    except Unavailable as exc:
        # Letters go out all the same.
        return [Trouble("setting KP_IMAP_URL", str(exc), _FIX, grave=installation.role == "mailbox")]
