"""A loopback relay in front of a server: cut its connections or close its door, and the server seems to be lost."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit


class Relay:
    """Passes bytes on in both directions until told otherwise."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        #: Seconds by which everything is late.
        self.delay = 0.0
        #: Pieces that did not come through at once, because of `freeze` or `delay`.
        self.held_up = 0
        #: COMMITs that reach the database and whose answer does not come back, for so many to come (C25).
        self.commits_to_cut = self.commits_cut = 0
        self._muted: set[asyncio.StreamWriter] = set()

    async def open(self) -> str:
        """Lets connections in (again, at the same port); returns the address by way of the relay."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        account, at, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{account}{at}127.0.0.1:{self._port}"))

    def cut(self) -> int:
        """Resets every connection; new ones are let in. How many ends there were."""
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        return len(writers)

    def freeze(self) -> None:
        """Connections stay, but nothing comes through any more: a half-open connection."""
        self._flowing.clear()

    def thaw(self) -> None:
        """What was held up comes through."""
        self._flowing.set()

    def shut(self) -> None:
        """Resets every connection and refuses new ones."""
        if self._server is not None:
            self._server.close()
        self.cut()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, there_writer}
        self._writers |= pair
        await asyncio.gather(self._copy(reader, there_writer, pair), self._copy(there_reader, writer))
        self._writers -= pair

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asking: Collection[asyncio.StreamWriter] = ()
    ) -> None:
        """`asking`: both ends of a connection whose requests these are."""
        with suppress(OSError):
            while chunk := await reader.read(65536):
                self.held_up += bool(self.delay) or not self._flowing.is_set()
                await self._flowing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                cut = bool(asking and self.commits_to_cut and b"COMMIT" in chunk)
                if cut:
                    self.commits_to_cut -= 1
                    self.commits_cut += 1
                    self._muted |= set(asking)
                if asking or writer not in self._muted:
                    writer.write(chunk)
                    await writer.drain()
                if cut:
                    await asyncio.sleep(0.05)  # the database commits; nobody hears of it
                    for end in asking:
                        end.transport.abort()
        # Nobody hears either that the other end has gone.
        await self._flowing.wait()
        writer.close()
