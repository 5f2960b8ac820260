"""TLS and login: what is asked for is required, and a wrong setup fails no letter (S10, S11, C37)."""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from services.mailer.outcome import Deferred, Refused, Sent
from services.mailer.smtp import SmtpPool
from services.mailer.smtp_address import parse_smtp_url
from tests.services.smtp_sending import FROM, MAIL, TO, conversation, granted

SECRET = ("anna@x", "pa ss:wörd")
LOGIN = "anna%40x:pa%20ss%3Aw%C3%B6rd"


async def test_s10_starttls_and_auth(tmp_path: Path, certificate: ssl.SSLContext) -> None:
    url = f"smtp+starttls://{LOGIN}@localhost:{{port}}"
    async with conversation(tmp_path, url=url, starttls=certificate, credentials=SECRET) as (oracle, pool):
        for _ in range(2):
            assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)
        assert oracle.verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]
        assert oracle.connections == 1


async def test_s10_implicit_tls(tmp_path: Path, certificate: ssl.SSLContext) -> None:
    async with conversation(tmp_path, url="smtps://localhost:{port}", implicit_tls=certificate) as (_, pool):
        assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)


async def test_c37_starttls_not_offered_sends_neither_password_nor_mail(tmp_path: Path) -> None:
    url = f"smtp+starttls://{LOGIN}@localhost:{{port}}"
    async with conversation(tmp_path, url=url, credentials=SECRET) as (oracle, pool):
        await assert_setup_is_wrong(pool, "TLS")
        assert {"AUTH", "MAIL"}.isdisjoint(oracle.verbs)


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_c37_a_certificate_of_another_host_is_not_believed(
    tmp_path: Path, certificate: ssl.SSLContext, scheme: str
) -> None:
    tls: dict[str, Any] = {"implicit_tls" if scheme == "smtps" else "starttls": certificate}
    url = f"{scheme}://{LOGIN}@127.0.0.1:{{port}}"
    async with conversation(tmp_path, url=url, credentials=SECRET, **tls) as (oracle, pool):
        await assert_setup_is_wrong(pool, "TLS")
        assert {"AUTH", "MAIL"}.isdisjoint(oracle.verbs)


async def test_c37_a_wrong_password_fails_no_order(tmp_path: Path) -> None:
    url = "smtp://anna:wrong@127.0.0.1:{port}"
    async with conversation(tmp_path, url=url, credentials=SECRET) as (oracle, pool):
        await assert_setup_is_wrong(pool, "AUTH")
        assert "MAIL" not in oracle.verbs


async def assert_setup_is_wrong(pool: SmtpPool, where: str) -> None:
    found = await pool.send(FROM, TO, MAIL, granted)
    assert isinstance(found, Deferred), found
    assert found.relay_trouble
    assert not found.counts
    assert found.reason.startswith(f"{where}: ")


@pytest.mark.parametrize("offered", [("PIPELINING",), ("PIPELINING", "STARTTLS")], ids=["stripped", "refused"])
async def test_s10_a_server_that_will_not_have_tls_hears_neither_password_nor_mail(
    tmp_path: Path, offered: tuple[str, ...]
) -> None:
    url = f"smtp+starttls://{LOGIN}@localhost:{{port}}"
    async with conversation(tmp_path, url=url, credentials=SECRET, extensions=offered) as (oracle, pool):
        await assert_setup_is_wrong(pool, "TLS")
        assert {"AUTH", "MAIL", "RCPT", "DATA"}.isdisjoint(oracle.verbs)
        assert not oracle.mails


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_s10_a_certificate_that_nobody_vouches_for_is_not_believed(
    tmp_path: Path, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    tls: dict[str, Any] = {"implicit_tls" if scheme == "smtps" else "starttls": certificate}
    url = f"{scheme}://{LOGIN}@localhost:{{port}}"
    async with conversation(tmp_path, url=url, credentials=SECRET, **tls) as (oracle, pool):
        await assert_setup_is_wrong(pool, "TLS")
        assert {"AUTH", "MAIL"}.isdisjoint(oracle.verbs)


def speak_old_tls(listener: socket.socket, context: ssl.SSLContext, implicit: bool) -> list[bytes]:
    """One connection with a server of long ago; what it heard. Blocking: asyncio's servers hang up without an alert."""
    plain, _ = listener.accept()
    with plain, plain.makefile("rb") as lines:
        heard = []
        if not implicit:
            for answer in (b"220 old\r\n", b"250-old\r\n250 STARTTLS\r\n"):
                plain.sendall(answer)
                heard.append(lines.readline())
            plain.sendall(b"220 go ahead\r\n")
        with suppress(ssl.SSLError), context.wrap_socket(plain, server_side=True) as secret:
            secret.sendall(b"220 old\r\n")
            heard.append(secret.recv(1000))
        return heard


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_s10_a_server_that_only_speaks_old_tls_is_not_spoken_to(certificate: ssl.SSLContext, scheme: str) -> None:
    certificate.set_ciphers("DEFAULT@SECLEVEL=0")
    certificate.minimum_version = ssl.TLSVersion.TLSv1
    certificate.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_server(("localhost", 0)) as listener:
        server = asyncio.create_task(asyncio.to_thread(speak_old_tls, listener, certificate, scheme == "smtps"))
        url = parse_smtp_url(f"{scheme}://{LOGIN}@localhost:{listener.getsockname()[1]}")
        pool = SmtpPool(url, size=1, timeout=5.0, final_timeout=5.0, log=structlog.get_logger())
        await assert_setup_is_wrong(pool, "TLS")
        heard = await server
    assert [line.split()[0] for line in heard] == ([] if scheme == "smtps" else [b"EHLO", b"STARTTLS"])


#: Said in clear behind the answer to STARTTLS: a greeting that offers more than the server does, answers to come.
INJECTED = (
    b"250-x\r\n250-SMTPUTF8\r\n250 AUTH PLAIN\r\n",
    b"250-x\r\n250 SMTPUTF8\r\n235 welcome\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 taken\r\n",
    b"421 go away\r\n",
    b"250",
)


@pytest.mark.parametrize("injected", INJECTED, ids=range(len(INJECTED)))
async def test_s11_what_is_said_in_clear_before_the_handshake_counts_for_nothing_after_it(
    tmp_path: Path, certificate: ssl.SSLContext, injected: bytes
) -> None:
    url = f"smtp+starttls://{LOGIN}@localhost:{{port}}"
    server: dict[str, Any] = {"starttls": certificate, "credentials": SECRET, "extensions": ("PIPELINING",)}
    async with conversation(tmp_path, url=url, **server) as (oracle, pool):
        oracle.injected = injected
        found = await pool.send(FROM, "jürgen@b.example", MAIL, granted)
        assert isinstance(found, Refused) and "smtputf8" in found.reason
        assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)
        [mail], [entry] = oracle.mails, oracle.ledger
        assert (mail.recipient, entry.stored, entry.replied) == (TO, True, True)
