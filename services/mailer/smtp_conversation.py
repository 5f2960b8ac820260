"""The wire of an SMTP client: complete replies in, bytes with flow control out."""

import asyncio
import math
import re
from collections import deque
from functools import lru_cache

from services.mailer.outcome import Reply

#: A reply longer than this, in bytes and over all its lines, is garbage, however it is cut into packets.
_LONGEST_REPLY = 256 * 1024
#: Lines up to this, in bytes, are remembered.
_SHORT = 100
#: A timer that comes earlier than asked for by so many seconds was in time.
_TIMER_STEP = 0.002
_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\Z", re.DOTALL)


@lru_cache(256)
def _whole(line: bytes) -> Reply | None:
    """The reply that this line alone is, if it is one: a server says the same few things all day."""
    match = _LINE.match(line)
    if match is None or match[2] == b"-":
        return None
    return Reply(int(match[1]), (match[3] or b"").decode("utf-8", "replace"))


class ConnectionTrouble(Exception):
    """The connection was lost, or the server said something that is no SMTP reply."""


class SmtpConversation(asyncio.Protocol):
    """Reads replies and writes with flow control; takes over a transport that aiosmtplib has greeted."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        # Asking for it costs a system call.
        self._loop = asyncio.get_running_loop()
        #: Whether the server has said anything since `begin`.
        self.answered = False
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._code = b""
        self._replies: deque[Reply] = deque()
        self._lost: str | None = None
        self._wake: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._timer: asyncio.TimerHandle | None = None
        #: When waits end, and when the timer looks, by the loop's clock.
        self._deadline = self._looks_at = math.inf
        self._late = False

    @property
    def lost(self) -> bool:
        """The connection is gone, or what the server says makes no sense any more."""
        return self._lost is not None or self.transport.is_closing()

    @property
    def has_spoken(self) -> bool:
        """Something from the server waits to be read, complete or not."""
        return bool(self._replies or self._lines or self._buffer)

    @property
    def usable(self) -> bool:
        """Still connected, with nothing unexpected from the server (a 421 of an idle connection, say)."""
        return not self.lost and not self.has_spoken

    def begin(self) -> None:
        """A new mail starts."""
        self.answered = False

    def limit(self, seconds: float | None) -> None:
        """From now on `drain` and `reply` raise TimeoutError after so many seconds in all; None: no more limit."""
        # One timer for many letters: it looks whether the limit of the moment has passed, if there is one.
        self._late = False
        if seconds is None:
            self._deadline = math.inf
            return
        self._deadline = self._loop.time() + seconds
        if self._deadline < self._looks_at:
            self._look_at(self._deadline)

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = moment
        self._timer = self._loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._timer, self._looks_at = None, math.inf
        if self._deadline == math.inf:
            return
        if self._loop.time() < self._deadline - _TIMER_STEP:
            self._look_at(self._deadline)
            return
        self._late = True
        self._writable.set()
        self._notify()

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
        if self._late:
            raise TimeoutError

    async def reply(self) -> Reply:
        """The next complete reply; raises ConnectionTrouble when there will be none."""
        while not self._replies:
            if self._lost is not None:
                raise ConnectionTrouble(self._lost)
            if self._late:
                raise TimeoutError
            self._wake = self._loop.create_future()
            await self._wake
        self.answered = True
        return self._replies.popleft()

    def spoken_reply(self) -> Reply | None:
        """A reply that is complete already, without waiting."""
        return self._replies.popleft() if self._replies else None

    def abort(self) -> None:
        """Closes at once, without another byte."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._buffer and data.endswith(b"\n"):
            # Nearly always: complete lines.
            for line in data[:-1].split(b"\n"):
                if self._lost is None:
                    self._take_line(line.removesuffix(b"\r"))
        else:
            self._take_piece(data)
        self._notify()

    def _take_piece(self, data: bytes) -> None:
        self._buffer += data
        while self._lost is None and (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            self._take_line(line)
        if len(self._buffer) > _LONGEST_REPLY:
            self._end("over-long reply")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
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

    def _take_line(self, line: bytes) -> None:
        if not self._lines and len(line) <= _SHORT and (whole := _whole(line)) is not None:
            self._replies.append(whole)
            return
        match = _LINE.match(line)
        if match is None or (self._lines and match[1] != self._code):
            self._end(f"unusable reply {line[:80]!r}")
            return
        self._code, separator, text = match.groups(b"")
        self._lines.append(text)
        if sum(map(len, self._lines)) > _LONGEST_REPLY:
            self._end("over-long reply")
        elif separator != b"-":
            said = b" ".join(self._lines).decode("utf-8", "replace")
            self._replies.append(Reply(int(self._code), said))
            self._lines = []

    def _end(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        self._writable.set()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
