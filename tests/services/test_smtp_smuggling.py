"""Servers that take more than CRLF.CRLF for the end of a mail still get one mail, of one sender (S7).

Each server here reads what the product writes to it, and ends a mail at one sequence too many: what comes after it in
the body is then a command, as in the attack that is called SMTP smuggling (smtpsmuggling.com, VU#302671).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import structlog

from services.mailer.compose import MailHeaders, attachment_part, compose
from services.mailer.outcome import Sent
from services.mailer.smtp import SmtpPool
from services.mailer.smtp_address import parse_smtp_url
from shared.domain.letters import RenderedLetter, Sender
from tests.services.smtp_sending import FROM, MAIL, TO, granted

#: What one or the other server takes for the end of a mail.
ENDS = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n", b"\n..\n")
#: The same of servers that leave out characters which no mail should have; a composed mail has none of these.
ODD_ENDS = (b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\x0b.\x0b", b"\x85.\x85")
SMUGGLED = b"MAIL FROM:<boss@x.example>\r\nRCPT TO:<evil@evil.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"


class LenientServer:
    """Ends a mail at its own sequence or at the right one, whichever comes first; takes any line end after commands."""

    def __init__(self, end: bytes, extensions: tuple[bytes, ...]) -> None:
        self.mails: list[bytes] = []
        self.commands: list[bytes] = []
        self._ends = re.compile(b"|".join(map(re.escape, (b"\r\n.\r\n", end))))
        self._extensions = extensions

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer, in_mail = b"", False
        writer.write(b"220 lenient\r\n")
        while data := await reader.read(65536):
            buffer += data
            while found := (self._ends if in_mail else re.compile(rb"\r?\n|\r")).search(buffer):
                piece, buffer = buffer[: found.start()], buffer[found.end() :]
                if in_mail:
                    self.mails.append(piece)
                    in_mail = False
                    writer.write(b"250 taken\r\n")
                elif piece:
                    self.commands.append(piece)
                    in_mail = piece.upper() == b"DATA"
                    writer.write(self._answer(piece))
        writer.close()

    def _answer(self, command: bytes) -> bytes:
        if command.startswith(b"EHLO"):
            return b"".join(b"250-%b\r\n" % one for one in self._extensions) + b"250 lenient\r\n"
        return b"354 go on\r\n" if command == b"DATA" else b"250 ok\r\n"


@asynccontextmanager
async def sending(end: bytes, *extensions: bytes) -> AsyncIterator[tuple[LenientServer, SmtpPool]]:
    lenient = LenientServer(end, extensions)
    server = await asyncio.start_server(lenient.talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = parse_smtp_url(f"smtp://127.0.0.1:{port}")
    pool = SmtpPool(url, size=1, timeout=5.0, final_timeout=5.0, log=structlog.get_logger())
    try:
        yield lenient, pool
    finally:
        await pool.close()
        server.close()


def commands(recipient: bytes = TO.encode()) -> list[bytes]:
    return [b"MAIL FROM:<%b>" % FROM.encode(), b"RCPT TO:<%b>" % recipient, b"DATA"]


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("extensions", [(), (b"PIPELINING", b"8BITMIME")], ids=["plain", "pipelining"])
async def test_s7_bytes_that_end_a_mail_elsewhere_end_none_here(end: bytes, extensions: tuple[bytes, ...]) -> None:
    for body in (end + SMUGGLED, b"x" + end + SMUGGLED + end + b"QUIT" + end, end * 3 + SMUGGLED):
        async with sending(end, *extensions) as (server, pool):
            assert isinstance(await pool.send(FROM, TO, MAIL + body, granted), Sent)
        assert len(server.mails) == 1 and SMUGGLED.splitlines()[0] in server.mails[0]
        assert [one for one in server.commands if not one.startswith((b"EHLO", b"QUIT"))] == commands()


@pytest.mark.parametrize("end", ENDS + ODD_ENDS, ids=repr)
async def test_s7_no_text_of_a_letter_or_attachment_smuggles_a_mail(end: bytes) -> None:
    said = (end + SMUGGLED + end).decode("latin-1")
    headers = MailHeaders(
        order_id=1,
        message_id="<order-1@x.example>",
        sender=Sender(said, FROM),
        recipient=TO,
        date=datetime(2026, 11, 23, tzinfo=UTC),
    )
    files = (attachment_part(said, "text/plain", said.encode()),)
    mail = compose(RenderedLetter(said, f"<p>{said}</p>", said), headers, files)
    async with sending(end) as (server, pool):
        assert isinstance(await pool.send(FROM, TO, mail, granted), Sent)
    assert len(server.mails) == 1
    assert [one for one in server.commands if not one.startswith((b"EHLO", b"QUIT"))] == commands()
