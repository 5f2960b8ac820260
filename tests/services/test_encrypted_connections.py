"""Broker and database over TLS: who is not who they should be learns neither user nor password (S15)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from shared.bus.connect import look
from shared.db.engine import Database
from shared.errors import Unavailable


class Listener:
    """Takes connections and notes what is said; says `answer` to the first words, and no more."""

    def __init__(self, answer: bytes) -> None:
        self.heard, self.port, self._answer = b"", 0, answer

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(4096):
                self.heard += data
                writer.write(self._answer)
                self._answer = b""
                await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None, answer: bytes = b"") -> AsyncIterator[Listener]:
    listener = Listener(answer)
    server = await asyncio.start_server(listener.talk, "127.0.0.1", 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    yield listener
    server.close()


async def asked(port: int, scheme: str, host: str) -> str:
    with pytest.raises(Unavailable) as refused:
        await look(f"{scheme}://kp:geheim@{host}:{port}/", timeout=5.0)
    return str(refused.value)


async def test_s15_a_broker_with_the_right_certificate_is_spoken_to(certificate: ssl.SSLContext) -> None:
    async with listening(certificate) as broker:
        await asked(broker.port, "amqps", "localhost")
    assert broker.heard.startswith(b"AMQP")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["another host's", "nobody vouches"])
async def test_s15_a_broker_with_a_wrong_certificate_hears_nothing(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    if host == "localhost":
        monkeypatch.delenv("SSL_CERT_FILE")
    async with listening(certificate) as broker:
        said = await asked(broker.port, "amqps", host)
    assert broker.heard == b"" and "certificate" in said and "geheim" not in said


async def test_s15_a_broker_that_speaks_no_tls_hears_no_password() -> None:
    async with listening(answer=b"AMQP\x00\x00\x09\x01") as broker:
        await asked(broker.port, "amqps", "localhost")
    assert b"geheim" not in broker.heard and not broker.heard.startswith(b"AMQP")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_s15_a_database_that_will_not_have_tls_hears_no_user(mode: str) -> None:
    # "N": this server does not encrypt.
    async with listening(answer=b"N") as server:
        database = Database(f"postgresql://kp:geheim@127.0.0.1:{server.port}/kp?sslmode={mode}")
        with pytest.raises(Unavailable) as refused:
            await database.check()
        await database.close()
    assert len(server.heard) == 8, "more than the question for TLS"
    assert "geheim" not in str(refused.value)
