"""The next letter's envelope goes along with the dot of the one before (RFC 2920), and nothing more than that."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.mailer import lane as lane_module
from services.mailer import smtp as smtp_module
from services.mailer.ahead import Holding
from services.mailer.lane import OUT_OF_STEP, Lane, Lanes
from services.mailer.letters import Mail
from services.mailer.outcome import Deferred, Outcome, Refused, Sent, Unclear
from services.mailer.smtp import SmtpPool
from services.mailer.smtp_conversation import SmtpConversation
from tests.services.smtp_sending import FROM, MAIL, conversation, granted
from tests.smtp_scripts import DEAF, TOO_MUCH, always

FIRST, SECOND, THIRD = "a1@b.example", "a2@b.example", "a3@b.example"


def held(recipient: str) -> Holding:
    content = MAIL.replace(b"order-1", recipient[:2].encode())
    mail = Mail(FROM, recipient, "x", "<x>", content, "")
    return Holding(None, None, lambda: None, mail=mail)  # type: ignore[arg-type]


def lanes_with(*recipients: str, count: int = 2, **given: Any) -> Lanes:
    composed: asyncio.Queue[Holding | None] = asyncio.Queue()
    for one in recipients:
        composed.put_nowait(held(one))
    return Lanes(composed, count, **given)


def lane_with(*recipients: str, **given: Any) -> tuple[Lane, "asyncio.Queue[Holding | None]"]:
    lanes = lanes_with(*recipients, count=1, **given)
    return lanes.all[0], lanes.composed


async def send_next(pool: SmtpPool, lane: Lane) -> Any:
    holding = await lane.next()
    assert holding is not None and holding.mail is not None
    mail = holding.mail
    return await pool.send(mail.envelope_from, mail.recipient, mail.content, granted, lane)


def only(recipient: str, manner: str) -> Any:
    return lambda address, attempt: manner if (address, attempt) == (recipient, 1) else None


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written to the mail server, body by body and dot by dot."""
    pieces: list[bytes] = []
    write = SmtpConversation.write

    def noted(self: SmtpConversation, data: bytes) -> None:
        pieces.append(data)
        write(self, data)

    monkeypatch.setattr(SmtpConversation, "write", noted)
    return pieces


async def test_a_letter_costs_two_writes_and_its_dot_stands_alone_behind_its_body(
    tmp_path: Path, written: list[bytes]
) -> None:
    lane, _ = lane_with(FIRST, SECOND, THIRD)
    async with conversation(tmp_path) as (oracle, pool):
        assert [type(await send_next(pool, lane)) for _ in range(3)] == [Sent] * 3
        assert [mail.recipient for mail in oracle.mails] == [FIRST, SECOND, THIRD] and oracle.connections == 1
    bodies = [piece for piece in written if piece.endswith(b"body\r\n")]
    dots = [piece for piece in written if piece.startswith(b".\r\n")]
    assert len(bodies) == 3 and [piece.count(b"\r\n") for piece in dots] == [4, 4, 1]
    assert dots[0].startswith(b".\r\nMAIL FROM:<") and dots[0].endswith(b"\r\nDATA\r\n")


@pytest.mark.parametrize(
    ("manner", "kind", "connections"),
    [
        ("reject_dot_554", Refused, 1),
        ("defer_dot_451", Deferred, 1),
        ("421_at_dot", Deferred, 2),
        ("close_at_dot", Unclear, 2),
        ("reset_at_dot", Unclear, 2),
        ("garbage_at_dot", Unclear, 2),
        ("stored_then_close", Unclear, 2),
        ("two_codes_after_dot", Unclear, 2),
        ("close_after_250", Sent, 2),
    ],
)
async def test_i3_i5_whatever_becomes_of_a_letter_the_one_begun_behind_it_goes_once(
    tmp_path: Path, manner: str, kind: type[Outcome], connections: int
) -> None:
    lane, _ = lane_with(FIRST, SECOND)
    async with conversation(tmp_path, only(FIRST, manner)) as (oracle, pool):
        assert isinstance(await send_next(pool, lane), kind)
        await pool.wait_ready(asyncio.Event())
        assert isinstance(await send_next(pool, lane), Sent)
        assert [entry.recipient for entry in oracle.ledger if entry.stored and entry.replied].count(SECOND) == 1
        assert len([entry for entry in oracle.ledger if entry.recipient == SECOND]) == 1
        assert oracle.connections == connections and "RSET" not in oracle.verbs


@pytest.mark.parametrize("manner", ["refuse_rcpt_550", "refuse_rcpt_550_but_354", "defer_data_451"])
async def test_i14_a_letter_begun_behind_another_is_refused_like_any(tmp_path: Path, manner: str) -> None:
    lane, _ = lane_with(FIRST, SECOND, THIRD)
    async with conversation(tmp_path, only(SECOND, manner)) as (oracle, pool):
        assert isinstance(await send_next(pool, lane), Sent)
        assert isinstance(await send_next(pool, lane), Refused if "550" in manner else Deferred)
        assert isinstance(await send_next(pool, lane), Sent)
        assert [mail.recipient for mail in oracle.mails] == [FIRST, THIRD]


@pytest.mark.parametrize("manner", [*TOO_MUCH, DEAF])
async def test_i14_what_a_server_says_out_of_step_is_no_verdict_on_the_letter_behind(
    tmp_path: Path, manner: str
) -> None:
    lane, _ = lane_with(FIRST, SECOND, THIRD)
    async with conversation(tmp_path, only(FIRST, manner), pool={"timeout": 0.5}) as (oracle, pool):
        assert [type(await send_next(pool, lane)) for _ in range(3)] == [Sent] * 3
        assert [mail.recipient for mail in oracle.mails] == [FIRST, SECOND, THIRD]
        assert len(oracle.ledger) == 3 and oracle.connections == 2


async def test_i14_a_refused_mail_from_is_asked_once_more_over_another_connection(tmp_path: Path) -> None:
    lane, _ = lane_with(FIRST, SECOND, THIRD)
    async with conversation(tmp_path) as (oracle, pool):
        oracle.script = lambda address, attempt: "421_after_mail" if address == FROM and attempt > 1 else None
        assert isinstance(await send_next(pool, lane), Sent)
        assert isinstance(await send_next(pool, lane), Deferred)
        assert oracle.connections == 2 and oracle.verbs.count("MAIL") == 3


async def test_a_server_that_never_keeps_step_gets_nothing_behind_a_dot_any_more(tmp_path: Path) -> None:
    lane, composed = lane_with()
    async with conversation(tmp_path, always("two_replies_after_dot")) as (oracle, pool):
        for number in range(2 * OUT_OF_STEP + 4):
            composed.put_nowait(held(f"b{number}@b.example"))
        seen = []
        while not composed.empty() or lane.begun:
            assert isinstance(await send_next(pool, lane), Sent)
            seen.append(lane.begun)
        assert seen.count(True) == OUT_OF_STEP and not any(seen[2 * OUT_OF_STEP :])
        assert len(oracle.mails) == 2 * OUT_OF_STEP + 4


async def test_i15_a_letter_that_cannot_be_begun_takes_nobody_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    lane, _ = lane_with(FIRST, SECOND)
    async with conversation(tmp_path) as (oracle, pool):
        monkeypatch.setattr(lane_module, "envelope", broken)
        assert [type(await send_next(pool, lane)) for _ in range(2)] == [Sent, Sent]
        assert [mail.recipient for mail in oracle.mails] == [FIRST, SECOND]


async def test_i4_without_a_yes_the_letter_begun_behind_another_gets_no_dot(tmp_path: Path) -> None:
    lane, _ = lane_with(FIRST, SECOND)

    async def refused() -> bool:
        return False

    async with conversation(tmp_path) as (oracle, pool):
        assert isinstance(await send_next(pool, lane), Sent)
        holding = await lane.next()
        assert holding is not None and holding.mail is not None
        await pool.send(FROM, SECOND, holding.mail.content, refused, lane)
        await asyncio.wait_for(oracle.closed.wait(), 5)
        assert [entry.recipient for entry in oracle.ledger] == [FIRST]


async def test_i10_what_was_begun_for_another_letter_is_closed_without_a_dot(tmp_path: Path) -> None:
    lane, _ = lane_with(FIRST, SECOND)
    async with conversation(tmp_path) as (oracle, pool):
        assert isinstance(await send_next(pool, lane), Sent)
        assert isinstance(await pool.send(FROM, THIRD, MAIL, granted, lane), Sent)
        assert [mail.recipient for mail in oracle.mails] == [FIRST, THIRD] and oracle.connections == 2


async def test_i19_a_letter_taken_back_is_not_sent_and_its_connection_is_closed(tmp_path: Path) -> None:
    lane, composed = lane_with(FIRST, SECOND)
    async with conversation(tmp_path) as (oracle, pool):
        assert isinstance(await send_next(pool, lane), Sent)
        taken = lane.take_back()
        assert taken is not None and taken.mail is not None and taken.mail.recipient == SECOND
        composed.put_nowait(None)
        assert await lane.next() is None
        await asyncio.wait_for(oracle.closed.wait(), 5)
        assert len(oracle.ledger) == 1 and composed.empty()


async def test_the_word_to_end_stays_for_the_one_whom_it_is_for(tmp_path: Path) -> None:
    lane, composed = lane_with(FIRST)
    composed.put_nowait(None)
    async with conversation(tmp_path) as (_, pool):
        assert isinstance(await send_next(pool, lane), Sent)
        assert await lane.next() is None


@pytest.mark.parametrize("freed", ["later", "waiting"])
async def test_i15_a_letter_behind_a_slow_one_is_for_whoever_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freed: str
) -> None:
    lanes = lanes_with(FIRST, SECOND, *([THIRD] if freed == "later" else []))
    slow, free = lanes.all
    async with conversation(tmp_path, only(FIRST, "hang_at_dot")) as (oracle, pool):
        sending = asyncio.create_task(send_next(pool, slow))
        await asyncio.wait_for(oracle.dot_arrived.wait(), 5)
        assert slow.begun
        waiting = asyncio.create_task(send_next(pool, free)) if freed == "waiting" else None
        await asyncio.sleep(0)
        await lanes.make_way()  # too early
        assert slow.since < float("inf") and not oracle.mails
        monkeypatch.setattr(lane_module, "LONGEST_WAIT", -1.0)
        await lanes.make_way()
        # Before what came later; and nothing is taken from a lane for nobody.
        assert (slow.since < float("inf")) is (waiting is None)
        assert isinstance(await (waiting or send_next(pool, free)), Sent)
        assert [mail.recipient for mail in oracle.mails] == [SECOND]
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_i15_with_a_backlog_a_letter_behind_a_hanging_one_goes_with_the_next_that_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = lanes_with(FIRST, SECOND, *(f"c{number}@b.example" for number in range(6)))
    hanging, busy = lanes.all
    async with conversation(tmp_path, only(FIRST, "hang_at_dot")) as (oracle, pool):
        sending = asyncio.create_task(send_next(pool, hanging))
        await asyncio.wait_for(oracle.dot_arrived.wait(), 5)
        assert isinstance(await send_next(pool, busy), Sent)
        monkeypatch.setattr(lane_module, "LONGEST_WAIT", -1.0)
        assert [type(await send_next(pool, busy)) for _ in range(3)] == [Sent] * 3
        assert [mail.recipient for mail in oracle.mails][:3] == ["c0@b.example", "c1@b.example", SECOND]
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_i15_nothing_is_begun_behind_the_dot_of_a_connection_that_answers_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_module, "LONGEST_WAIT", 0.1)
    lane, _ = lane_with(*(f"c{number}@b.example" for number in range(5)))
    begun = []
    async with conversation(tmp_path, always("slow:0.1")) as (oracle, pool):
        for _ in range(5):
            assert isinstance(await send_next(pool, lane), Sent)
            begun.append(lane.begun)
        assert len(oracle.mails) == 5 and oracle.connections == 1
    assert begun == [True, False, False, False, False]


async def test_i15_nothing_goes_behind_a_dot_while_somebody_has_nothing_to_do(tmp_path: Path) -> None:
    lanes = lanes_with(FIRST)
    busy, idle = lanes.all
    async with conversation(tmp_path, only(FIRST, "slow:0.05")) as (oracle, pool):
        first = asyncio.create_task(send_next(pool, busy))
        await asyncio.sleep(0)
        second = asyncio.create_task(send_next(pool, idle))
        await asyncio.sleep(0)
        lanes.composed.put_nowait(held(SECOND))
        assert busy.begin_next(None) == b""  # type: ignore[arg-type]
        assert [type(one) for one in await asyncio.gather(first, second)] == [Sent, Sent]
        assert oracle.connections == 2


async def test_a_letter_that_gains_nothing_behind_a_dot_is_for_whoever_is_free(tmp_path: Path) -> None:
    lanes = lanes_with(FIRST)
    first, free = lanes.all
    large = held(SECOND)
    large.mail = None
    lanes.composed.put_nowait(large)
    async with conversation(tmp_path) as (_, pool):
        assert isinstance(await send_next(pool, first), Sent) and not first.begun
        assert await free.next() is large


async def test_nothing_is_begun_under_a_rate_limit_without_pipelining_or_at_the_end_of_a_connection(
    tmp_path: Path, written: list[bytes]
) -> None:
    for lane_options, server, pool_options in (
        ({"ahead": False}, {}, {}),
        ({}, {"extensions": ()}, {}),
        ({}, {}, {"max_mails": 1}),
    ):
        lane, _ = lane_with(FIRST, SECOND, **lane_options)
        async with conversation(tmp_path, always("none"), pool=pool_options, **server) as (oracle, pool):
            assert isinstance(await send_next(pool, lane), Sent) and not lane.begun
            assert isinstance(await send_next(pool, lane), Sent)
            assert len(oracle.mails) == 2
    assert {piece for piece in written if piece.startswith(b".\r\n")} == {b".\r\n"}


async def test_an_address_that_cannot_be_written_is_refused_when_it_is_its_turn(tmp_path: Path) -> None:
    lane, composed = lane_with(FIRST)
    wrong = held(SECOND)
    assert wrong.mail is not None
    composed.put_nowait(replace(wrong, mail=replace(wrong.mail, recipient="no address")))
    async with conversation(tmp_path) as (_, pool):
        assert isinstance(await send_next(pool, lane), Sent) and not lane.begun
        assert isinstance(await send_next(pool, lane), Refused)
