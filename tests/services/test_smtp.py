"""Every row of the SMTP error classes against a real socket: what it means, and whether the server has the mail."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.mailer.outcome import Deferred, NotHandedOver, Refused, Sent, Unclear
from services.mailer.smtp import SmtpPool, parse_smtp_url
from shared.errors import InvalidSettings
from tests.smtp_server import ScriptedSmtpServer

MAIL = b"Subject: x\r\nMessage-ID: <order-1@x>\r\nX-Kontaktpflege-Order: 1\r\n\r\nbody\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedSmtpServer]:
    with ScriptedSmtpServer(tmp_path / "ledger") as running:
        yield running


def pool_for(server: ScriptedSmtpServer, timeout: float = 2.0, final: float = 1.0) -> SmtpPool:
    log = structlog.get_logger()
    return SmtpPool(parse_smtp_url(server.url), size=2, timeout=timeout, final_timeout=final, log=log)


async def granted() -> bool:
    await asyncio.sleep(0.02)  # a commit takes its time; what the server does meanwhile is seen before the dot
    return True


async def send(server: ScriptedSmtpServer, recipient: str = "a@b.example", mail: bytes = MAIL) -> Any:
    pool = pool_for(server)
    try:
        return await pool.send("s@x.example", recipient, mail, granted)
    finally:
        await pool.close()


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("behaviour", "outcome", "stored"),
    [
        ("", Sent, 1),
        ("ok_252", Sent, 1),
        ("split_reply", Sent, 1),
        ("drip", Sent, 1),
        ("multi_line", Sent, 1),
        ("close_after_250", Sent, 1),
        ("rcpt_550", Refused, 0),
        ("rcpt_551", Refused, 0),
        ("rcpt_450", Deferred, 0),
        ("rcpt_451", Deferred, 0),
        ("data_554", Refused, 0),
        ("close_before_354", Deferred, 0),
        ("close_mid_body", Deferred, 0),
        ("dot_421", Deferred, 0),
        ("dot_451", Deferred, 0),
        ("dot_452", Deferred, 0),
        ("dot_554", Refused, 0),
        ("drop_before_storing", Unclear, 0),
        ("store_and_drop", Unclear, 1),
        ("store_and_reset", Unclear, 1),
        ("store_and_hang", Unclear, 1),
        ("garbage_after_dot", Unclear, 1),
        ("long_reply", Sent, 1),
        ("endless_line", Unclear, 1),
    ],
)
async def test_i4_i5_i14_every_answer_has_one_meaning(
    server: ScriptedSmtpServer, behaviour: str, outcome: type, stored: int, pipelining: bool
) -> None:
    server.pipelining = pipelining
    server.script = lambda recipient, attempt: behaviour if recipient != "*" else ""
    assert isinstance(await send(server), outcome)
    assert len(server.accepted) == stored


@pytest.mark.parametrize(("answer", "outcome"), [("mail_550", Refused), ("mail_451", Deferred), ("mail_421", Deferred)])
async def test_i14_refusals_of_the_sender(server: ScriptedSmtpServer, answer: str, outcome: type) -> None:
    server.script = lambda recipient, attempt: answer
    found = await send(server)
    assert isinstance(found, outcome)
    assert not server.accepted
    assert answer != "mail_421" or found.relay_trouble


@pytest.mark.parametrize("banner", ["421 not now", "554 go away"])
async def test_a_refusing_banner_is_the_relays_trouble_not_the_letters(server: ScriptedSmtpServer, banner: str) -> None:
    server.banner = banner
    found = await send(server)
    assert isinstance(found, Deferred)
    assert found.relay_trouble


async def test_i20_without_the_intent_no_dot_is_written(server: ScriptedSmtpServer) -> None:
    pool = pool_for(server)

    async def refused() -> bool:
        return False

    assert isinstance(await pool.send("s@x.example", "a@b.example", MAIL, refused), NotHandedOver)
    assert isinstance(await pool.send("s@x.example", "a@b.example", MAIL, granted), Sent)
    assert len(server.accepted) == 1
    await pool.close()


async def test_one_connection_serves_many_mails_and_survives_a_refusal(server: ScriptedSmtpServer) -> None:
    server.script = lambda recipient, attempt: "rcpt_550" if recipient.startswith("no") else ""
    pool = pool_for(server)
    for recipient in ("a@b.example", "no@b.example", "c@b.example", "d@b.example"):
        await pool.send("s@x.example", recipient, MAIL, granted)
    await pool.close()
    assert server.connections == 1
    assert server.recipients() == {"a@b.example": 1, "c@b.example": 1, "d@b.example": 1}


async def test_a_relay_that_is_away_pauses_everybody() -> None:
    pool = SmtpPool(
        parse_smtp_url("smtp://127.0.0.1:1"), size=2, timeout=1.0, final_timeout=1.0, log=structlog.get_logger()
    )
    first = await pool.send("s@x.example", "a@b.example", MAIL, granted)
    second = await pool.send("s@x.example", "c@b.example", MAIL, granted)
    assert isinstance(first, Deferred)
    assert isinstance(second, Deferred)
    assert first.relay_trouble
    assert second.reason == "connect: the relay is away"


async def test_s10_starttls_that_is_not_offered_sends_nothing(server: ScriptedSmtpServer) -> None:
    relay = parse_smtp_url(server.url.replace("smtp://", "smtp+starttls://user:secret@"))
    pool = SmtpPool(relay, size=1, timeout=2.0, final_timeout=1.0, log=structlog.get_logger())
    found = await pool.send("s@x.example", "a@b.example", MAIL, granted)
    assert isinstance(found, Deferred)
    assert found.relay_trouble
    assert "AUTH" not in server.commands
    assert "MAIL" not in server.commands


def test_s10_no_password_in_clear_to_another_host() -> None:
    with pytest.raises(InvalidSettings, match="never sent in clear"):
        parse_smtp_url("smtp://user:secret@mail.example")


@pytest.mark.parametrize("url", ["ftp://x", "smtp://", "smtp://h:99999", "mail.example:25"])
def test_an_unusable_smtp_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="SMTP_URL"):
        parse_smtp_url(url)


@pytest.mark.parametrize("address", ["a b@c.example", "a>@c.example", "a\r\nRCPT TO:<x@y>@c.example"])
async def test_s6_addresses_cannot_carry_commands(server: ScriptedSmtpServer, address: str) -> None:
    assert isinstance(await send(server, address), Refused)
    assert not server.accepted


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b".", b"\n", b"\r", b"\r\n", b"a", b"..", b".\r\n", b"\n.\n", b"\r.\r"]), max_size=12))
def test_s7_no_body_ends_the_mail_early(server: ScriptedSmtpServer, parts: list[bytes]) -> None:
    before = len(server.accepted)
    body = b"".join(parts)
    outcome = asyncio.run(send(server, mail=MAIL + body))
    assert isinstance(outcome, Sent)
    assert len(server.accepted) == before + 1
    kept = server.accepted[-1].content
    assert kept.replace(b"\r\n", b"").replace(b"\n", b"").replace(b"\r", b"") == (MAIL + body).replace(
        b"\r", b""
    ).replace(b"\n", b"")
