"""TLS and login: what is asked for is required, and a wrong setup fails no letter (S10, C37)."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from services.mailer.outcome import Deferred, Sent
from services.mailer.smtp import SmtpPool
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


# -- doctor, event loops, speed ----------------------------------------------------------------------------------------
