"""An SMTP server that misbehaves on request and writes down, synced, what became of each mail before it answers.

The ledger is the judge of sending tests: what the sender believes is compared with what stands there. Lean enough to be
no bottleneck. In a test: `async with SmtpOracle(ledger, always("421_at_dot")) as oracle`. As a process of its own:
`python -m tests.smtp_oracle --port 0 --ledger FILE [--rate PER_SECOND] [--script NAME]`; it prints `ready PORT`.
"""

import argparse
import asyncio
import base64
import hashlib
import socket
import ssl
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.smtp_ledger import Ledger, LedgerEntry, TakenMail, message_id_in, path_in, read_ledger
from tests.smtp_scripts import (
    DEAF,
    FORMS,
    NONSENSE,
    REPLIES,
    STORED,
    TOO_MUCH,
    Script,
    broken_at,
    in_form,
    script_named,
    well_behaved,
)


class SmtpOracle:
    """The server, in the running loop; its counters may be read while it runs."""

    def __init__(
        self,
        ledger: Path,
        script: Script = well_behaved,
        *,
        port: int = 0,
        rate: float | None = None,
        extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8"),
        ehlo: bool = True,
        credentials: tuple[str, str] | None = None,
        starttls: ssl.SSLContext | None = None,
        implicit_tls: ssl.SSLContext | None = None,
        keep: bool = True,
    ) -> None:
        self.script, self.port, self.extensions, self.ehlo = script, port, extensions, ehlo
        self.credentials, self.starttls, self.implicit_tls, self.keep = credentials, starttls, implicit_tls, keep
        #: Mails accepted, if they are kept; verbs seen, in order; connections opened so far, and those open now.
        self.mails: list[TakenMail] = []
        #: Recipients at whose body it left: their dot may have been under way.
        self.left_at_body: set[str] = set()
        self.verbs: list[str] = []
        self.connections = 0
        self.open: set[Session] = set()
        #: Set when a final dot has arrived, when a session has spoken before it, and when a connection has ended.
        self.dot_arrived, self.spoken_early, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._attempts: Counter[str] = Counter()
        self._ledger_path, self._ledger = ledger, Ledger(ledger)
        #: Mails per second at most; None: answered at once. What somebody adds in clear to the answer to STARTTLS.
        self.rate, self.injected = rate, b""
        self._next_slot = 0.0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Its address as an SMTP_URL, without TLS."""
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def ledger(self) -> list[LedgerEntry]:
        """What stands in the ledger file now."""
        return read_ledger(self._ledger_path)

    async def __aenter__(self) -> "SmtpOracle":
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await self._ledger.close()

    async def listen(self) -> None:
        """Accepts connections, after `leave` again at the same port."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Session(self), "127.0.0.1", self.port, ssl=self.implicit_tls, backlog=1000
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def leave(self) -> None:
        """Resets every connection and accepts no more."""
        if self._server is not None:
            self._server.close()
        for session in list(self.open):
            if session.in_body:
                self.left_at_body.add(session.recipient)
            session.transport.abort()

    def ask(self, address: str) -> str | None:
        """The script's choice for the next attempt of an address."""
        self._attempts[address] += 1
        return self.script(address, self._attempts[address])

    def write_down(self, entry: LedgerEntry, then: Callable[[], None]) -> None:
        """Into the ledger, synced, then at the allowed rate the answer."""
        self._ledger.enter(entry, self._at_its_slot(then, self.rate) if self.rate else then)
        self.dot_arrived.set()

    def _at_its_slot(self, then: Callable[[], None], rate: float) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        slot = self._next_slot = max(self._next_slot, loop.time()) + 1 / rate

        def wait() -> None:
            loop.call_at(slot, then)

        return wait


class Session(asyncio.Protocol):
    """One connection: commands until DATA, then a body until CRLF.CRLF."""

    def __init__(self, oracle: SmtpOracle) -> None:
        self._oracle = oracle
        self.transport: Any = None
        self._buffer = b""
        self._in_mail = self.in_body = self._secret_next = self._upgrading = self._judging = False
        self._sender = self.recipient = ""
        self._utf8 = False
        self._manner: str | None = None
        self._answers: list[bytes] = []
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._piecemeal = self._silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._oracle.open.add(self)
        self._oracle.connections += 1
        self._manner = self._oracle.ask("")
        self._say("BANNER", "220 oracle")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._oracle.open.discard(self)
        self._oracle.closed.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and not (self._upgrading or self._judging or self._silent or self.transport.is_closing()):
            if self.in_body:
                if not self._take_body():
                    break
            else:
                line, found, rest = self._buffer.partition(b"\r\n")
                if not found:
                    break
                self._buffer = rest
                self._command(line)
        self._flush()

    def _command(self, line: bytes) -> None:
        if self._secret_next:
            self._secret_next = False
            self._authenticate(line)
            return
        verb = line.split(b" ", 1)[0].upper().decode("ascii", "replace")
        self._oracle.verbs.append(verb)
        match verb:
            case "MAIL":
                self._mail(line)
            case "RCPT":
                self._rcpt(line)
            case "DATA":
                self._data()
            case "EHLO" | "HELO":
                self._hello(verb)
            case "STARTTLS" if self._oracle.starttls is not None:
                self._start_tls(self._oracle.starttls)
            case "AUTH":
                self._auth(line)
            case "RSET" | "NOOP":
                self._in_mail, self.recipient = False, ""
                self._answers.append(b"250 ok\r\n")
            case "QUIT":
                self._answers.append(b"221 bye\r\n")
                self._close()
            case _:
                self._answers.append(b"502 not implemented\r\n")

    def _hello(self, verb: str) -> None:
        if verb == "EHLO" and not self._oracle.ehlo:
            self._answers.append(b"502 not implemented\r\n")
            return
        lines = ["oracle"]
        if verb == "EHLO":
            lines += self._oracle.extensions
            lines += ["STARTTLS"] if self._oracle.starttls is not None else []
            lines += ["AUTH PLAIN"] if self._oracle.credentials is not None else []
        *others, last = lines
        self._say("EHLO", "".join(f"250-{text}\r\n" for text in others) + f"250 {last}")

    def _start_tls(self, context: ssl.SSLContext) -> None:
        self._answers.append(b"220 go ahead\r\n" + self._oracle.injected)
        self._flush()
        self._upgrading = True
        upgrade = asyncio.get_running_loop().start_tls(self.transport, self, context, server_side=True)
        self._upgrade = asyncio.ensure_future(upgrade)
        self._upgrade.add_done_callback(self._upgraded)

    def _upgraded(self, done: "asyncio.Future[asyncio.Transport | None]") -> None:
        if not done.cancelled() and done.exception() is None:
            self.transport, self._upgrading = done.result(), False
            self.data_received(b"")  # what came together with the end of the handshake

    def _auth(self, line: bytes) -> None:
        parts = line.split()
        if len(parts) == 3:
            self._authenticate(parts[2])
        else:
            self._secret_next = True
            self._answers.append(b"334 \r\n")

    def _authenticate(self, secret: bytes) -> None:
        user, password = self._oracle.credentials or ("", "")
        good = base64.b64decode(secret) == f"\0{user}\0{password}".encode()
        self._answers.append(b"235 welcome\r\n" if good else b"535 5.7.8 wrong user or password\r\n")

    def _mail(self, line: bytes) -> None:
        if self._in_mail:
            self._answers.append(b"503 nested MAIL\r\n")
            return
        self._sender, self.recipient, self._utf8 = path_in(line), "", b"SMTPUTF8" in line.split()
        self._manner = self._oracle.ask(self._sender)
        self._in_mail = self._say("MAIL", "250 ok")

    def _rcpt(self, line: bytes) -> None:
        if not self._in_mail:
            self._answers.append(b"503 no sender\r\n")
            return
        recipient = path_in(line)
        self._manner = self._oracle.ask(recipient)
        if self._say("RCPT", "250 ok") or self._manner == "refuse_rcpt_550_but_354":
            self.recipient = recipient

    def _data(self) -> None:
        if not self.recipient:
            self._answers.append(b"503 no recipient\r\n")
        elif self._say("DATA", "354 go on"):
            self.in_body = True
            # The line end of DATA counts as the one before the dot, so that an empty body ends too.
            self._buffer = b"\r\n" + self._buffer

    def _take_body(self) -> bool:
        if len(self._buffer) > 2 and not self._say("BODY", ""):
            self._flush()
            self._oracle.spoken_early.set()
            if self._silent or self.transport.is_closing():
                self._oracle.left_at_body.add(self.recipient)
                return False
            self._manner = None
        body, found, rest = self._buffer.partition(b"\r\n.\r\n")
        if not found:
            return False
        self.in_body, self._buffer = False, rest
        self._end_of_data((body + b"\r\n").replace(b"\r\n..", b"\r\n.")[2:])
        return True

    def _end_of_data(self, content: bytes) -> None:
        manner = self._manner or ""
        kept = manner.removeprefix("stored_then_") if manner in STORED else ""
        if how := kept or broken_at("dot", manner):
            self._judge(content, 250 if kept or how in NONSENSE else None, lambda: self._break(how), replied=False)
        elif manner == "two_codes_after_dot":
            self._judge(content, 250, lambda: self._speak(b"550-no\r\n250 yes\r\n"), replied=False)
        elif manner in TOO_MUCH:
            self._judge(content, 250, lambda: self._speak(TOO_MUCH[manner]))
        elif manner == "close_after_250":
            self._judge(content, 250, partial(self._speak, b"250 queued\r\n", closing=True))
        else:
            stage, text = REPLIES.get(manner, ("", ""))
            self._judge(content, int(text[:3]) if stage == "DOT" else 250, self._usual_end)

    def _break(self, how: str) -> None:
        """What the script has instead of a reply; nothing is said or heard on this connection any more."""
        self._silent = True
        if how == "close":
            self._close()
        elif how == "reset":
            self._flush()
            linger = struct.pack("ii", 1, 0)  # closing sends RST
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        elif how == "hang":
            self.transport.pause_reading()
        else:
            self._speak(NONSENSE[how])

    def _usual_end(self) -> None:
        self._buffer = b"" if self._manner == DEAF else self._buffer
        self._say("DOT", "250 queued")
        self._flush()

    def _judge(self, content: bytes, code: int | None, then: Callable[[], None], *, replied: bool = True) -> None:
        stored = code is not None and 200 <= code < 300
        if stored and self._oracle.keep:
            self._oracle.mails.append(TakenMail(self._sender, self.recipient, content, time.monotonic(), self._utf8))
        digest = hashlib.sha256(content).hexdigest()
        entry = LedgerEntry(message_id_in(content), self.recipient, digest, code, stored, replied)
        self._in_mail, self.recipient = False, ""
        # What comes behind the dot is answered after it.
        self._judging = True
        self._oracle.write_down(entry, partial(self._judged, then))

    def _judged(self, then: Callable[[], None]) -> None:
        then()
        self._judging = False
        self.data_received(b"")

    def _say(self, stage: str, usual: str) -> bool:
        """Answers in the manner of the moment; whether the answer was the usual one."""
        if how := broken_at(stage.lower(), self._manner):
            self._break(how)
            return False
        misplaced, text = REPLIES.get(self._manner or "", ("", ""))
        if misplaced == stage:
            self._answers.append(f"{text}\r\n".encode())
            if text.startswith("421") or stage == "BANNER":
                self._close()
            return False
        form, _, seconds = (self._manner or "").partition(":")
        reply = f"{usual}\r\n".encode()
        if not usual:
            return True
        if form in FORMS or form == "slow":
            self._flush()
            self._pieces.extend(in_form(form, reply, float(seconds or 0)))
            self._next_piece()
        else:
            self._answers.append(reply)
        return True

    def _speak(self, reply: bytes, *, closing: bool = False) -> None:
        self._answers.append(reply)
        (self._close if closing else self._flush)()

    def _flush(self) -> None:
        answers, self._answers = b"".join(self._answers), []
        if answers and self._piecemeal:
            # Behind the slow ones: replies come in the order of their commands.
            self._pieces.append((0.0, answers))
        elif answers:
            self.transport.write(answers)

    def _close(self) -> None:
        self._flush()
        self.transport.close()

    def _next_piece(self) -> None:
        if self._pieces and not self._piecemeal:
            self._piecemeal = True
            wait, piece = self._pieces.popleft()
            asyncio.get_running_loop().call_later(wait, self._write_piece, piece)

    def _write_piece(self, piece: bytes) -> None:
        self._piecemeal = False
        if not self.transport.is_closing():
            self.transport.write(piece)
            self._next_piece()


async def _serve(oracle: SmtpOracle) -> None:
    async with oracle:
        print(f"ready {oracle.port}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Runs until it is ended."""
    parser = argparse.ArgumentParser(description="scripted SMTP server with a ledger, for tests")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--rate", type=float, help="mails per second at most")
    parser.add_argument("--script", default="plain")
    given = parser.parse_args()
    script = script_named(given.script)
    asyncio.run(_serve(SmtpOracle(given.ledger, script, port=given.port, rate=given.rate, keep=False)))


if __name__ == "__main__":
    main()
