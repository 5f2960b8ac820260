"""The scripted SMTP server in a thread of its own, beside the processes that send to it."""

import asyncio
import re
import threading
from collections import Counter
from pathlib import Path

from tests.smtp_ledger import TakenMail
from tests.smtp_oracle import SmtpOracle

_ORDER = re.compile(rb"^x-kontaktpflege-order:\s*(\d+)", re.IGNORECASE | re.MULTILINE)


class MailServer:
    """Listens while it is entered. `oracle.script` and `oracle.rate` may change while it runs."""

    oracle: SmtpOracle

    def __init__(self, ledger: Path, port: int = 0) -> None:
        self._ledger, self._port = ledger, port
        self._loop = asyncio.new_event_loop()
        self._ready, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> "MailServer":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        async with SmtpOracle(self._ledger, port=self._port) as self.oracle:
            self._ready.set()
            await self._ended.wait()

    async def away(self, seconds: float) -> None:
        """Not there for a while; callable from another loop."""

        async def leave_and_return() -> None:
            self.oracle.leave()
            await asyncio.sleep(seconds)
            await self.oracle.listen()

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(leave_and_return(), self._loop))

    @property
    def accepted(self) -> list[TakenMail]:
        """The mails that a mailbox would hold."""
        return self.oracle.mails

    def orders(self) -> Counter[int]:
        """How often a mail of each order was accepted."""
        found = (_ORDER.search(mail.content) for mail in list(self.accepted))
        return Counter(int(match[1]) for match in found if match)
