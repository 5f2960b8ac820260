"""`python -m bench.late_sink PORT SECONDS`: an SMTP server that answers each final dot late and keeps nothing."""

import asyncio
import sys

import uvloop


class Conversation(asyncio.Protocol):
    """One connection: pipelined commands are answered in their order, the dot after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._buffer = b""
        self._in_body = self._is_late = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance check: uvloop's transports are none of asyncio's classes.
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        # What comes behind a dot is answered after it.
        while not self._is_late and self._step():
            pass

    def _step(self) -> bool:
        if self._in_body:
            # The dot may come by itself, after what came before it was thrown away.
            _, dot, rest = self._buffer.partition(b"\r\n.\r\n")
            if not dot and self._buffer != b".\r\n":
                self._buffer = self._buffer[-4:]
                return False
            self._buffer, self._in_body = rest, False
            self._is_late = True
            asyncio.get_running_loop().call_later(self._seconds, self._take)
            return False
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        verb = line[:4].upper()
        if verb == b"EHLO":
            self._say(b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
        elif verb == b"DATA":
            self._in_body = True
            self._say(b"354 go on\r\n")
        elif verb == b"QUIT":
            self._say(b"221 bye\r\n")
            self._transport.close()
        else:
            self._say(b"250 ok\r\n")
        return bool(self._buffer)

    def _take(self) -> None:
        self._say(b"250 taken\r\n")
        self._is_late = False
        self.data_received(b"")

    def _say(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)


async def serve(port: int, seconds: float) -> None:
    """Until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Conversation(seconds), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), float(sys.argv[2])))
