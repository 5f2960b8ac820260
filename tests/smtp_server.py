"""A real SMTP server that misbehaves by script and keeps a ledger, synced to disk before it answers the final dot."""

import asyncio
import hashlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

#: (recipient, which attempt for it, from 1) -> the name of a misbehaviour, or '' to behave.
Script = Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class Accepted:
    """One mail that was stored, and what the client was told (None: nothing)."""

    order: int
    message_id: str
    recipient: str
    sha256: str
    code: int | None
    content: bytes


class ScriptedSmtpServer:
    """Listens on a loopback port in a thread of its own; use with `with`.

    Misbehaviours: banner_421, banner_554, mail_421, mail_550, mail_451, rcpt_550, rcpt_450, data_554, close_before_354,
    close_mid_body, dot_421, dot_451, dot_452, dot_554, ok_252, drop_before_storing, store_and_drop, store_and_reset,
    store_and_hang, garbage_after_dot, split_reply, drip, multi_line, long_reply, endless_line, close_after_250, slow.
    """

    def __init__(self, ledger: Path, script: Script | None = None, rate: float | None = None) -> None:
        self._ledger_path = ledger
        self.script: Script = script or (lambda recipient, attempt: "")
        #: Mails per second over all connections; None: as fast as they come.
        self.rate = rate
        self.pipelining = True
        self.banner = ""
        self.accepted: list[Accepted] = []
        #: time.monotonic() of the last mail stored.
        self.last_accepted_at = 0.0
        self.connections = 0
        self.commands: list[str] = []
        self._attempts: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._turn = 0.0
        self.port = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def __enter__(self) -> "ScriptedSmtpServer":
        self._ledger = self._ledger_path.open("ab")
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._ledger.close()

    def recipients(self) -> Counter[str]:
        return Counter(mail.recipient for mail in list(self.accepted))

    def orders(self) -> Counter[int]:
        return Counter(mail.order for mail in list(self.accepted))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._session, "127.0.0.1", self.port, limit=1 << 24)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")
            await writer.drain()

        if self.banner:
            await say(self.banner)
            return
        await say("220 scripted ready")
        recipient, behaviour = "", ""
        while line := await reader.readline():
            command = line.decode("utf-8", "replace").strip()
            verb = command.split(":")[0].split(" ")[0].upper()
            self.commands.append(verb)
            if verb == "EHLO":
                features = ["scripted", *(["PIPELINING"] if self.pipelining else []), "8BITMIME"]
                for feature in features:
                    await say(f"250-{feature}")
                await say("250 SMTPUTF8")
            elif verb == "MAIL":
                # Which recipient this is about is known only after RCPT; scripts for MAIL go by the last one seen.
                peeked = self.script("*", 0)
                if peeked.startswith("mail_"):
                    await say(f"{peeked[5:]} no mail from you")
                    if peeked == "mail_421":
                        return
                else:
                    await say("250 ok")
            elif verb == "RCPT":
                match = re.search(r"<([^>]*)>", command)
                recipient = match[1] if match else ""
                self._attempts[recipient] += 1
                behaviour = self.script(recipient, self._attempts[recipient])
                if behaviour.startswith("rcpt_"):
                    await say(f"{behaviour[5:]} recipient refused by script")
                else:
                    await say("250 ok")
            elif verb == "DATA":
                if behaviour.startswith("rcpt_") or self.script("*", 0).startswith("mail_"):
                    await say("503 no recipient")
                elif behaviour == "close_before_354":
                    return
                elif behaviour.startswith("data_"):
                    await say(f"{behaviour[5:]} data refused")
                else:
                    await say("354 go on")
                    if await self._body(reader, writer, recipient, behaviour):
                        return
            elif verb in ("RSET", "NOOP"):
                await say("250 ok")
            elif verb == "QUIT":
                await say("221 bye")
                return
            else:
                await say("500 what?")

    async def _body(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recipient: str, behaviour: str
    ) -> bool:
        """Reads to the dot and answers; True: the connection is over."""
        if behaviour == "close_mid_body":
            await reader.read(10)
            return True
        lines = []
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                return True
            lines.append(line[1:] if line.startswith(b".") else line)
        if self.rate:
            self._turn = max(self._turn + 1 / self.rate, self._loop.time())
            await asyncio.sleep(self._turn - self._loop.time())
        content = b"".join(lines)
        return await self._answer(writer, recipient, behaviour, content)

    async def _answer(self, writer: asyncio.StreamWriter, recipient: str, behaviour: str, content: bytes) -> bool:
        if behaviour.startswith("dot_"):
            writer.write(f"{behaviour[4:]} not accepted\r\n".encode())
            return behaviour == "dot_421"
        if behaviour == "drop_before_storing":
            return True
        silent = behaviour in (
            "store_and_drop",
            "store_and_reset",
            "store_and_hang",
            "garbage_after_dot",
            "endless_line",
        )
        self._store(recipient, content, None if silent else 252 if behaviour == "ok_252" else 250)
        if behaviour == "store_and_reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        if behaviour in ("store_and_drop", "store_and_reset"):
            return True
        if behaviour == "store_and_hang":
            await asyncio.sleep(3600)
        if behaviour == "slow":
            await asyncio.sleep(0.5)
        replies = {
            "garbage_after_dot": [b"what a lovely mail\r\n"],
            "split_reply": [b"2", b"50 o", b"k\r\n"],
            "drip": [bytes([byte]) for byte in b"250 ok\r\n"],
            "multi_line": [b"250-first\r\n250-second\r\n250 last\r\n"],
            "endless_line": [b"250-" + b"x" * 100_000],
            "long_reply": [b"250-" + b"x" * 70_000 + b"\r\n250 end\r\n"],
            "ok_252": [b"252 cannot verify but accept\r\n"],
        }
        for part in replies.get(behaviour, [b"250 stored\r\n"]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.005 if len(replies.get(behaviour, ())) > 1 else 0)
        return behaviour == "close_after_250"

    def _store(self, recipient: str, content: bytes, code: int | None) -> None:
        headers = content.split(b"\r\n\r\n", 1)[0].decode("utf-8", "replace")
        order = re.search(r"^X-Kontaktpflege-Order: (\d+)", headers, re.MULTILINE)
        message_id = re.search(r"^Message-ID: (\S+)", headers, re.MULTILINE)
        mail = Accepted(
            order=int(order[1]) if order else 0,
            message_id=message_id[1] if message_id else "",
            recipient=recipient,
            sha256=hashlib.sha256(content).hexdigest(),
            code=code,
            content=content,
        )
        line = {key: value for key, value in asdict(mail).items() if key != "content"}
        self._ledger.write(json.dumps(line).encode() + b"\n")
        self._ledger.flush()
        os.fsync(self._ledger.fileno())
        self.accepted.append(mail)
        self.last_accepted_at = time.monotonic()
