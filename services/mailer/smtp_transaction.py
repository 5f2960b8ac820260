"""One mail over an established connection: MAIL, RCPT, DATA, body, T2, dot. The dot is written on its own.

aiosmtplib writes body and dot in one go and cannot tell "closed before" from "closed after the dot"; here every
failure before the dot is provably harmless. One recipient per transaction, so there is no partial acceptance.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable

from services.mailer.outcome import NotHandedOver, Outcome, Reply, Stage, judge_reply, judge_trouble

#: A reply longer than this is garbage.
_LONGEST_REPLY = 64 * 1024
_LINE = re.compile(rb"([2-5]\d\d)([ -]?)(.*)\Z", re.DOTALL)
_BARE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")


class ConnectionTrouble(Exception):
    """The connection was lost, or the server said something that is no SMTP reply."""


class SmtpConversation(asyncio.Protocol):
    """Reads replies and writes with flow control; takes over a transport that aiosmtplib has greeted."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.mails = 0
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._replies: deque[Reply] = deque()
        self._lost: str | None = None
        self._wake: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def usable(self) -> bool:
        """Still connected, with nothing unexpected from the server (a 421 of an idle connection, say)."""
        return self._lost is None and not self._replies and not self._buffer and not self.transport.is_closing()

    @property
    def lost(self) -> bool:
        """The connection is gone."""
        return self._lost is not None or self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Writes without waiting; raises ConnectionTrouble on a lost connection."""
        if self.lost:
            raise ConnectionTrouble(self._lost or "connection closed")
        self.transport.write(data)

    async def drain(self) -> None:
        """Waits until the transport takes more; raises ConnectionTrouble if it never will."""
        await self._writable.wait()
        if self.lost:
            raise ConnectionTrouble(self._lost or "connection closed")

    async def reply(self) -> Reply:
        """The next complete reply."""
        while not self._replies:
            if self._lost is not None:
                raise ConnectionTrouble(self._lost)
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._replies.popleft()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line, self._buffer = bytes(self._buffer[:end]).rstrip(b"\r"), self._buffer[end + 1 :]
            self._take_line(line)
        if len(self._buffer) > _LONGEST_REPLY or sum(map(len, self._lines)) > _LONGEST_REPLY:
            self._end("over-long reply")
        self._notify()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost: {exc}" if exc else "connection closed by the server")
        self._notify()

    def eof_received(self) -> bool:
        self._end("connection closed by the server")
        self._notify()
        return False

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def abort(self) -> None:
        """Closes at once, without another byte."""
        self.transport.abort()

    def _take_line(self, line: bytes) -> None:
        match = _LINE.match(line)
        if match is None:
            self._end(f"unusable reply {line[:80]!r}")
            return
        code, separator, text = match.groups()
        self._lines.append(text.decode("utf-8", "replace"))
        if separator != b"-":
            self._replies.append(Reply(int(code), " ".join(self._lines)))
            self._lines = []

    def _end(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        self._writable.set()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def wire_form(mail: bytes) -> bytes:
    """The mail as DATA carries it: CRLF only, dots doubled, ending in CRLF - nothing can end it early (S7)."""
    if _BARE_END.search(mail):
        mail = _BARE_END.sub(b"\r\n", mail)
    if not mail.endswith(b"\r\n"):
        mail += b"\r\n"
    mail = mail.replace(b"\r\n.", b"\r\n..")
    return b"." + mail if mail.startswith(b".") else mail


async def transact(
    conversation: SmtpConversation,
    commands: tuple[bytes, bytes, bytes],
    mail: bytes,
    before_dot: Callable[[], Awaitable[bool]],
    *,
    pipelining: bool,
    timeout: float,
    final_timeout: float,
) -> Outcome | NotHandedOver:
    """Sends one mail; never raises for what the server or the network does."""
    stage = Stage.MAIL
    try:
        async with asyncio.timeout(timeout):
            refusal, stage = await _envelope(conversation, commands, pipelining)
        if refusal is not None:
            return refusal
        stage = Stage.BODY
        async with asyncio.timeout(timeout):
            conversation.write(wire_form(mail))
            await conversation.drain()
        if not await before_dot():
            conversation.abort()
            return NotHandedOver("not granted before the final dot")
        conversation.write(b".\r\n")
        # From here on the server may have the letter.
        stage = Stage.DOT
        async with asyncio.timeout(final_timeout):
            reply = await conversation.reply()
        return judge_reply(Stage.DOT, reply) or judge_trouble(Stage.DOT, f"unusable reply {reply.code}")
    except ConnectionTrouble as exc:
        return judge_trouble(stage, str(exc))
    except TimeoutError:
        return judge_trouble(stage, f"no answer within {final_timeout if stage is Stage.DOT else timeout:g} seconds")


async def _envelope(
    conversation: SmtpConversation, commands: tuple[bytes, bytes, bytes], pipelining: bool
) -> tuple[Outcome | None, Stage]:
    """MAIL, RCPT, DATA; the first refusal wins, and nothing is written after it."""
    if pipelining:
        conversation.write(b"".join(commands))
    first: Outcome | None = None
    stage = Stage.MAIL
    for step, command in zip((Stage.MAIL, Stage.RCPT, Stage.DATA), commands, strict=True):
        stage = step if first is None else stage
        if not pipelining:
            conversation.write(command)
        try:
            reply = await conversation.reply()
        except ConnectionTrouble:
            if first is not None:
                return first, stage
            raise
        if first is None:
            first = judge_reply(step, reply)
            if first is not None and not pipelining:
                return first, stage
        elif step is Stage.DATA and reply.code == 354:
            # The server waits for a body without a recipient: only closing ends that without a dot.
            conversation.abort()
    return first, stage
