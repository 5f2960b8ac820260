"""The SMTP rows of the fault matrix (C32-C42) over a real socket: outcome, ledger and what becomes of the connection.

The sender's belief must agree with the server's synced ledger.
"""

import asyncio
import hashlib
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.cli.mail_catcher import CaughtMail, MailCatcher
from services.mailer.outcome import SENDER_REFUSALS, Deferred, NotHandedOver, Outcome, Refused, Sent, Unclear
from services.mailer.smtp import SmtpPool, greet
from services.mailer.smtp_address import parse_smtp_url
from shared.errors import Unavailable
from tests.services.smtp_sending import DEADLINE, FROM, MAIL, TO, conversation, granted
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import always, first, well_behaved


async def send_again(oracle: SmtpOracle, pool: SmtpPool) -> None:
    """The same order once more, to a server that behaves now; it must arrive."""
    oracle.script = well_behaved
    await pool.wait_ready(asyncio.Event())
    assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)


async def passes_of_the_loop() -> None:
    """What another socket of this loop has sent arrives meanwhile."""
    for _ in range(20):
        await asyncio.sleep(0)


#: misbehaviour, outcome, its code, relay in trouble, mails stored, connection used again
ROWS: list[tuple[str, type[Outcome], int | None, bool, int, bool]] = [
    ("421_banner", Deferred, None, True, 0, False),
    ("450_banner", Deferred, None, True, 0, False),
    ("554_banner", Deferred, None, True, 0, False),
    ("421_at_ehlo", Deferred, None, True, 0, False),
    ("defer_ehlo_451", Deferred, None, True, 0, False),
    ("refuse_ehlo_554", Deferred, None, True, 0, False),
    ("421_after_mail", Deferred, 421, True, 0, False),
    ("421_after_rcpt", Deferred, 421, True, 0, False),
    ("defer_mail_451", Deferred, 451, False, 0, True),
    ("reject_mail_from_5xx", Refused, 553, False, 0, True),
    ("defer_rcpt_450", Deferred, 450, False, 0, True),
    ("refuse_rcpt_550", Refused, 550, False, 0, True),
    ("421_at_data", Deferred, 421, True, 0, False),
    ("defer_data_451", Deferred, 451, False, 0, True),
    ("refuse_data_554", Refused, 554, False, 0, True),
    ("defer_dot_451", Deferred, 451, False, 0, True),
    ("defer_dot_452", Deferred, 452, False, 0, True),
    ("421_at_dot", Deferred, 421, True, 0, False),
    ("reject_dot_554", Refused, 554, False, 0, True),
    ("two_codes_after_dot", Unclear, None, False, 1, False),
    ("ok_252", Sent, 252, False, 1, True),
    ("split_reply", Sent, 250, False, 1, True),
    ("multi_line_reply", Sent, 250, False, 1, True),
    ("drip", Sent, 250, False, 1, True),
    ("slow:0.05", Sent, 250, False, 1, True),
    ("close_after_250", Sent, 250, False, 1, False),
]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one_by_one"])
@pytest.mark.parametrize(
    ("misbehaviour", "kind", "code", "trouble", "stored", "reused"), ROWS, ids=[r[0] for r in ROWS]
)
async def test_c32_c33_c35_c40_c41_c42_i4_i5_i14_every_way_a_server_answers(
    tmp_path: Path,
    misbehaviour: str,
    kind: type[Outcome],
    code: int | None,
    trouble: bool,
    stored: int,
    reused: bool,
    pipelining: bool,
) -> None:
    extensions = ("PIPELINING",) if pipelining else ()
    async with conversation(tmp_path, always(misbehaviour), extensions=extensions) as (oracle, pool):
        found = await pool.send(FROM, TO, MAIL, granted)
        assert isinstance(found, kind), found
        assert getattr(found, "code", None) == code
        assert getattr(found, "relay_trouble", False) is trouble
        entries = oracle.ledger
        assert sum(entry.stored for entry in entries) == len(oracle.mails) == stored
        assert isinstance(found, Unclear) == any(not entry.replied for entry in entries)
        await send_again(oracle, pool)
        assert (oracle.connections == 1) is reused


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one_by_one"])
async def test_c35_a_body_asked_for_without_recipient_is_never_ended(tmp_path: Path, pipelining: bool) -> None:
    extensions = ("PIPELINING",) if pipelining else ()
    script = always("refuse_rcpt_550_but_354")
    async with conversation(tmp_path, script, extensions=extensions) as (oracle, pool):
        async with asyncio.timeout(DEADLINE / 2):  # no command is tried where the server expects a body
            found = await pool.send(FROM, TO, MAIL, granted)
        assert isinstance(found, Refused)
        assert found.code == 550
        assert oracle.ledger == []
        await send_again(oracle, pool)
        assert (oracle.connections == 1) is not pipelining


async def test_c34_greylisted_twice_then_accepted_once(tmp_path: Path) -> None:
    async with conversation(tmp_path, first(2, "defer_rcpt_450")) as (oracle, pool):
        kinds = [type(await pool.send(FROM, TO, MAIL, granted)) for _ in range(3)]
        assert kinds == [Deferred, Deferred, Sent]
        assert len(oracle.mails) == 1
        assert oracle.connections == 1


async def test_c36_a_sender_refused_for_everybody_stops_failing_letters(tmp_path: Path) -> None:
    async with conversation(tmp_path, always("reject_mail_from_5xx")) as (oracle, pool):
        found = []
        for number in range(SENDER_REFUSALS + 2):
            await pool.wait_ready(asyncio.Event())
            found.append(await pool.send(FROM, f"a{number}@b.example", MAIL, granted))
        assert [type(one) for one in found] == [Refused] * (SENDER_REFUSALS - 1) + [Deferred] * 3
        assert all(one.relay_trouble and not one.counts for one in found if isinstance(one, Deferred))
        await send_again(oracle, pool)


async def test_i16_c32_while_the_relay_is_away_nobody_hammers_it(tmp_path: Path) -> None:
    async with conversation(tmp_path, always("421_banner"), pool={"first_pause": 60.0}) as (oracle, pool):
        found = [await pool.send(FROM, TO, MAIL, granted) for _ in range(5)]
        assert all(isinstance(one, Deferred) and one.relay_trouble for one in found)
        assert oracle.connections == 1
        assert all(isinstance(one, Deferred) and (one.not_before_seconds or 0) > 55 for one in found)
        stop = asyncio.Event()
        waiting = asyncio.create_task(pool.wait_ready(stop))
        stop.set()
        await asyncio.wait_for(waiting, DEADLINE)


async def test_i5_without_a_yes_no_dot_is_written(tmp_path: Path) -> None:
    async def not_granted() -> bool:
        return False

    async with conversation(tmp_path) as (oracle, pool):
        assert isinstance(await pool.send(FROM, TO, MAIL, not_granted), NotHandedOver)
        await asyncio.wait_for(oracle.closed.wait(), DEADLINE)
        assert oracle.ledger == []
        await send_again(oracle, pool)
        assert oracle.connections == 2 and len(oracle.ledger) == 1


async def test_c38_a_cut_within_a_large_body_is_tried_later(tmp_path: Path) -> None:
    async with conversation(tmp_path, always("close_at_body")) as (oracle, pool):
        found = await pool.send(FROM, TO, MAIL + b"0123456789" * 2_000_000, granted)
        assert isinstance(found, Deferred), found
        assert oracle.ledger == []


async def test_i20_a_broken_intent_leaves_no_connection_behind(tmp_path: Path) -> None:
    async def breaks() -> bool:
        raise ArithmeticError

    async with conversation(tmp_path) as (oracle, pool):
        with pytest.raises(ArithmeticError):
            await pool.send(FROM, TO, MAIL, breaks)
        await asyncio.wait_for(oracle.closed.wait(), DEADLINE)
        assert oracle.ledger == []


async def test_what_the_server_says_before_the_dot_is_no_answer_to_it(tmp_path: Path) -> None:
    async with conversation(tmp_path, always("early_250_in_body")) as (oracle, pool):

        async def after_the_early_reply() -> bool:
            await asyncio.wait_for(oracle.spoken_early.wait(), DEADLINE)
            await passes_of_the_loop()
            return True

        assert isinstance(await pool.send(FROM, TO, MAIL, after_the_early_reply), Deferred)
        assert oracle.ledger == []


async def test_i19_cancelled_before_the_dot_nothing_is_handed_over(tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def never() -> bool:
        reached.set()
        await asyncio.Event().wait()
        return True

    async with conversation(tmp_path) as (oracle, pool):
        sending = asyncio.create_task(pool.send(FROM, TO, MAIL, never))
        await asyncio.wait_for(reached.wait(), DEADLINE)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.wait_for(oracle.closed.wait(), DEADLINE)
        assert oracle.ledger == []


async def test_i4_cancelled_after_the_dot_the_outcome_is_still_told(tmp_path: Path) -> None:
    recorded: list[object] = []

    async def send_and_record(pool: SmtpPool) -> None:
        recorded.append(await pool.send(FROM, TO, MAIL, granted))
        await asyncio.Event().wait()  # here the cancellation arrives

    async with conversation(tmp_path, always("hang_at_dot")) as (oracle, pool):
        sending = asyncio.create_task(send_and_record(pool))
        await asyncio.wait_for(oracle.dot_arrived.wait(), DEADLINE)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(sending, DEADLINE)
        assert [type(one) for one in recorded] == [Unclear]


@pytest.mark.parametrize("answers", ["reject_dot_554", "refuse_rcpt_550"])
async def test_i4_i19_cancelled_after_a_definite_refusal_the_refusal_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    recorded: list[object] = []
    resetting = asyncio.Event()

    async def silent(*_: object) -> bool:
        resetting.set()
        await asyncio.Event().wait()
        return False

    async def send_and_record(pool: SmtpPool) -> None:
        recorded.append(await pool.send(FROM, TO, MAIL, granted))
        await asyncio.Event().wait()  # here the cancellation arrives

    monkeypatch.setattr(SmtpPool, "_reset", silent)
    async with conversation(tmp_path, always(answers)) as (oracle, pool):
        sending = asyncio.create_task(send_and_record(pool))
        await asyncio.wait_for(resetting.wait(), DEADLINE)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(sending, DEADLINE)
        assert [type(one) for one in recorded] == [Refused]
        await asyncio.wait_for(oracle.closed.wait(), DEADLINE)


async def test_one_connection_serves_one_sender_and_is_replaced_in_time(tmp_path: Path) -> None:
    async with conversation(tmp_path, pool={"max_mails": 10}) as (oracle, pool):
        for number in range(25):
            assert isinstance(await pool.send(FROM, f"a{number}@b.example", MAIL, granted), Sent)
        assert oracle.connections == 3
        assert len(oracle.mails) == 25


async def test_never_more_connections_than_the_pools_size(tmp_path: Path) -> None:
    async with conversation(tmp_path, pool={"size": 3}) as (oracle, pool):
        sends = [pool.send(FROM, f"a{number}@b.example", MAIL, granted) for number in range(30)]
        assert all(isinstance(one, Sent) for one in await asyncio.gather(*sends))
        assert oracle.connections == 3
        assert len({mail.recipient for mail in oracle.mails}) == len(oracle.mails) == 30


async def test_an_idle_connection_the_server_gave_up_costs_no_letter(tmp_path: Path) -> None:
    async with conversation(tmp_path) as (oracle, pool):
        assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)
        for session in list(oracle.open):
            session.transport.abort()  # the pool cannot know yet
        assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)
        assert oracle.connections == 2


async def test_close_says_quit_on_idle_connections(tmp_path: Path) -> None:
    async with conversation(tmp_path) as (oracle, pool):
        await pool.send(FROM, TO, MAIL, granted)
        await pool.close()
        assert oracle.verbs[-1] == "QUIT"


async def test_a_server_without_ehlo_gets_helo(tmp_path: Path) -> None:
    async with conversation(tmp_path, ehlo=False) as (oracle, pool):
        assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)
        assert "HELO" in oracle.verbs


# -- addresses and bodies ----------------------------------------------------------------------------------------------


async def test_s9_a_local_part_beyond_ascii_needs_smtputf8(tmp_path: Path) -> None:
    async with conversation(tmp_path, extensions=("PIPELINING",)) as (oracle, pool):
        found = await pool.send(FROM, "jürgen@b.example", MAIL, granted)
        assert isinstance(found, Refused)
        assert "smtputf8" in found.reason
        assert isinstance(await pool.send(FROM, "x@müller.example", MAIL, granted), Sent)
        assert oracle.mails[0].recipient == "x@xn--mller-kva.example"
        assert oracle.connections == 1


async def test_s9_with_smtputf8_the_local_part_stays(tmp_path: Path) -> None:
    async with conversation(tmp_path) as (oracle, pool):
        assert isinstance(await pool.send(FROM, "jürgen@müller.example", MAIL, granted), Sent)
        assert oracle.mails[0].recipient == "jürgen@xn--mller-kva.example"


@pytest.mark.parametrize(
    "address", ["", "@b.example", "a@", "a", "a\x00@b.example", "a@b.example\r\nDATA", "<a@b.example>"]
)
async def test_s6_i10_an_address_that_is_none_never_reaches_the_server(tmp_path: Path, address: str) -> None:
    async with conversation(tmp_path) as (oracle, pool):
        assert isinstance(await pool.send(FROM, address, MAIL, granted), Refused)
        assert "RCPT" not in oracle.verbs


def as_lines(content: bytes) -> bytes:
    """What a body must arrive as: every line end CRLF, nothing else changed."""
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return text if text.endswith(b"\r\n") else text + b"\r\n"


_PIECES = st.sampled_from(
    [b".", b"..", b"\r", b"\n", b"\r\n", b"\n.\n", b"\r.\r", b"\r\n.\r\n", b"x", b"MAIL FROM:<e@v.il>"]
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_PIECES, max_size=12).map(b"".join))
def test_s7_no_body_ends_early_or_changes(tmp_path: Path, body: bytes) -> None:
    async def send() -> None:
        ledger = tmp_path / "ledger"
        ledger.unlink(missing_ok=True)
        async with conversation(tmp_path) as (oracle, pool):
            assert isinstance(await pool.send(FROM, TO, body, granted), Sent)
            [mail], [entry] = oracle.mails, oracle.ledger
            assert mail.content == as_lines(body)
            assert entry.sha256 == hashlib.sha256(as_lines(body)).hexdigest()
            assert oracle.verbs == ["EHLO", "MAIL", "RCPT", "DATA"]

    asyncio.run(send())


async def test_a_body_larger_than_every_buffer_arrives(tmp_path: Path) -> None:
    body = MAIL + b"0123456789" * 500_000
    async with conversation(tmp_path) as (oracle, pool):
        assert isinstance(await pool.send(FROM, TO, body, granted), Sent)
        assert oracle.mails[0].content == body + b"\r\n"


# -- TLS and AUTH (C37) ------------------------------------------------------------------------------------------------


async def test_greet_names_what_the_relay_offers(tmp_path: Path) -> None:
    async with SmtpOracle(tmp_path / "ledger") as oracle:
        line = (await greet(parse_smtp_url(oracle.url))).words
        assert f"127.0.0.1:{oracle.port}" in line
        assert "pipelining" in line
        oracle.script = always("554_banner")
        with pytest.raises(Unavailable, match="no service here"):
            await greet(parse_smtp_url(oracle.url))


async def test_the_demos_mail_catcher_keeps_what_is_sent() -> None:
    mail = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@x>\r\nX-Kontaktpflege-Order: 7\r\n\r\n.dot\r\n"
    async with MailCatcher() as catcher:
        pool = SmtpPool(
            parse_smtp_url(catcher.url), size=1, timeout=DEADLINE, final_timeout=DEADLINE, log=structlog.get_logger()
        )
        assert isinstance(await pool.send(FROM, TO, mail, granted), Sent)
        await pool.close()
    assert catcher.messages == [CaughtMail(FROM, TO, "Grüße", "<1@x>", "7", mail)]


def test_it_works_on_the_fast_loop_too(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def send() -> None:
        async with conversation(tmp_path) as (oracle, pool):
            assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)
            assert len(oracle.mails) == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())
