"""The demo's mail server: takes every mail on loopback and keeps it in memory."""

import asyncio
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import default
from types import TracebackType
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """One mail as it arrived."""

    sender: str
    recipient: str
    subject: str
    message_id: str
    order: str
    content: bytes


class MailCatcher:
    """An SMTP server in the running loop, on a port of its own; use with `async with`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self.messages: list[CaughtMail] = []

    @property
    def url(self) -> str:
        """Its address as an SMTP_URL."""
        return f"smtp://{self._host}:{self._port}"

    async def __aenter__(self) -> "MailCatcher":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        """Keeps the mail."""
        content = envelope.original_content or b""
        headers = BytesHeaderParser(policy=default).parsebytes(content)
        for recipient in envelope.rcpt_tos:
            self.messages.append(
                CaughtMail(
                    sender=envelope.mail_from or "",
                    recipient=recipient,
                    subject=str(headers["Subject"]),
                    message_id=str(headers["Message-ID"]),
                    order=str(headers["X-Kontaktpflege-Order"]),
                    content=content,
                )
            )
        return "250 caught"

    def _session(self) -> asyncio.BaseProtocol:
        return SMTP(self, hostname="mail-catcher", enable_SMTPUTF8=True, loop=asyncio.get_running_loop())
