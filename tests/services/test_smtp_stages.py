"""A conversation that breaks, in every way at each stage: before the dot the letter waits, after it it is unclear."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.mailer.outcome import Deferred, NotHandedOver, Outcome, Refused, Sent, Unclear
from services.mailer.smtp import SmtpPool
from tests.services.smtp_sending import DEADLINE, FROM, MAIL, TO, conversation, granted
from tests.smtp_oracle import SmtpOracle
from tests.smtp_scripts import BREAKS, NONSENSE, STAGES, always, well_behaved

#: Seconds that a sender waits for a server that is silent for ever.
PATIENCE = 0.2
#: Body bytes that no buffer on the way takes while nobody reads.
LARGE = 20_000_000


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one_by_one"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", BREAKS)
async def test_c38_c39_c40_i4_i5_a_conversation_that_breaks(
    tmp_path: Path, how: str, stage: str, pipelining: bool
) -> None:
    limits = {"timeout": PATIENCE, "final_timeout": PATIENCE} if how == "hang" else {}
    extensions = ("PIPELINING",) if pipelining else ()
    async with conversation(tmp_path, always(f"{how}_at_{stage}"), extensions=extensions, pool=limits) as (
        oracle,
        pool,
    ):
        found = await sent(oracle, pool, how, stage)
        assert isinstance(found, Unclear if stage == "dot" else Deferred), found
        if isinstance(found, Deferred):
            # Who does not even greet is of no use to other letters either.
            assert (found.code, found.relay_trouble) == (None, stage in ("banner", "ehlo"))
        arrived = [(entry.stored, entry.replied) for entry in oracle.ledger]
        assert arrived == ([(how in NONSENSE, False)] if stage == "dot" else [])
        await send_again(oracle, pool)
        assert oracle.connections == 2


@pytest.mark.parametrize("how", ["close", "reset", "hang"])
async def test_c39_i3_i4_stored_and_never_answered_is_unclear(tmp_path: Path, how: str) -> None:
    limits = {"final_timeout": PATIENCE} if how == "hang" else {}
    async with conversation(tmp_path, always(f"stored_then_{how}"), pool=limits) as (oracle, pool):
        found = await pool.send(FROM, TO, MAIL, granted)
        assert isinstance(found, Unclear), found
        assert [(entry.stored, entry.replied) for entry in oracle.ledger] == [(True, False)]
        assert len(oracle.mails) == 1
        await send_again(oracle, pool)
        assert oracle.connections == 2


@pytest.mark.parametrize(("misbehaviour", "code"), [("421_in_body", 421), ("refuse_in_body_554", 554)])
async def test_c32_i5_a_no_in_mid_body_is_an_answer_before_the_dot(
    tmp_path: Path, misbehaviour: str, code: int
) -> None:
    async with conversation(tmp_path, always(misbehaviour)) as (oracle, pool):
        found = await pool.send(FROM, TO, MAIL, once_heard(oracle))
        assert isinstance(found, Deferred if code == 421 else Refused)
        assert found.code == code
        assert oracle.ledger == []
        await send_again(oracle, pool)


async def sent(oracle: SmtpOracle, pool: SmtpPool, how: str, stage: str) -> Outcome | NotHandedOver:
    """One letter; before its dot the sender has heard what happened in its body: a dot before that were unclear."""
    if stage != "body":
        return await pool.send(FROM, TO, MAIL, granted)
    if how == "hang":
        return await pool.send(FROM, TO, MAIL + b"0123456789" * (LARGE // 10), granted)
    return await pool.send(FROM, TO, MAIL, once_heard(oracle))


def once_heard(oracle: SmtpOracle) -> Callable[[], Awaitable[bool]]:
    """An intent that takes until what the server did in mid-body has arrived."""

    async def granted_later() -> bool:
        await asyncio.wait_for(oracle.spoken_early.wait(), DEADLINE)
        await asyncio.sleep(0.05)  # a megabyte takes some passes of the loop
        return True

    return granted_later


async def send_again(oracle: SmtpOracle, pool: SmtpPool) -> None:
    """The same order once more, to a server that behaves now; it must arrive."""
    oracle.script = well_behaved
    await pool.wait_ready(asyncio.Event())
    assert isinstance(await pool.send(FROM, TO, MAIL, granted), Sent)
